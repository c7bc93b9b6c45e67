"""Which machines are ended where groups keep a minimum of them (G5, G6)."""

import pytest

from podinsight.domain.brain import LATE_STARTS, Memory, decide, ending
from podinsight.domain.control import Control, Mode
from podinsight.domain.fleet import Group, Instance, InstanceState, Lifecycle
from podinsight.domain.observed import look, machines
from podinsight.domain.pool import Demand, Rules
from podinsight.domain.prices import Price

NOW = 10_000.0
RULES = Rules(most=8)
LATE = NOW - LATE_STARTS * RULES.start - 1
HALTED = Control(Mode.HALTED, by="ada", why="a drill")


def one(
    name: str, group: str = "a", state: str = "ready", hour: int = 1000, started: float = NOW - 10, leased: bool = False
) -> Instance:
    rate = Price(hour, "list")
    return Instance(name, group, "g5", group, Lifecycle.SPOT, InstanceState(state), started, rate, leased=leased)


def ended(*living: Instance, control: Control = HALTED, memory: Memory = Memory(), **least: int) -> set[str]:  # noqa: B008
    """By a decision with two chunks to do, where each group has its minimum."""
    seen = machines(living, look(NOW, living, {}, {}))
    decision = decide(NOW, Demand(1.0, 2), seen, RULES, 1.0, 1000, control, (), memory)
    groups = [Group(name, count, count, 8) for name, count in least.items()]
    return set(ending(decision, living, groups))


@pytest.mark.parametrize("turned", [False, True])
def test_a_minimum_spares_the_best(turned: bool) -> None:
    """The ready before those that start, the cheaper before the dearer."""
    living = [one("cheap"), one("dear", hour=9000), one("starting", state="starting", hour=1)]
    living = living[::-1] if turned else living
    assert ended(*living, a=0) == {"cheap", "dear", "starting"}
    assert ended(*living, a=1) == {"dear", "starting"}
    assert ended(*living, a=2) == {"starting"}
    assert ended(*living, a=3) == ended(*living, a=9) == set()


def test_a_minimum_spares_machines_of_its_own_group() -> None:
    """However many other groups have, and however good theirs are."""
    living = [one("a1", "a", hour=9000), one("a2", "a", hour=8000), one("b1", "b", hour=1)]
    assert ended(*living, a=1, b=0) == {"a1", "b1"}
    assert ended(*living, a=0, b=1) == {"a1", "a2"}
    assert ended(*living, a=1, b=1) == {"a1"}
    assert ended(*living, a=0, b=3) == {"a1", "a2"}


def test_who_stays_anyway_fills_the_minimum_of_its_group_alone() -> None:
    """One of three is wanted: of group a, so that only b has to spare one."""
    living = [one("a1", "a", leased=True), one("a2", "a"), one("b1", "b")]
    running = Control()
    assert ended(*living, control=running, a=1, b=0) == {"a2", "b1"}
    assert ended(*living, control=running, a=1, b=1) == {"a2"}
    assert ended(*living, control=running, a=2, b=0) == {"b1"}


def test_who_leaves_when_its_work_is_done_fills_no_minimum() -> None:
    living = [one("busy", leased=True), one("leaving", state="draining"), one("idle")]
    assert ended(*living, a=1) == set()
    assert ended(*living, a=0) == {"idle"}


@pytest.mark.parametrize("control", [Control(), HALTED])
def test_a_start_without_end_is_ended_whatever_the_minimum(control: Control) -> None:
    """Its group starts another, as it should."""
    late = one("late", state="starting", hour=1, started=LATE)
    assert ended(late, control=control, a=1) == ended(late, control=control, a=5) == {"late"}
    assert "late" in ended(late, one("ready"), control=control, a=2)
    assert "ready" not in ended(late, one("ready"), control=control, a=1)
