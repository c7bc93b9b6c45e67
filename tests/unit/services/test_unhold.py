"""Minimums that keep machines without work, from the finding to zero (G5; COST-GUARD.md, scenario 3)."""

import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest

from podinsight.adapters.memory_fleet import Make, MemoryFleet
from podinsight.domain.control import Control
from podinsight.domain.findings import Finding
from podinsight.domain.fleet import Group, Unheld
from podinsight.domain.money import DOLLAR, micros
from podinsight.domain.prices import Price
from podinsight.errors import Unavailable
from podinsight.ports import ObjectStore
from podinsight.services.check import check
from podinsight.services.scale import scale
from tests.support.guarding import Guard
from tests.support.rows import Rows

HELD = Group("zone", 1, 1, 4)
FREED = Group("zone", 0, 1, 4)
DUE = 180  # seconds; more than grace, sweep and stop of the guard's rules, in sweeps


@pytest.fixture
def guard(rows: Rows, objects: ObjectStore) -> Guard:
    guard = Guard(rows, objects)
    guard.fleet.resize(HELD)
    return guard


def minimum(guard: Guard) -> Finding | None:
    """What is told of it now."""
    found = [each.finding for each in guard.store.findings.open()]
    return next((each for each in found if each.subject == "group zone: minimum"), None)


def sweeps(guard: Guard, seconds: int = DUE) -> None:
    for _ in range(seconds // 60):
        guard.sweep(60)


def told(guard: Guard, about: str = "minimum:") -> list[str]:
    return [each.title for each in guard.notifier.told if each.key.startswith(about)]


def test_scenario_03_a_minimum_without_work_is_told_dropped_and_the_fleet_at_zero(guard: Guard) -> None:
    """Group min=1, queue empty: flagged within one sweep with dollars a day, zeroed, two clean reads."""
    guard.sweep()
    found = minimum(guard)
    assert found is not None
    assert found.what == "keeps at least 1 machines, work or none"
    assert found.day_micros == micros(240)
    assert found.fix == "the cost guard sets its minimum to 0 once it has had no work for 140 s"
    assert guard.fleet.state().groups == (HELD,)

    for _ in range(DUE // 5):  # the brain wants none all the while
        guard.clock.advance(5)
        scale(guard.ports, guard.rules)
    assert len(guard.fleet.state().instances) == 1, "what a minimum keeps is not ended to be started anew"
    guard.sweep()
    assert guard.fleet.state().groups == (FREED,)
    found = minimum(guard)
    assert found is not None
    assert (found.day_micros, found.fix) == (micros(240), "the cost guard set its minimum to 0")
    assert told(guard) == ["the cost guard has set the minimum of group zone to 0 ($240.00 a day)"]

    scale(guard.ports, guard.rules)
    guard.sweep(60)
    for _ in range(2):
        guard.clock.advance(5)
        scale(guard.ports, guard.rules)
        read = check(guard.ports, guard.rules)
        assert (read.clean, read.unproven, read.state.living) == (True, (), ())
        assert read.state.groups == (Group("zone", 0, 0, 4),)
    assert (minimum(guard), len(told(guard))) == (None, 1)


def test_after_hours_without_a_sweep_a_minimum_is_not_dropped_at_once(guard: Guard) -> None:
    """Nobody knows whether there was work meanwhile."""
    guard.sweep(60)
    guard.clock.advance(3 * 3600)
    guard.sweep()
    assert (guard.fleet.state().groups, told(guard)) == ((HELD,), [])
    sweeps(guard)
    assert guard.fleet.state().groups == (FREED,)


def test_what_a_minimum_keeps_is_the_best_of_its_own_group(guard: Guard) -> None:
    """While work is stopped: one that is ready stays, one whose start takes too long goes, and none of elsewhere."""
    fleet = MemoryFleet(guard.clock, [HELD], Make(start_seconds=5, stop_seconds=1, rate=Price(10 * DOLLAR, "list")))
    guard.with_fleet(fleet)
    guard.clock.advance(10)
    fleet.resize(replace(HELD, desired=2))
    fleet.resize(Group("far", 0, 1, 4))
    guard.store.control.write(Control(gpu_frozen=True, by="ada", why="odd output"))
    scale(guard.ports, guard.rules)
    assert [each.id for each in fleet.state().living if each.idle] == ["i-000000"]
    assert sum(group.desired for group in fleet.state().groups) == 1


def test_where_there_is_work_a_minimum_is_told_and_left(guard: Guard) -> None:
    """Waiting, or under a lease."""
    (episode_id,) = guard.rows.transcribes(1)
    sweeps(guard)
    guard.rows.claim(episode_id, "transcribe", "g1")
    sweeps(guard, 60)
    assert guard.fleet.state().groups == (HELD,)
    found = minimum(guard)
    assert found is not None
    assert "once it has had no work" in found.fix
    assert told(guard) == []


def test_a_machine_that_holds_work_keeps_its_minimum(guard: Guard) -> None:
    guard.clock.advance(10)
    guard.fleet.hold("i-000000")
    sweeps(guard)
    assert guard.fleet.state().groups == (HELD,)
    guard.fleet.let_go("i-000000")
    sweeps(guard)
    assert guard.fleet.state().groups == (HELD,), "the time without work begins then"
    guard.sweep(60)
    assert guard.fleet.state().groups == (FREED,)


def test_work_that_may_not_start_keeps_no_minimum(guard: Guard) -> None:
    """Machines that wait for somebody to lift a freeze run for nothing."""
    guard.rows.transcribes(2)
    guard.store.control.write(Control(gpu_frozen=True, by="ada", why="odd output"))
    guard.sweep()
    sweeps(guard)
    assert guard.fleet.state().groups == (FREED,)


def test_what_costs_nothing_keeps_its_minimum(guard: Guard) -> None:
    fleet = MemoryFleet(guard.clock, [HELD], Make(rate=Price(0, "own machine")))
    guard.with_fleet(fleet)
    guard.sweep()
    sweeps(guard)
    assert fleet.state().groups == (HELD,)
    assert guard.store.findings.open() == []


def test_a_provider_that_refuses_leaves_it_to_a_person(guard: Guard) -> None:
    """And the sweep goes on; once it may, it is done."""
    guard.fleet.unchangeable.add("zone")
    guard.sweep()
    sweeps(guard)
    guard.sweep(60)
    found = minimum(guard)
    assert found is not None
    reason = "could not be set to 0 (its size may not be changed): set its minimum to 0 by hand, at the provider"
    assert (found.fix, guard.fleet.state().groups) == (reason, (HELD,))
    assert told(guard) == ["the cost guard cannot set the minimum of group zone to 0 ($240.00 a day)"], "once a day"
    assert guard.store.control.ticks()["sweep"] == guard.clock.now()
    guard.fleet.unchangeable.clear()
    guard.sweep(60)
    assert guard.fleet.state().groups == (FREED,)


@pytest.mark.parametrize("fault", [Unavailable("no region answers"), KeyError("x")])
def test_a_provider_that_does_not_answer_the_order_is_told_like_one_that_refuses(
    guard: Guard, fault: Exception
) -> None:
    class Deaf(MemoryFleet):
        def drop_minimum(self, groups: Sequence[str], by: str = "", why: str = "") -> Unheld:
            raise fault

    guard.with_fleet(Deaf(guard.clock, [HELD], Make(rate=Price(10 * DOLLAR, "list"))))
    guard.sweep()
    sweeps(guard)
    found = minimum(guard)
    assert found is not None
    assert "could not be set to 0 (" in found.fix


def test_an_unknown_region_keeps_no_other_from_it(guard: Guard) -> None:
    """COST-GUARD scenario 10: what does not answer is told, and not touched; its time begins when it answers."""
    guard.with_fleet(fleet := MemoryFleet(guard.clock, [HELD, Group("far", 2, 2, 4)]))
    fleet.denied.add("far")
    guard.sweep()
    sweeps(guard)
    assert "unknown: far: access denied" in {each.finding.subject for each in guard.store.findings.open()}
    fleet.denied.clear()
    assert fleet.state().groups == (FREED, Group("far", 2, 2, 4))
    guard.sweep(60)
    sweeps(guard)
    assert fleet.state().groups == (FREED, Group("far", 0, 2, 4))


def test_of_two_groups_the_one_that_refuses_is_told_alone(guard: Guard) -> None:
    guard.with_fleet(fleet := MemoryFleet(guard.clock, [HELD, Group("far", 1, 1, 4)]))
    fleet.unchangeable.add("far")
    guard.sweep()
    sweeps(guard)
    fixes = {each.finding.subject: each.finding.fix for each in guard.store.findings.open()}
    assert fixes["group zone: minimum"] == "the cost guard set its minimum to 0"
    assert "could not be set to 0" in fixes["group far: minimum"]


def test_a_minimum_comes_back_with_a_resume_and_goes_again(guard: Guard) -> None:
    """What a person gives back is what was; without work it lasts as long as any other."""
    snapshot = guard.fleet.zero("a drill").snapshot
    guard.sweep()
    sweeps(guard)
    assert (minimum(guard), guard.fleet.state().kept) == (None, snapshot)
    guard.fleet.resume(snapshot)
    sweeps(guard)
    assert guard.fleet.state().groups == (HELD,)
    guard.sweep(60)
    assert guard.fleet.state().groups == (FREED,)


def test_two_sweeps_at_once_drop_it_once_and_tell_once(guard: Guard) -> None:
    guard.sweep()
    guard.clock.advance(DUE)
    guard.fleet.state()  # what was due has happened: the simulation is nobody's to share
    threads = [threading.Thread(target=guard.sweep) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    found = minimum(guard)
    assert found is None or found.fix == "the cost guard set its minimum to 0", "none: one looked after it was done"
    assert guard.fleet.state().groups == (FREED,)
    assert set(told(guard)) == {"the cost guard has set the minimum of group zone to 0 ($240.00 a day)"}
