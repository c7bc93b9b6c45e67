"""Which levels are reached (G3)."""

import pytest

from podinsight.domain.budget import PROJECT_KEY, Budget, Level, Limits, Scope
from podinsight.domain.days import begins_at
from podinsight.domain.levels import Halt, stops, told, too_dear
from podinsight.domain.money import micros

NOON = begins_at("2026-11-22") + 43_200
STOPS = Limits().ceilings()


def gpu_day(spent: str, reserved: str = "0", day: str = "2026-11-22") -> Budget:
    return Budget(Scope.GPU_DAY, day, micros(reserved), micros(spent))


@pytest.mark.parametrize(
    ("budget", "hour", "reached"),
    [
        (gpu_day("39.77"), "10", False),
        (gpu_day("39.78"), "10", True),  # 80 s at $10 an hour are $0.222223
        (gpu_day("30", "9.78"), "10", True),
        (gpu_day("39.999999"), "0", False),
        (gpu_day("40"), "0", True),
    ],
)
def test_a_stop_level_is_reached_by_what_will_be_spent_before_anybody_can_stop_it(
    budget: Budget, hour: str, reached: bool
) -> None:
    """Scenario 12: spent + reserved + burn × (sweep + stop) ≥ ceiling."""
    assert bool(stops(NOON, [budget], STOPS, micros(hour), 80)) is reached


def test_a_stop_says_why_and_is_told_once() -> None:
    (stop,) = stops(NOON, [gpu_day("39.50", "0.25")], STOPS, micros(36), 80)
    assert str(stop) == (
        "$39.50 spent, $0.25 reserved and $0.80 burning reach the $40.00 of GPU work on 2026-11-22 (stop_gpu_day_usd)"
    )
    assert (stop.key, stop.halts) == ("stop:gpu_day:2026-11-22", False)
    (month,) = stops(NOON, [Budget(Scope.MONTH, "2026-11", 0, micros(100))], STOPS, 0, 80)
    assert month.halts


def test_what_burns_after_midnight_is_the_next_days() -> None:
    late = begins_at("2026-11-23") - 10
    budget = gpu_day("39.95")
    assert not stops(late, [budget], STOPS, micros(10), 80), "ten seconds are $0.027778"
    assert stops(late - 70, [budget], STOPS, micros(10), 80)
    project = Budget(Scope.PROJECT, PROJECT_KEY, 0, micros("39.95"))
    assert stops(late, [project], {Scope.PROJECT: micros(40)}, micros(10), 80)
    month = Budget(Scope.MONTH, "2026-11", 0, micros("99.95"))
    assert stops(late, [month], STOPS, micros(10), 80)
    assert not stops(begins_at("2026-12-01") - 10, [month], STOPS, micros(10), 80)


def test_what_is_unknown_burns_what_it_did() -> None:
    assert stops(NOON, [gpu_day("39.60")], STOPS, 0, 80, least=micros("0.40"))


def test_a_level_of_nothing_is_reached_by_the_first_micro_dollar() -> None:
    """What costs nothing goes on under it."""
    ceilings = {Scope.GPU_DAY: 0}
    assert not stops(NOON, [gpu_day("0")], ceilings, 0, 80)
    assert stops(NOON, [gpu_day("0.000001")], ceilings, 0, 80)
    assert not stops(NOON, [gpu_day("1000")], {}, micros(10), 80), "no level, no stop"


def test_the_ceiling_of_one_budget_alone_holds_as_well() -> None:
    own = Budget(Scope.DAY, "2026-11-22", 0, micros(2), micros(2))
    assert stops(NOON, [own], STOPS, 0, 80)


def test_alert_levels_tell_and_stop_nothing() -> None:
    """G3: $5 and $15 a day, $50 a month, $2.50 an item."""
    budgets = [
        Budget(Scope.DAY, "2026-11-22", 0, micros("15")),
        Budget(Scope.MONTH, "2026-11", 0, micros("49.999999")),
        Budget(Scope.ITEM, "e1", 0, micros("2.50")),
    ]
    assert [each.key for each in told(budgets, Limits())] == [
        "alert:day:2026-11-22:5000000",
        "alert:day:2026-11-22:15000000",
        "alert:item:e1:2500000",
    ]
    assert not stops(NOON, budgets, STOPS, 0, 80)
    assert "the day 2026-11-22 has cost $15.00" in told(budgets, Limits())[0].title
    assert not told(budgets, Limits(Level(), Level(), Level(), Level(), Level(), Level()))


def test_three_items_in_an_hour_or_their_mean_halt_the_pipeline() -> None:
    """G3, as the old procedure did."""
    halt = Halt()
    assert too_dear(["a", "b"], [], halt) == ""
    assert too_dear(["c", "a", "b"], [], halt).endswith("within an hour: a, b, c")
    assert too_dear([], [micros(9), micros(9)], halt) == "", "two are no mean"
    assert too_dear([], [micros(3)] * 3, halt) == ""
    assert "3 episodes have cost $4.00 on average" in too_dear([], [micros(3), micros(3), micros(6)], halt)


def test_when_items_halt_the_pipeline_is_settable() -> None:
    """G3: all settable."""
    assert "within an hour: a" in too_dear(["a"], [], Halt(items=1))
    assert too_dear(["a", "b", "c"], [], Halt(items=4)) == ""
    assert too_dear(["a", "b", "c"], [], Halt(items=0)) == "", "none do"
    assert "within 60 s" in too_dear(["a", "b", "c"], [], Halt(seconds=60))
    assert too_dear([], [micros(4)] * 3, Halt(mean=micros(4))) == ""
    assert "over $4.00 (halt_mean_usd)" in too_dear([], [micros(4) + 1] * 3, Halt(mean=micros(4)))
    assert too_dear([], [micros(9)] * 3, Halt(mean=None)) == ""
