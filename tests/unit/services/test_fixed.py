"""A fleet of a fixed size that is paid for, through the scaler (G3, G5)."""

from dataclasses import replace

import pytest

from podinsight.adapters.local_fleet import LocalFleet
from podinsight.adapters.memory_fleet import Make, MemoryFleet
from podinsight.domain.control import Control
from podinsight.domain.fleet import Group
from podinsight.domain.money import DOLLAR
from podinsight.domain.prices import Price
from podinsight.errors import Unavailable
from podinsight.ports import ObjectStore
from podinsight.services.fixed import held
from podinsight.services.guard import freeze
from podinsight.services.resume import ResumePorts, resume
from podinsight.services.scale import BURN, scale
from podinsight.topology import SCALE_TICK
from tests.support.guarding import Guard
from tests.support.rows import Rows
from tests.support.scaling import Guarded

PAID = Make(start_seconds=5, stop_seconds=1, rate=Price(10 * DOLLAR, "list"))


@pytest.fixture
def guard(rows: Rows, objects: ObjectStore) -> Guard:
    """Its scaler leaves the size as it is; the grace is a minute."""
    guard = Guard(rows, objects)
    guard.rules = replace(guard.rules, scales=False)
    return guard


def run(guard: Guard, seconds: int) -> int:
    """The scaler comes every five seconds; how many live afterwards."""
    for _ in range(seconds // 5):
        guard.clock.advance(5)
        scale(guard.ports, guard.rules)
    return len(guard.ports.fleet.state().living)


def test_without_work_it_goes_to_zero_and_comes_back_with_work(guard: Guard) -> None:
    """G5: desired > 0 while idle is fixed, and not only told."""
    guard.fleet.scale(3)
    assert run(guard, 60) == 3
    assert run(guard, 20) == 0
    assert str(held(guard.store)) == (
        "the size was fixed at 3, now 0 by the cost guard: no work for 60 s; work brings it back"
    )
    guard.sweep()
    assert guard.store.findings.open() == []
    assert run(guard, 600) == 0
    (episode_id,) = guard.rows.transcribes(1)
    assert run(guard, 10) == 3
    guard.rows.claim(episode_id, "transcribe", "g1")
    assert run(guard, 300) == 3, "what is under a lease is work"
    assert held(guard.store).size is None


def test_a_plan_that_is_being_made_brings_it_back(guard: Guard) -> None:
    """Demand is what the brain counts as such: where a start costs nothing it comes meanwhile."""
    guard.fleet.scale(2)
    assert run(guard, 80) == 0
    (episode_id,) = guard.rows.fetches(1, transcribe=True)
    assert run(guard, 20) == 0, "a download is none of its work yet"
    guard.rows.fetch(episode_id)
    guard.rows.claim(episode_id, "plan", guard.rows.worker("p1", "plan", 1))
    assert run(guard, 10) == 2


def test_what_costs_nothing_always_runs(guard: Guard) -> None:
    guard.with_fleet(MemoryFleet(guard.clock, [Group("zone", 0, 2, 4)], replace(PAID, rate=Price(0, "own"))))
    assert run(guard, 600) == 2
    freeze(guard.store, "spent", "stop:test")
    assert run(guard, 60) == 2


def test_the_log_of_the_fleet_says_who_did_it_and_why(guard: Guard) -> None:
    """And a size that `podrun up` sets is the one that holds."""
    workers = guard.store.workers
    fleet = LocalFleet(guard.store, guard.clock, 4, 30.0, lambda _kind, _zone: PAID.rate)
    guard.with_fleet(fleet)
    fleet.scale(2, "podrun up", "the stack starts")
    workers.register("g1", "here", "gpu", 1, 1, "cuda")
    run(guard, 80)
    taken, _up = workers.changes("gpu", 9)
    assert (taken.before, taken.after, taken.by, taken.why) == (2, 0, "cost guard", "no work for 60 s")
    workers.set_desired("gpu", 1, "podrun up", "the stack starts")
    workers.register("g2", "here", "gpu", 1, 1, "cuda")
    run(guard, 80)
    guard.rows.transcribes(1)
    run(guard, 10)
    back = workers.changes("gpu", 1)[0]
    assert (back.before, back.after, back.by) == (0, 1, "cost guard")
    assert back.why == "there is work again: the size that was fixed"


def test_a_fleet_that_is_shut_is_left_alone(guard: Guard) -> None:
    guard.fleet.scale(2)
    guard.fleet.zero("a drill")
    run(guard, 300)
    kept = guard.fleet.state().kept
    assert kept is not None
    guard.fleet.resume(kept)
    assert run(guard, 30) == 2
    assert run(guard, 60) == 0


def test_a_provider_that_refuses_is_asked_again(guard: Guard) -> None:
    """G5: and the tick by which people see that somebody decides does not move meanwhile."""

    class Deaf(MemoryFleet):
        deaf = True

        def scale(self, desired: int, by: str = "", why: str = "") -> int:
            if self.deaf:
                raise Unavailable("no region answers")
            return super().scale(desired, by, why)

    guard.with_fleet(fleet := Deaf(guard.clock, [Group("zone", 0, 3, 4)], PAID))
    run(guard, 60)
    before = guard.store.control.ticks()
    for _ in range(3):
        guard.clock.advance(5)
        with pytest.raises(Unavailable):
            scale(guard.ports, guard.rules)
    assert guard.store.control.ticks() == before
    fleet.deaf = False
    assert run(guard, 10) == 0
    assert held(guard.store).size == 3
    guard.store.control.write(Control(gpu_frozen=True, by="ada", why="odd"))
    guard.rows.transcribes(1)
    assert run(guard, 10) == 0
    guard.store.control.write(Control(by="ada", why="fine"))
    assert run(guard, 10) == 3
    assert guard.store.control.ticks()[SCALE_TICK] == guard.clock.now()


def test_an_unknown_region_keeps_no_other_running(guard: Guard) -> None:
    """COST-GUARD scenario 10: it goes, too, once it answers, and all of it comes back."""
    guard.with_fleet(fleet := MemoryFleet(guard.clock, [Group("zone", 0, 3, 4), Group("far", 0, 1, 4)], PAID))
    fleet.denied.add("far")
    assert run(guard, 90) == 0
    fleet.denied.clear()
    assert run(guard, 10) == 0
    guard.rows.transcribes(1)
    assert run(guard, 10) == 4


def test_a_minimum_under_a_fixed_size_is_dropped_by_the_sweep_and_then_it_goes(guard: Guard) -> None:
    guard.fleet.resize(Group("zone", 1, 3, 4))
    assert run(guard, 80) == 1
    for _ in range(4):
        guard.sweep(60)
    assert guard.fleet.state().groups == (Group("zone", 0, 1, 4),)
    assert run(guard, 10) == 0
    guard.rows.transcribes(1)
    assert run(guard, 10) == 3


def test_a_fixed_fleet_is_only_watched(guarded: Guarded) -> None:
    guarded.rules = replace(guarded.rules, scales=False)
    guarded.fleet.scale(2)
    guarded.rows.transcribes(6)
    assert guarded.run(200)[-1] == 2
    assert guarded.rows.store.memory.recall(BURN) == {"micros": 2 * 80 * 1000}


def test_a_fixed_fleet_that_is_paid_for_is_at_zero_while_its_work_is_frozen(guarded: Guarded) -> None:
    """G3: a stop level holds for machines that always run, too; a resume brings back as many as there were."""
    guarded.rules = replace(guarded.rules, scales=False)
    guarded.fleet.scale(3)
    assert guarded.run(20)[-1] == 3
    freeze(guarded.rows.store, "it costs too much", "stop:test")
    assert guarded.run(20)[-1] == 0
    resume(ResumePorts(guarded.rows.store, guarded.fleet, guarded.clock), guarded.rules.limits, "ada", "paid")
    assert guarded.run(20)[-1] == 3
