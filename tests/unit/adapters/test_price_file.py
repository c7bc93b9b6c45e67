"""Prices from TOML (G5): the list that is shipped, and what is refused in a file of somebody's own."""

import re
from datetime import date
from pathlib import Path

import pytest

from podinsight.adapters.price_file import MOST_BYTES, read, shipped
from podinsight.domain.money import micros
from podinsight.domain.prices import CUDA, Price, Service
from podinsight.errors import ConfigError


def test_the_shipped_list() -> None:
    book = shipped()
    origin = "review of the EC2 rate card"
    assert book.devices["g5.xlarge"] == Price(micros("1.006"), "list 2026-06-17", origin=origin)
    assert book.devices[CUDA].micros == micros("0.526")
    assert book.devices["m7g.large"].micros == 81_600
    assert book.services[Service.NAT].micros == 45_000
    assert book.services[Service.STORAGE].micros == 23_000
    assert min(each.micros for each in [*book.devices.values(), *book.services.values()]) > 0
    assert max(len(each.source) for each in [*book.devices.values(), *book.services.values()]) <= 40


def test_every_list_price_has_its_date_and_says_where_it_is_from() -> None:
    """G5: a list price that nobody can check is a guess."""
    book = shipped()
    for name, price in [*book.devices.items(), *((each.value, price) for each, price in book.services.items())]:
        assert re.fullmatch(r"list 20\d\d-\d\d-\d\d", price.source), name
        assert date.fromisoformat(price.source.removeprefix("list ")) >= date(2026, 1, 1), name
        assert len(price.origin) > 10, name
        assert "memory" not in price.origin, name


def test_a_file_says_what_it_says_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(
        '[devices]\n"g6e.xlarge" = { usd = 1.861, as_of = 2026-11-01, source = "our contract" }\ncuda = { usd = 0 }\n'
        "[services]\nnat = { usd = 0.0000001 }\n"
    )
    book = read(path)
    contract = Price(1_861_000, "file 2026-11-01", origin="our contract")
    assert book.devices == {"g6e.xlarge": contract, "cuda": Price(0, "file")}
    assert book.services == {Service.NAT: Price(1, "file")}, "rounded up: a price is never lost"


def test_decimals_are_not_binary_fractions(tmp_path: Path) -> None:
    """0.1 + 0.2: as a float 1.1 would be 1.100000000000000088…, which is rounded up to a micro-dollar more."""
    path = tmp_path / "prices.toml"
    path.write_text("[devices]\ncuda = { usd = 1.1 }\n")
    assert read(path).devices[CUDA].micros == 1_100_000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[devices\n", "line 1"),
        ("[machines]\n", "'machines' is unknown; there are devices, services"),
        ("devices = 3\n", "devices must be a table"),
        ("[devices]\ncuda = 0.5\n", "devices.cuda must be a table such as { usd = 0.526 }"),
        ("[devices]\ncuda = { dollars = 0.5 }\n", "devices.cuda: 'dollars' is unknown; there are usd, as_of, source"),
        ("[devices]\ncuda = {}\n", "devices.cuda.usd must be a number of dollars"),
        ('[devices]\ncuda = { usd = "0.5" }\n', "devices.cuda.usd must be a number of dollars"),
        ("[devices]\ncuda = { usd = true }\n", "devices.cuda.usd must be a number of dollars"),
        ("[devices]\ncuda = { usd = -0.5 }\n", "devices.cuda.usd: "),
        ("[devices]\ncuda = { usd = nan }\n", "devices.cuda.usd: "),
        ("[devices]\ncuda = { usd = inf }\n", "devices.cuda.usd: "),
        ("[devices]\ncuda = { usd = 1e999999 }\n", "devices.cuda.usd: "),
        ("[devices]\ncuda = { usd = 2_000_000_000 }\n", "devices.cuda.usd: "),
        ('[devices]\ncuda = { usd = 1, as_of = "June" }\n', "devices.cuda.as_of must be a date"),
        ("[devices]\ncuda = { usd = 1, as_of = 2026-06-17T00:00:00 }\n", "devices.cuda.as_of must be a date"),
        ("[devices]\ncuda = { usd = 1, source = 3 }\n", "devices.cuda.source must be text"),
        ('[devices]\n"" = { usd = 1 }\n', "'' is no type of machine"),
        ('[devices]\n"a\\u001bb" = { usd = 1 }\n', "is no type of machine"),
        ("[services]\nnatt = { usd = 1 }\n", "services: 'natt' is unknown; there are gpu, idle, cpu, nat"),
        ("a = " + "[" * 5000 + "\n", "prices.toml: "),
        ("#" * (MOST_BYTES + 1), "more than 1,000,000 bytes"),
    ],
)
def test_what_is_not_known_is_refused_and_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        read(path)
    assert str(raised.value).startswith(f"prices_file {path}: ")
    assert said in str(raised.value)
    assert len(str(raised.value)) < 500


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(ConfigError, match=r"prices_file .*: name a file that can be read"):
            read(path)
    (tmp_path / "latin.toml").write_bytes(b"# \xff\n")
    with pytest.raises(ConfigError, match="no UTF-8 at byte 2"):
        read(tmp_path / "latin.toml")
