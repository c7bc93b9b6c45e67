"""Prices from TOML: the list that is shipped, and a file of somebody's own that goes over it (docs: prices.toml)."""

import tomllib
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Final

from podinsight.domain.money import micros
from podinsight.domain.prices import Price, PriceBook, Service
from podinsight.errors import ConfigError

MOST_BYTES: Final = 1_000_000
_TABLES: Final = ("devices", "services")
_FIELDS: Final = ("usd", "as_of", "source")
_LEARN: Final = "podinsight/prices.toml shows how it is written"
_LONGEST: Final = 100  # letters of a type of machine


def shipped() -> PriceBook:
    """The list prices that come with podinsight."""
    text = files("podinsight").joinpath("prices.toml").read_text("utf-8")
    return parse(text, "prices.toml", "list")


def read(path: Path) -> PriceBook:
    """The prices in a file of the same shape; what it leaves out it says nothing about.

    Raises:
        ConfigError: it cannot be read, is no TOML, or has a name or a number that is not known; the text says where.
    """
    try:
        with path.open("rb") as handle:
            data = handle.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"prices_file {path}: {error.strerror or error}: name a file that can be read") from None
    if len(data) > MOST_BYTES:
        raise ConfigError(f"prices_file {path}: more than {MOST_BYTES:,} bytes cannot be a list of prices")
    try:
        return parse(data.decode("utf-8"), f"prices_file {path}", "file")
    except UnicodeDecodeError as error:
        raise ConfigError(f"prices_file {path}: no UTF-8 at byte {error.start}: {_LEARN}") from None


def parse(text: str, where: str, kind: str) -> PriceBook:
    """where: as errors name it; kind: `list` or `file`, which with the date becomes the source of every price. What the
    text calls its source is the price's origin.

    Raises:
        ConfigError: like `read`.
    """
    try:
        document = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:  # its text names line and column
        raise ConfigError(f"{where}: {error}: {_LEARN}") from None
    except RecursionError:
        raise ConfigError(f"{where}: too deep for a list of prices: {_LEARN}") from None
    _known(document, _TABLES, where)
    devices, services = (_table(document, name, where) for name in _TABLES)
    for name in devices:
        if not 0 < len(name) <= _LONGEST or not name.isprintable():
            raise ConfigError(f"{where}: {name[:_LONGEST]!r} is no type of machine")
    _known(services, tuple(Service), f"{where}: services")
    return PriceBook(
        {name: _price(value, f"{where}: devices.{name}", kind) for name, value in devices.items()},
        {Service(name): _price(value, f"{where}: services.{name}", kind) for name, value in services.items()},
    )


def _table(document: Mapping[str, object], name: str, where: str) -> dict[str, object]:
    found = document.get(name, {})
    if not isinstance(found, dict):
        raise ConfigError(f"{where}: {name} must be a table: {_LEARN}")
    return found


def _known(given: Mapping[str, object], known: tuple[str, ...], where: str) -> None:
    for name in given:
        if name not in known:
            raise ConfigError(f"{where}: {name[:_LONGEST]!r} is unknown; there are {', '.join(known)}")


def _price(value: object, where: str, kind: str) -> Price:
    if not isinstance(value, dict):
        raise ConfigError(f"{where} must be a table such as {{ usd = 0.526 }}")
    _known(value, _FIELDS, where)
    amount, as_of = value.get("usd"), value.get("as_of")
    if isinstance(amount, bool) or not isinstance(amount, int | Decimal):
        raise ConfigError(f"{where}.usd must be a number of dollars, such as 0.526")
    try:
        paid = micros(amount)
    except ValueError as error:
        raise ConfigError(f"{where}.usd: {error}") from None
    if as_of is not None and (isinstance(as_of, datetime) or not isinstance(as_of, date)):
        raise ConfigError(f"{where}.as_of must be a date, such as 2026-06-17")
    origin = value.get("source", "")
    if not isinstance(origin, str):
        raise ConfigError(f"{where}.source must be text")
    return Price(paid, f"{kind} {as_of}" if as_of else kind, origin=origin)
