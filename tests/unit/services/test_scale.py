"""Scaling as a whole: what is decided from the database and the fleet, and what is carried out (G5, G6, G8)."""

from dataclasses import replace

import pytest

from podinsight.adapters.local_fleet import LocalFleet
from podinsight.adapters.memory_fleet import MemoryFleet
from podinsight.domain.fleet import Group
from podinsight.domain.observed import NAME, observed
from podinsight.domain.prices import Price
from podinsight.errors import Unavailable
from podinsight.ports import ObjectStore
from podinsight.services.scale import BURN, scale
from tests.support.rows import Rows
from tests.support.scaling import MAKE, RULES, Guarded


def test_the_fleet_grows_with_work_and_is_at_zero_within_the_grace(guarded: Guarded) -> None:
    """G6: from zero, and back to zero within the grace once the work has ended."""
    assert guarded.run(20) == [0] * 4
    ids = guarded.rows.transcribes(6)
    lived = guarded.run(20)
    assert lived[0] == lived[-1] == 3, "six minutes of audio in two minutes"
    assert "6 min of audio" in observed(guarded.rows.store.memory.recall(NAME), guarded.clock.now()).why
    for episode_id in ids:
        guarded.rows.transcribe(episode_id)
    assert guarded.run(60)[:3] == [3, 3, 3], "the grace"
    assert guarded.run(20)[-1] == 0
    assert guarded.rows.store.memory.recall(BURN) == {"micros": 0}


def test_each_size_that_was_decided_is_on_record_with_its_reason(guarded: Guarded) -> None:
    """G6: who reads it months later sees why there were so many."""
    workers = guarded.rows.store.workers
    fleet = LocalFleet(guarded.rows.store, guarded.clock, 4, 30.0, lambda _kind, _zone: MAKE.rate)
    ids = guarded.rows.transcribes(6)
    for name in ("g2", "g3"):
        guarded.rows.worker(name, "gpu", 1)
    scale(guarded.ports(fleet), guarded.rules)
    (grown,) = workers.changes("gpu", 9)
    assert (grown.what, grown.before, grown.after, grown.by) == ("sized", 0, 3, "cost guard")
    assert "6 min of audio" in grown.why
    for episode_id in ids:
        guarded.rows.transcribe(episode_id)
    for _ in range(30):
        guarded.clock.advance(5)
        for name in ("g1", "g2", "g3"):
            workers.heartbeat(name)
        scale(guarded.ports(fleet), guarded.rules)
    *gone, first = workers.changes("gpu", 9)
    assert first == grown
    assert [(each.before, each.after, each.by) for each in gone] == [
        (1, 0, "cost guard"),
        (2, 1, "cost guard"),
        (3, 2, "cost guard"),
    ]
    assert all("idle" in each.why or "no work" in each.why for each in gone)


def test_burn_is_what_runs_until_it_could_have_been_stopped(guarded: Guarded) -> None:
    """G2: claims reckon with it."""
    guarded.rows.transcribes(6)
    guarded.run(10)
    assert guarded.rows.store.memory.recall(BURN) == {"micros": 3 * 80 * 1000}


def test_what_is_launched_burns_before_it_is_there(guarded: Guarded) -> None:
    """G2: no claim takes the room that a launch was fitted into, nor what a start has cost so far."""
    guarded.rows.transcribes(6)
    guarded.decide()
    launched = guarded.fleet.state().desired
    assert launched == 3
    assert guarded.rows.store.memory.recall(BURN) == {"micros": launched * (15 + 60 + 20) * 1000}
    guarded.clock.advance(4)  # it takes five seconds to start
    guarded.decide()
    assert guarded.rows.store.memory.recall(BURN) == {"micros": launched * (80 + 4) * 1000}


def test_a_lease_holder_stays_and_the_idle_go(guarded: Guarded) -> None:
    ids = guarded.rows.transcribes(6)
    guarded.run(15)
    holder = guarded.fleet.state().living[-1].id
    assert guarded.fleet.hold(holder)
    for episode_id in ids:
        guarded.rows.transcribe(episode_id)
    guarded.run(120)
    assert [each.id for each in guarded.fleet.state().living] == [holder]


def test_where_a_start_costs_nothing_a_worker_comes_while_the_plan_is_made(guarded: Guarded) -> None:
    """On a laptop the model is loaded meanwhile; elsewhere nobody is launched for what is not there yet."""
    rows = guarded.rows
    (episode_id,) = rows.fetches(1, transcribe=True)
    rows.fetch(episode_id)
    rows.claim(episode_id, "plan", rows.worker("p1", "plan", 1))
    assert guarded.run(5) == [1]
    guarded.fleet.scale(0)
    guarded.rows.store.memory.remember(NAME, {})
    guarded.rules = replace(guarded.rules, fleet=replace(RULES, patience=600))
    guarded.clock.advance(60)
    assert guarded.run(5) == [0]


def test_a_fixed_fleet_is_only_watched(guarded: Guarded) -> None:
    guarded.rules = replace(guarded.rules, scales=False)
    guarded.fleet.scale(2)
    guarded.rows.transcribes(6)
    assert guarded.run(200)[-1] == 2
    assert guarded.rows.store.memory.recall(BURN) == {"micros": 2 * 80 * 1000}


def test_the_measured_speed_counts(guarded: Guarded) -> None:
    rows = guarded.rows
    (episode_id,) = rows.transcribes(1, feed="b")
    rows.transcribe(episode_id)  # a minute of audio in a second, on the CPU
    guarded.fleet = MemoryFleet(rows.clock, [Group("here", 0, 0, 4)], replace(MAKE, kind="cpu"))
    rows.transcribes(6)
    assert guarded.run(5) == [1]
    assert "at 60 times real time" in guarded.decide()


def test_while_a_region_is_unknown_nothing_grows(rows: Rows, objects: ObjectStore) -> None:
    """G5: what runs there is not known, and never nothing; what it burnt before it may burn now."""
    guarded = Guarded(rows, objects, groups=2)
    rows.transcribes(2)
    assert guarded.run(5) == [1]
    guarded.decide()
    burnt = rows.store.memory.recall(BURN)
    guarded.fleet.denied.add("zone-0")
    rows.transcribes(6, feed="b")
    guarded.run(10)
    assert len(guarded.fleet.state().living) == 0, "none in the region that answers"
    assert rows.store.memory.recall(BURN) == burnt == {"micros": 80 * 1000}
    guarded.fleet.denied.clear()
    assert guarded.run(5) == [4]


def test_a_shut_fleet_stays_shut_and_says_why(guarded: Guarded) -> None:
    guarded.fleet.zero("a drill")
    guarded.rows.transcribes(6)
    assert guarded.run(20) == [0] * 4
    assert "a drill" in guarded.decide()


@pytest.mark.parametrize("kept", [{"at": "noon"}, {"at": 1_700_000_000.0, "desired": 3, "memory": "?", "sights": [1]}])
def test_a_memory_that_cannot_be_read_is_begun_anew(guarded: Guarded, kept: dict[str, object]) -> None:
    guarded.rows.store.memory.remember(NAME, kept)
    guarded.rows.transcribes(1)
    assert guarded.run(5) == [1]


def test_an_idle_machine_that_nobody_lets_go_is_a_finding(guarded: Guarded) -> None:
    """G5: an instance that refuses to end goes on costing; it is kept for the sweep to report."""
    ids = guarded.rows.transcribes(1)
    guarded.run(10)
    (name,) = [each.id for each in guarded.fleet.state().living]
    guarded.fleet.protected.add(name)
    guarded.rows.transcribe(ids[0])
    guarded.run(240)
    (found,) = observed(guarded.rows.store.memory.recall(NAME), guarded.clock.now()).findings
    assert (found.subject, found.day_micros) == (name, 86_400_000)


def test_scenario_11_a_scaler_that_fails_grows_nothing(guarded: Guarded) -> None:
    """The fleet does not answer at all, or the brain is asked nonsense: it raises, nothing has grown, and the tick by
    which supervisors hold their workers (tests/unit/supervisor/test_thinning.py) does not move."""
    guarded.rows.transcribes(6)
    guarded.rules = replace(guarded.rules, speed=0.0)
    with pytest.raises(ValueError, match="speed"):
        guarded.decide()
    guarded.rules = replace(guarded.rules, speed=1.0)
    guarded.fleet.denied.add("zone-0")
    guarded.decide()
    assert guarded.fleet.state().desired == 0
    guarded.fleet.denied.clear()
    before = guarded.rows.store.control.ticks()

    class Away(MemoryFleet):
        def scale(self, desired: int, by: str = "", why: str = "") -> int:
            raise Unavailable(f"{desired} cannot be set")

    away = Away(guarded.clock, [Group("here", 0, 0, 4)], MAKE)
    guarded.clock.advance(5)
    with pytest.raises(Unavailable):
        scale(guarded.ports(away), guarded.rules)
    assert away.state().living == ()
    assert guarded.rows.store.control.ticks() == before


def test_scenario_19_advice_to_rebalance_starts_no_extra_machine(guarded: Guarded) -> None:
    """The task finishes on the machine that was advised, and nobody is launched beside it. What its worker does (takes
    no new chunk): tests/end_to_end/test_interruptions.py."""
    (episode_id,) = guarded.rows.transcribes(1)
    guarded.run(15)
    (name,) = [each.id for each in guarded.fleet.state().living]
    guarded.fleet.hold(name)
    guarded.fleet.advise(name)
    assert guarded.run(60) == [1] * 12
    assert [(each.id, each.leased) for each in guarded.fleet.state().living] == [(name, True)]
    guarded.rows.transcribe(episode_id)
    guarded.fleet.let_go(name)
    assert guarded.run(90)[-1] == 0
    assert len(guarded.fleet.state().instances) == 1, "one machine in all"


def test_a_local_lease_holder_that_is_one_too_many_drains(rows: Rows, objects: ObjectStore) -> None:
    """A lowered maximum: the worker finishes its chunk and takes no other; scale-in by name is for the idle."""
    guarded = Guarded(rows, objects)
    fleet = LocalFleet(rows.store, rows.clock, 4, 30.0, lambda _kind, _zone: Price(1000, "list"))
    ids = rows.transcribes(3, chunks=2)
    for number, episode_id in enumerate(ids[:2]):
        rows.claim(episode_id, "transcribe", rows.worker(f"w{number}", "gpu", 1))
    guarded.rules = replace(guarded.rules, fleet=replace(RULES, most=1))
    scale(guarded.ports(fleet), guarded.rules)
    states = {each.id: each.state for each in rows.store.workers.list() if each.pool == "gpu"}
    assert sorted(states.values()) == ["draining", "draining", "ready"]
    assert states["g1"] == "draining", "the idle one goes first"
    assert rows.store.workers.desired()["gpu"] == 1
