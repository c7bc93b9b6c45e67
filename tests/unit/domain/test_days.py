"""Days and months of money are UTC; what runs over midnight counts in both days."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from podinsight.domain.days import begins_at, day_of, month_of, month_of_day, next_day, split_at_midnight

MOMENTS = st.floats(0, 4e9)
MIDNIGHT = begins_at("2026-12-01")


def test_the_last_moment_of_a_month_is_in_it() -> None:
    """Scenario 21: the month rolls over."""
    assert (day_of(MIDNIGHT - 0.001), month_of(MIDNIGHT - 0.001)) == ("2026-11-30", "2026-11")
    assert (day_of(MIDNIGHT), month_of(MIDNIGHT)) == ("2026-12-01", "2026-12")
    assert [next_day(day) for day in ("2024-02-28", "2024-02-29", "2026-12-31")] == [
        "2024-02-29",
        "2024-03-01",
        "2027-01-01",
    ]
    assert (month_of_day("0001-01-01"), next_day("0001-01-01"), day_of(begins_at("0001-01-02"))) == (
        "0001-01",
        "0001-01-02",
        "0001-01-02",
    )


@pytest.mark.parametrize("day", ["2026-11", "2026-13-01", "2026-1-2", "1-01-01", "today", ""])
def test_what_is_no_day_is_refused(day: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        month_of_day(day)


def test_a_night_is_split_at_midnight() -> None:
    assert split_at_midnight(MIDNIGHT - 10, MIDNIGHT + 86400 + 5) == [
        ("2026-11-30", 10),
        ("2026-12-01", 86400),
        ("2026-12-02", 5),
    ]
    assert split_at_midnight(MIDNIGHT, MIDNIGHT) == split_at_midnight(MIDNIGHT, MIDNIGHT - 1) == []


@example(431999.9999999999, 86401.0)  # less than half a microsecond before a midnight
@given(MOMENTS, st.floats(0, 10 * 86400))
def test_nothing_is_lost_and_every_piece_is_of_its_day(start: float, length: float) -> None:
    pieces = split_at_midnight(start, start + length)
    assert sum(seconds for _day, seconds in pieces) == pytest.approx((start + length) - start, abs=1e-5)
    days = [day for day, _seconds in pieces]
    assert days == sorted(set(days))
    assert all(0 < seconds <= 86400 for _day, seconds in pieces)
    if pieces:
        assert days[0] == day_of(start)
        assert all(next_day(one) == other for one, other in pairwise(days))
