"""The lines of a quote: what is paid beside the device, and how lines add up (G4)."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from podinsight.domain.money import DOLLAR, micros
from podinsight.domain.prices import Price, PriceBook, Service
from podinsight.domain.quote_lines import (
    NOTHING,
    Amounts,
    Freight,
    Item,
    Line,
    Range,
    amount,
    buffers,
    service_lines,
    summed,
    timed,
)

HOUR = 3600.0
BOOK = PriceBook(
    services={
        Service.CPU: Price(micros("0.36"), "list"),
        Service.NAT: Price(micros("0.045"), "list"),
        Service.NAT_HOURS: Price(micros("0.045"), "list"),
        Service.ADDRESS_HOURS: Price(micros("0.005"), "list"),
        Service.STORAGE: Price(micros("0.023"), "list"),
        Service.METRICS: Price(micros("0.30"), "list"),
    }
)


def found(freight: Freight, lasts: Range, book: PriceBook = BOOK) -> dict[Item, Line]:
    return {line.item: line for line in service_lines(freight, lasts, book)}


def test_a_gigabyte_an_hour_of_cpu_and_a_day_until_it_is_done() -> None:
    lines = found(Freight(10**10, NOTHING, Range(0, 160_000, 0)), Range(HOUR / 2, 10 * HOUR, 73 * HOUR))
    assert lines[Item.CPU].quantity.likely == 1.0, "2000 s for 10 GB, 1600 s for 44 hours of audio"
    assert lines[Item.CPU].cost.likely == micros("0.36")
    assert lines[Item.NAT].cost == Amounts(450_000 + 25_000, 450_000 + 500_000, 450_000 + 3_650_000)
    assert lines[Item.STORAGE].quantity.likely == 10.0
    assert lines[Item.STORAGE].cost == Amounts(230_000, 230_000, 230_000), "10 GB for a month"
    assert lines[Item.METRICS].cost == Amounts(4110, 41_096, 300_000), (
        "10 metrics for 1 (begun), 10 and 73 of 730 hours"
    )


def test_where_nothing_is_paid_every_line_is_nothing() -> None:
    lines = found(Freight(10**10, Range(HOUR, HOUR, HOUR), Range(HOUR, HOUR, HOUR)), Range(1, 2, 3), PriceBook())
    assert set(lines) == {Item.CPU, Item.NAT, Item.STORAGE, Item.METRICS}
    assert amount(list(lines.values())) == Amounts()


def test_lines_of_an_item_add_up_in_the_order_of_the_items() -> None:
    price = Price(DOLLAR, "list")
    first, second = (timed(Item.GPU, Range(0, HOUR * n, HOUR * n * 2), price) for n in (1, 2))
    cpu = timed(Item.CPU, Range(1, 1, 1), price)
    gpu = summed([first, *buffers(first), second, *buffers(second), cpu])
    assert [line.item for line in gpu] == [Item.CPU, Item.GPU, Item.SPOT, Item.RETRIES]
    assert gpu[1] == Line(Item.GPU, Range(0, 3, 6), "h", Amounts(0, 3 * DOLLAR, 6 * DOLLAR), price)
    assert (gpu[2].quantity.high, gpu[2].cost) == (10, Amounts(0, 0, 600_000))
    assert (gpu[3].quantity.high, gpu[3].cost) == (5, Amounts(0, 0, 300_000))


@given(
    declared=st.integers(0, 10**13),
    undeclared=st.floats(0, 1e8),
    planned=st.floats(0, 1e8),
    lasts=st.floats(0, 1e7),
    spread=st.floats(1, 5),
)
def test_low_is_never_above_likely_nor_likely_above_high(
    declared: int, undeclared: float, planned: float, lasts: float, spread: float
) -> None:
    def widened(figure: float) -> Range:
        return Range(figure / spread, figure, figure * spread)

    for line in service_lines(Freight(declared, widened(undeclared), widened(planned)), widened(lasts), BOOK):
        for less, more in itertools.pairwise((line.cost.low, line.cost.likely, line.cost.high)):
            assert 0 <= less <= more
