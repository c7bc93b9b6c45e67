"""ports.LivePrices: what an hour of a machine costs now."""

import pytest

from podinsight.adapters.memory import MemoryPrices, NoPrices
from podinsight.domain.prices import Price
from podinsight.errors import Unavailable
from podinsight.ports import LivePrices


@pytest.mark.parametrize("prices", [NoPrices(), MemoryPrices({("g5.xlarge", "us-east-1a"): 420_000})])
def test_nobody_has_a_price_for_an_unknown_kind(prices: LivePrices) -> None:
    assert prices.hour("no-such.machine", "us-east-1a") is None
    assert prices.hour("g5.xlarge", "") is None


def test_a_price_is_that_of_its_kind_and_zone() -> None:
    prices: LivePrices = MemoryPrices({("g5.xlarge", "us-east-1a"): 420_000})
    assert prices.hour("g5.xlarge", "us-east-1a") == Price(420_000, "live")


def test_one_that_is_away_says_so_for_every_kind() -> None:
    prices = MemoryPrices({})
    prices.down = True
    with pytest.raises(Unavailable):
        prices.hour("no-such.machine", "us-east-1a")
