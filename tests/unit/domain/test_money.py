"""Money is whole micro-dollars; what is used is counted in whole units and rounded up (G1)."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podinsight.domain.money import DOLLAR, PRICED, Unit, cost, cost_of, micros, milliseconds, parse_usd, usd

AMOUNTS = st.integers(0, 10**12)


@pytest.mark.parametrize(
    ("text", "amount"), [("3", 3_000_000), ("$2.50", 2_500_000), (" 1,000.000001 ", 1_000_000_001), ("0", 0)]
)
def test_dollars_as_people_write_them(text: str, amount: int) -> None:
    assert parse_usd(text) == amount


@pytest.mark.parametrize(
    "text",
    ["", "$", "-1", "nan", "inf", "three", "1e12", "1e999999", "0x10", "0,02", "5,00", "0,100", "1,0000", "1_000"],
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="dollars"):
        parse_usd(text)


def test_which_amounts_there_are_is_said() -> None:
    for text in ("-1", "1000000001"):
        with pytest.raises(ValueError, match=rf"'{text}' is not between 0 and 1000000000 dollars"):
            parse_usd(text)


def test_what_is_finer_than_a_micro_dollar_is_rounded_up() -> None:
    assert micros("0.0000001") == 1
    assert micros("0.1") + micros("0.2") == micros("0.3")


def test_dollars_as_people_read_them() -> None:
    shown = [usd(each) for each in (0, 1, 1_500_000, 1_234_567, 1_234_000_000, -250_000)]
    assert shown == ["$0.00", "$0.000001", "$1.50", "$1.234567", "$1,234.00", "-$0.25"]


@given(AMOUNTS)
def test_what_is_shown_is_what_it_is(amount: int) -> None:
    assert parse_usd(usd(amount)) == amount


@given(st.integers(0, 10**9), st.integers(0, 100 * DOLLAR))
def test_a_cost_is_the_exact_one_rounded_up(ms: int, price: int) -> None:
    assert cost(ms / 1000, price) == math.ceil(Fraction(ms * price, 3_600_000))


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.integers(0, 100 * DOLLAR))
def test_splitting_a_time_never_makes_it_cheaper(one: float, other: float, price: int) -> None:
    """And longer is never cheaper."""
    apart = cost(one, price) + cost(other, price)
    assert apart >= cost_of(milliseconds(one) + milliseconds(other), Unit.MILLISECONDS, price)
    assert cost(max(one, other), price) >= cost(min(one, other), price)


def test_a_time_is_taken_as_it_is_written() -> None:
    """0.001 as a float is a little more than a millisecond."""
    assert [milliseconds(each) for each in (0.001, 1.1, 3600, 0.0001)] == [1, 1100, 3_600_000, 1]


@pytest.mark.parametrize("unit", Unit)
def test_a_price_is_for_so_many_units(unit: Unit) -> None:
    assert cost_of(PRICED[unit], unit, 90_000) == 90_000
    assert cost_of(PRICED[unit] + 1, unit, 90_000) == 90_000 + {Unit.EACH: 90_000, Unit.METRIC_HOURS: 124}.get(unit, 1)


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf])
def test_no_time_below_zero_or_without_end(seconds: float) -> None:
    with pytest.raises(ValueError, match="cannot be paid for"):
        cost(seconds, DOLLAR)


@pytest.mark.parametrize(("quantity", "price"), [(-1, 1), (1, -1)])
def test_nothing_costs_less_than_nothing(quantity: int, price: int) -> None:
    with pytest.raises(ValueError, match="cannot be paid for"):
        cost_of(quantity, Unit.BYTES, price)
