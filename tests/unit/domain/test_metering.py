"""Idle time, to the millisecond (G1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podinsight.domain.days import begins_at
from podinsight.domain.metering import Meter, shared

MIDNIGHT = begins_at("2026-11-23")


def meter(since: float, until: float, busy: int = 0, held: int = 0, idle: int = 0) -> Meter:
    """Started an hour before midnight; times in seconds from midnight, the rest in milliseconds."""
    return Meter("g1", "cuda", MIDNIGHT - 3600, MIDNIGHT + since, MIDNIGHT + until, busy, held, idle)


def test_what_is_paid_and_neither_leased_nor_written_is_due() -> None:
    assert meter(-3600, -3000).by_day() == [("2026-11-22", 600_000)]
    assert meter(-3000, -2400, busy=100_000, held=50_000, idle=600_000).due_ms == 450_000
    assert meter(-3000, -2400, busy=900_000, idle=600_000).by_day() == []


def test_idle_time_is_split_at_midnight() -> None:
    assert meter(-60, 30, idle=3_540_000).by_day() == [("2026-11-22", 60_000), ("2026-11-23", 30_000)]
    assert meter(-60, 30, busy=45_000, idle=3_540_000).by_day() == [("2026-11-22", 30_000), ("2026-11-23", 15_000)]


def test_an_open_lease_comes_after_the_idle_time() -> None:
    """All of it before midnight: the lease began then."""
    assert meter(-60, 30, held=30_000, idle=3_540_000).by_day() == [("2026-11-22", 60_000)]


@given(st.integers(0, 10**9), st.lists(st.floats(0.001, 1e5), min_size=1, max_size=5))
def test_shares_add_up(amount: int, lengths: list[float]) -> None:
    found = shared(amount, [(str(n), length) for n, length in enumerate(lengths)])
    assert sum(part for _name, part in found) == amount
    assert all(part > 0 for _name, part in found)


@pytest.mark.parametrize("amount", [0, 1, 7])
def test_each_has_its_share_rounded(amount: int) -> None:
    found = dict(shared(amount, [("a", 1.0), ("b", 2.0)]))
    assert found.get("a", 0) == round(amount / 3)
