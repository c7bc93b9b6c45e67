"""Red flags and the bill, by figures (G5, G7)."""

from dataclasses import replace

import pytest

from podinsight.domain.budget import Limits
from podinsight.domain.daily_report import Day, differs, red_flags
from podinsight.domain.money import micros

QUIET = Day("2026-11-21", micros(1), 0, {}, {}, {"e1": micros(1)}, micros(1), 0, 10.0)


def flags(day: Day, *before: Day, silent: float = 0.0) -> list[str]:
    return red_flags(day, before, Limits(), (), silent)


def test_a_quiet_day_has_none() -> None:
    assert flags(QUIET, QUIET) == []
    assert flags(replace(QUIET, hours=0.0, items={}, total=0, gpu=0)) == []


@pytest.mark.parametrize(("idle", "flagged"), [("0.30", False), ("0.31", True)])
def test_idle_time_is_waste_beyond_30_per_cent(idle: str, flagged: bool) -> None:
    assert bool(flags(replace(QUIET, idle=micros(idle)))) is flagged


@pytest.mark.parametrize(("hours", "flagged"), [(5.0, False), (4.9, True)])
def test_an_hour_of_audio_far_over_the_mean_of_the_days_before(hours: float, flagged: bool) -> None:
    """Twice; days without audio say nothing."""
    silent_day = replace(QUIET, hours=0.0, total=micros(50))
    assert bool(flags(replace(QUIET, hours=hours), QUIET, silent_day)) is flagged
    assert flags(replace(QUIET, hours=hours), silent_day) == [], "nothing to compare with"


def test_estimates_and_silence_are_flagged() -> None:
    assert flags(replace(QUIET, estimated=1)) == ["$0.000001 of it is at estimated prices"]
    assert "is beat up?" in flags(QUIET, silent=100.0)[0]


@pytest.mark.parametrize(
    ("bill", "ledger", "age", "found"),
    [
        ("10", "10", 3, False),
        ("11.11", "10", 1, False),  # 9.99 %
        ("11.20", "10", 1, True),
        ("8", "10", 2, True),
        ("2", "1", 3, False),  # no more than $1
        ("0", "10", 1, False),  # it has not come yet
        ("0", "10", 2, True),
        ("10", "0", 1, True),
    ],
)
def test_bill_and_ledger_may_differ_a_little(bill: str, ledger: str, age: int, found: bool) -> None:
    assert (differs("2026-11-20", micros(bill), micros(ledger), age) is not None) is found
