"""The types of settings: what a value may look like, read from text (environment) or TOML."""

import ipaddress
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, ByteSize, Field, SecretStr

from podinsight import topology
from podinsight.domain.money import DOLLAR, parse_usd
from podinsight.domain.table import identifier

NONE = "none"  # a level that is off, as it is written and shown
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?|[0-9a-f:]*:[0-9a-f:.]*")
_SECRET_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_TWO_URLS = re.compile(r"[,;][A-Za-z][A-Za-z0-9+.-]*://")
_AGENT_COMMENT = re.compile(r"[ -'*-~]*")


def absolute(value: object) -> object:
    """A path without `~` that no longer depends on the working directory."""
    return Path(value).expanduser().absolute() if isinstance(value, str | Path) and str(value) else value


def database_url(value: object) -> object:
    """A SQLAlchemy URL of SQLite (a file) or of PostgreSQL with the psycopg driver.

    Raises:
        ValueError: another database or driver, or SQLite in memory, which processes cannot share.
    """
    if not isinstance(value, str):
        return value
    scheme, separator, rest = value.partition("://")
    scheme = scheme.lower()
    if not separator:
        raise ValueError("is no URL: write sqlite:////folder/podinsight.db or postgresql://user:password@host/database")
    if scheme in ("postgres", "postgresql", "postgresql+psycopg"):
        return f"postgresql+psycopg://{rest}"
    if scheme in ("sqlite", "sqlite+pysqlite"):
        name = rest.partition("?")[0].removeprefix("/")
        if not rest.startswith("/") or name in ("", ":memory:"):
            raise ValueError("must name a file, because worker processes share it: sqlite:////folder/podinsight.db")
        return f"sqlite:///{absolute(name)}{rest[1 + len(name) :]}"
    if scheme.startswith("mongodb"):
        raise ValueError("the database is SQLite or PostgreSQL, not MongoDB: write sqlite:///… or postgresql://…")
    if scheme.startswith("postgresql+"):
        raise ValueError("the PostgreSQL driver is psycopg: write postgresql://…")
    raise ValueError(f"the database is SQLite or PostgreSQL, not {scheme}: write sqlite:///… or postgresql://…")


def redis_url(value: object) -> object:
    """A Redis or Valkey URL.

    Raises:
        ValueError: another scheme, or no host.
    """
    if not isinstance(value, str):
        return value
    parts = urlsplit(value)
    if parts.scheme not in ("redis", "rediss") or not parts.hostname or parts.port == 0:
        raise ValueError("must look like redis://host:6379/0, or rediss:// for TLS")
    return value


def objects_url(value: object) -> object:
    """`file:///folder` or `s3://bucket[/prefix]`, without a slash at its end.

    Raises:
        ValueError: another scheme, a relative folder, no bucket, or credentials in the URL.
    """
    if not isinstance(value, str):
        return value
    parts = urlsplit(value)
    if parts.scheme not in ("file", "s3"):
        raise ValueError("must be file:///folder or s3://bucket")
    if "@" in parts.netloc:
        raise ValueError("takes no credentials: write them to S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY")
    if parts.scheme == "file" and (parts.netloc or not parts.path.startswith("/")):
        raise ValueError("needs an absolute folder: file:///folder")
    if parts.scheme == "s3" and not parts.netloc:
        raise ValueError("names no bucket: s3://bucket")
    return value.rstrip("/")


def http_url(value: object) -> object:
    """An http(s) address without credentials.

    Raises:
        ValueError: anything else.
    """
    if not isinstance(value, str):
        return value
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ValueError("must look like http://host:port, without credentials")
    return value.rstrip("/")


def _host(name: str) -> str:
    host = name.strip().lower().strip("[]").rstrip(".")
    if not _HOST.fullmatch(host):
        raise ValueError(f"{name.strip()!r} is no host name: write it without scheme, port and path")
    return host


def host_list(value: object) -> object:
    """Host names from `a,b`, a JSON list or a TOML list.

    Raises:
        ValueError: a URL or another thing that is no host name.
    """
    if isinstance(value, str):
        value = json.loads(value) if value.lstrip().startswith("[") else [part for part in value.split(",") if part]
    if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
        return tuple(_host(name) for name in value if name.strip())
    raise ValueError("must be host names separated by commas, or a JSON list of them")


def host_limits(value: object) -> object:
    """Requests at a time by host suffix, from `a=5,b=3`, a JSON object or a TOML table, added to the defaults.

    The defaults stay for hosts that are not named: raising one host's limit must not make us rude to another.

    Raises:
        ValueError: no such mapping, or a limit below 1.
    """
    limits = _pairs(value)
    return {**topology.DEFAULT_HOST_LIMITS, **{_host(str(name)): _limit(name, limit) for name, limit in limits.items()}}


def _pairs(value: object) -> Mapping[object, object]:
    if isinstance(value, str):
        text = value.strip()
        pairs = [part.partition("=")[::2] for part in text.split(",") if part.strip()]
        found: object = json.loads(text) if text.startswith("{") else {name: each.strip() for name, each in pairs}
        if isinstance(found, Mapping):
            return found
    elif isinstance(value, Mapping):
        return value
    raise ValueError("must look like megaphone.fm=5,libsyn.com=3, or a JSON object")


def _limit(name: object, limit: object) -> int:
    number = int(limit) if isinstance(limit, int | str) and str(limit).isdecimal() else 0
    if number < 1:
        raise ValueError(f"the limit of {name} must be a whole number above 0, not {limit!r}")
    return number


def host_addresses(value: object) -> object:
    """IP addresses by host name or suffix, from `a.test=127.0.0.1`, a JSON object or a TOML table.

    Raises:
        ValueError: no such mapping, or what is no IP address.
    """
    return {_host(str(name)): str(ipaddress.ip_address(str(address))) for name, address in _pairs(value).items()}


def host_rates(value: object) -> object:
    """Requests a second by host suffix, from `a=2.5,b=1`, a JSON object or a TOML table.

    Raises:
        ValueError: no such mapping, or a rate that is not above 0.
    """
    return {_host(str(name)): _rate(name, rate) for name, rate in _pairs(value).items()}


def _rate(name: object, rate: object) -> float:
    try:
        number = float(str(rate))
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ValueError(f"the rate of {name} must be a number above 0, not {rate!r}")
    return number


def feed_texts(value: object) -> object:
    """Texts by feed slug, from `my-show=Ada Lovelace`, a JSON object or a TOML table.

    Raises:
        ValueError: no such mapping, or an entry without a slug or a text.
    """
    texts = {str(slug).strip(): str(text).strip() for slug, text in _pairs(value).items()}
    for slug, text in texts.items():
        if not slug or not text:
            raise ValueError(f"{slug or text!r} is no slug=text; texts with commas need a JSON object or a TOML table")
    return texts


def agent_contact(value: object) -> object:
    """Text for the comment of a User-Agent header.

    Raises:
        ValueError: it would break the header.
    """
    if isinstance(value, str) and not _AGENT_COMMENT.fullmatch(value):
        raise ValueError("must be plain ASCII without parentheses, such as an address of a page or a mailbox")
    return value


def glue_table(value: object) -> object:
    """`database.table` of the Glue Data Catalog.

    Raises:
        ValueError: it is not both, or a name that Athena does not take.
    """
    if isinstance(value, str):
        database, dot, table = value.partition(".")
        if not dot:
            raise ValueError("must look like database.table")
        identifier(table, database)
    return value


def dollars(value: object) -> object:
    """Dollars as a Decimal, from `2.50`, `$2.50` or a number of TOML; no binary fraction on the way.

    Raises:
        ValueError: no number, below zero, or more than a billion.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise ValueError("must be dollars, such as 2.50")
    return Decimal(parse_usd(str(value))) / DOLLAR


def stop_level(value: object) -> object:
    """Dollars, or None for `none`: there is no such level."""
    if value is None or (isinstance(value, str) and value.strip().lower() in ("", NONE)):
        return None
    return dollars(value)


def alert_levels(value: object) -> object:
    """Dollars from `5,15`, one number or a TOML list, the lowest first; empty for `none`. Raises as `dollars`."""
    if isinstance(value, str) and value.strip().lower() == NONE:
        return ()
    if isinstance(value, str):
        value = [each for each in value.split(",") if each.strip()]
    found = value if isinstance(value, list | tuple) else [value]
    return tuple(sorted(Decimal(str(dollars(each))) for each in found))


def secret_urls(value: object) -> object:
    """Addresses that hold secrets, separated by spaces, from text or a TOML list.

    Raises:
        ValueError: one is no URL; what it is does not show in the text.
    """
    found = value.split() if isinstance(value, str) else value
    if not isinstance(found, list | tuple):
        raise ValueError("must be Apprise URLs separated by spaces, such as mailto://… (docs/costs.md)")
    plain = [each.get_secret_value() if isinstance(each, SecretStr) else str(each).strip() for each in found]
    for number, each in enumerate(plain, 1):
        if not _SECRET_URL.fullmatch(each):
            raise ValueError(f"address number {number} is no URL like mailto://… or slack://… (docs/costs.md)")
        if _TWO_URLS.search(each):
            raise ValueError(f"address number {number} holds two: separate them with spaces, not with commas")
    return tuple(SecretStr(each) for each in plain)


def upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Usd = Annotated[Decimal, BeforeValidator(dollars)]
StopLevel = Annotated[Decimal | None, BeforeValidator(stop_level)]
AlertLevels = Annotated[tuple[Decimal, ...], BeforeValidator(alert_levels)]
SecretUrls = Annotated[tuple[SecretStr, ...], BeforeValidator(secret_urls)]
Port = Annotated[int, Field(ge=1, le=65535)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Size = Annotated[ByteSize, Field(ge=1)]
AbsolutePath = Annotated[Path, BeforeValidator(absolute)]
DatabaseUrl = Annotated[str, BeforeValidator(database_url)]
RedisUrl = Annotated[str, BeforeValidator(redis_url)]
ObjectsUrl = Annotated[str, BeforeValidator(objects_url)]
HttpUrl = Annotated[str, BeforeValidator(http_url)]
Hosts = Annotated[tuple[str, ...], BeforeValidator(host_list)]
HostLimitMap = Annotated[dict[str, int], BeforeValidator(host_limits)]
HostAddressMap = Annotated[dict[str, str], BeforeValidator(host_addresses)]
HostRateMap = Annotated[dict[str, float], BeforeValidator(host_rates)]
FeedTextMap = Annotated[dict[str, str], BeforeValidator(feed_texts)]
GlueTableName = Annotated[str, BeforeValidator(glue_table)]
Contact = Annotated[str, BeforeValidator(agent_contact)]
Language = Annotated[str, BeforeValidator(lower), Field(pattern=r"^[a-z]{2,3}$")]
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(upper)]
