"""What an hour of a machine costs now (G5)."""

from dataclasses import replace

import pytest

from podinsight.adapters.memory import MemoryPrices, NoPrices
from podinsight.domain.money import micros
from podinsight.domain.prices import CPU, LOCAL, Price, PriceBook
from podinsight.services.pricing import hour

LISTED = Price(micros("1.006"), "list 2026-06-17")
BOOK = PriceBook({CPU: LOCAL, "g5.xlarge": LISTED})
SPOT = {("g5.xlarge", "us-east-1a"): micros("0.42")}


def test_a_live_price_wins() -> None:
    live = MemoryPrices(SPOT)
    assert hour(BOOK, live, "g5.xlarge", "us-east-1a") == Price(micros("0.42"), "live", market=True)
    assert hour(BOOK, live, "g5.xlarge", "us-east-1b") == LISTED, "nobody has one for this zone"
    assert hour(BOOK, NoPrices(), "g5.xlarge", "us-east-1a") == LISTED


def test_scenario_15_the_spot_price_api_fails(caplog: pytest.LogCaptureFixture) -> None:
    """COST-GUARD 15: the list price, marked; never $0."""
    live = MemoryPrices(SPOT)
    live.down = True
    assert hour(BOOK, live, "g5.xlarge", "us-east-1a") == replace(LISTED, estimated=True, market=True)
    assert "no live price of g5.xlarge in us-east-1a" in caplog.text
    unlisted = hour(BOOK, live, "p5.48xlarge", "us-east-1a")
    assert (unlisted.micros, unlisted.estimated) == (LISTED.micros, True)
    assert hour(PriceBook({}), live, "p5.48xlarge", "us-east-1a").micros > 0


def test_what_is_free_stands_in_for_no_market() -> None:
    """G5: it is marked, and no other process may take it for what a machine costs now."""
    live = MemoryPrices(SPOT)
    live.down = True
    assert hour(BOOK, live, CPU, "here") == replace(LOCAL, estimated=True)
    assert not hour(BOOK, live, CPU, "here").market


@pytest.mark.parametrize("said", [0, -1])
def test_a_live_price_of_nothing_is_not_believed(said: int) -> None:
    live = MemoryPrices({("g5.xlarge", "us-east-1a"): said})
    assert hour(BOOK, live, "g5.xlarge", "us-east-1a") == replace(LISTED, estimated=True, market=True)
