"""The contract of ports.Fleet, on a simulated provider and on the rows that the supervisor carries out (G5, G6)."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest

from podinsight.adapters.database import SqlStore
from podinsight.adapters.local_fleet import LocalFleet
from podinsight.domain.fleet import InstanceState, Offer, Unheld
from podinsight.domain.prices import Price
from podinsight.domain.work import Lease
from podinsight.errors import Refused, Unavailable
from tests.conftest import LIMITS, STALE_SECONDS
from tests.support.clock import ManualClock
from tests.support.databases import open_migrated
from tests.support.fleets import MOST, LocalWorld, MemoryWorld, World, ready
from tests.support.rows import LEASE_SECONDS, Rows


@pytest.fixture(params=["memory", "local-sqlite", "local-postgresql"])
def world(request: pytest.FixtureRequest, clock: ManualClock) -> Iterator[World]:
    if request.param == "memory":
        yield MemoryWorld()
        return
    url = "sqlite://" if request.param.endswith("sqlite") else str(request.getfixturevalue("postgres_with_schema"))
    store = open_migrated(url, clock, LIMITS, STALE_SECONDS)
    yield LocalWorld(store, clock)
    store.close()


def grown(world: World, count: int) -> list[str]:
    """The ids of so many ready instances, the oldest first; they started one after the other."""
    for size in range(1, count + 1):
        world.fleet.scale(size)
        world.settle()
    return [each.id for each in ready(world)]


def test_a_new_fleet_runs_nothing_and_is_no_proof_of_zero(world: World) -> None:
    state = world.fleet.state()
    assert (state.living, state.unknown, state.desired, state.kept) == ((), (), 0, None)
    assert not state.is_zero, "its maximum lets it start"


def test_it_grows_to_what_is_desired_and_no_further(world: World) -> None:
    assert world.fleet.scale(2) == 2
    world.settle()
    assert len(ready(world)) == 2
    assert world.fleet.scale(MOST + 5) == MOST
    world.settle()
    state = world.fleet.state()
    assert [each.state for each in state.living] == [InstanceState.READY] * MOST
    assert all(each.ended is None and each.started <= state.at for each in state.living)
    assert state.burn == sum(each.rate.micros for each in state.living)
    assert world.fleet.scale(-3) == 0


def test_what_has_not_come_up_yet_is_seen(world: World) -> None:
    """G5: what starts is paid for, and whoever looks for zero must see it."""
    world.fleet.scale(1)
    if isinstance(world, LocalWorld):
        world._tick()
    (instance,) = world.fleet.state().living
    assert (instance.state, instance.leased) == (InstanceState.STARTING, False)
    assert not world.hold(instance.id)
    world.settle()
    assert [each.id for each in ready(world)] == [instance.id]


def test_what_dies_is_replaced(world: World) -> None:
    first, second = grown(world, 2)
    world.die(first)
    world.settle()
    assert len(ready(world)) == 2
    assert second in {each.id for each in ready(world)}
    assert first not in {each.id for each in world.fleet.state().living}


def test_scale_in_takes_the_newest_idle_ones_and_never_a_lease_holder(world: World) -> None:
    """G6: in-flight work is never killed by scale-in."""
    first, _second, third, fourth = grown(world, 4)
    assert world.hold(third)
    assert world.hold(fourth)
    world.fleet.scale(3)
    world.settle()
    assert [each.id for each in ready(world)] == [first, third, fourth], "the newest of those without a lease"
    world.fleet.scale(1)
    world.settle()
    assert [(each.id, each.leased) for each in ready(world)] == [(third, True), (fourth, True)], "and no replacement"
    world.settle()
    assert {each.id for each in ready(world)} == {third, fourth}, "whatever time goes by"
    world.let_go(third)
    world.settle()
    assert [each.id for each in ready(world)] == [fourth], "then it goes without another word"
    world.let_go(fourth)
    world.settle()
    assert [each.id for each in ready(world)] == [fourth]


def test_stop_ends_the_named_ones_alone_and_they_are_not_replaced(world: World) -> None:
    first, second, third = grown(world, 3)
    assert world.hold(second)
    stopped = world.fleet.stop([first, second, "nobody"])
    assert (stopped.ending, stopped.busy, stopped.refused) == ((first, "nobody"), (second,), ())
    assert not world.hold(first), "what is being stopped takes no more leases"
    assert world.fleet.state().desired == 2
    world.settle()
    assert [each.id for each in ready(world)] == [second, third]
    again = world.fleet.stop([first])
    assert (again.ending, again.busy) == ((first,), ())
    assert world.fleet.state().desired == 2


def test_a_minimum_that_is_dropped_holds_nobody_and_ends_nobody(world: World) -> None:
    """G5, COST-GUARD trap 1: the minimum alone, and desired and maximum as they were."""
    world.keep_at_least(2)
    grown(world, 3)
    (before,) = world.fleet.state().groups
    assert world.hold(ready(world)[0].id)
    for _ in range(2):
        assert world.fleet.drop_minimum([before.name, "nobody"]) == Unheld((before.name, "nobody"))
        assert world.fleet.state().groups == (replace(before, least=0),)
    world.settle()
    assert len(ready(world)) == 3
    assert world.fleet.scale(0) == 0
    world.settle()
    assert [each.leased for each in ready(world)] == [True]


def test_a_minimum_that_was_kept_when_it_was_shut_comes_back_with_the_resume(world: World) -> None:
    world.keep_at_least(1)
    grown(world, 1)
    before = world.fleet.state().groups
    snapshot = world.fleet.zero("a drill").snapshot
    world.settle()
    assert world.fleet.drop_minimum([before[0].name]).refused == ()
    assert (world.fleet.state().is_zero, world.fleet.state().kept) == (True, snapshot)
    world.fleet.resume(snapshot)
    assert world.fleet.state().groups == before


def test_zero_ends_all_of_them_and_nothing_starts_again(world: World) -> None:
    """G7: also what holds a lease hands back and ends; proof is a read of what there is."""
    names = grown(world, 3)
    assert world.hold(names[0])
    before = world.fleet.state()
    zeroed = world.fleet.zero("spent too much")
    assert (zeroed.snapshot.groups, zeroed.snapshot.reason, zeroed.unproven) == (before.groups, "spent too much", ())
    assert not world.fleet.state().is_zero, "they end, and have not ended"
    assert not any(world.hold(name) for name in names)
    world.settle()
    state = world.fleet.state()
    assert state.is_zero
    assert [(each.least, each.desired, each.most) for each in state.groups] == [(0, 0, 0)]
    assert state.kept == zeroed.snapshot
    with pytest.raises(Refused, match="spent too much"):
        world.fleet.scale(1)
    world.settle()
    assert world.fleet.state().is_zero


def test_zero_twice_keeps_the_first_snapshot(world: World) -> None:
    """COST-GUARD scenario 7."""
    grown(world, 2)
    first = world.fleet.zero("first")
    assert world.fleet.zero("second").snapshot == first.snapshot
    world.settle()
    assert world.fleet.zero("third").snapshot == first.snapshot
    assert world.fleet.state().kept == first.snapshot


def test_resume_restores_what_was_and_only_once(world: World) -> None:
    grown(world, 2)
    before = world.fleet.state().groups
    snapshot = world.fleet.zero("a drill").snapshot
    world.settle()
    world.fleet.resume(snapshot)
    world.settle()
    state = world.fleet.state()
    assert (state.groups, state.kept, len(state.living)) == (before, None, 2)
    world.fleet.scale(1)
    world.fleet.resume(snapshot)
    assert world.fleet.state().desired == 1, "an open fleet is left alone"


def test_a_provider_that_does_not_answer_is_unknown_and_never_zero(world: World) -> None:
    """COST-GUARD scenario 10."""
    fleet = world.away()
    state = fleet.state()
    assert (state.instances, state.groups) == ((), ())
    assert state.unknown
    assert "secret" not in str(state)
    assert not state.is_zero
    for call in (
        lambda: fleet.scale(1),
        lambda: fleet.zero("x"),
        lambda: fleet.stop(["a"]),
        lambda: fleet.drop_minimum(["here"]),
    ):
        with pytest.raises(Unavailable):
            call()


# ------------------------------------------------------------------------------------------------ the database's own


@pytest.fixture(params=["sqlite", "postgresql"])
def shared(request: pytest.FixtureRequest, clock: ManualClock, tmp_path: Path) -> Iterator[SqlStore]:
    """A database that several processes could share."""
    file = f"sqlite:///{tmp_path / 'podinsight.db'}"
    url = file if request.param == "sqlite" else str(request.getfixturevalue("postgres_with_schema"))
    store = open_migrated(url, clock, LIMITS, STALE_SECONDS)
    yield store
    store.close()


def test_of_a_claim_and_a_retirement_one_comes_first(shared: SqlStore, clock: ManualClock) -> None:
    """G6: a worker that was told to go holds no lease, however close the two were."""
    (episode,) = Rows(shared, clock).transcribes(1)
    both = Barrier(2)

    def claim(worker: str) -> Lease | None:
        both.wait(10)
        return shared.work.claim("transcribe", episode, worker, LEASE_SECONDS)

    def retire(worker: str) -> bool:
        both.wait(10)
        return shared.workers.retire(worker)

    outcomes = set()
    with ThreadPoolExecutor(2) as threads:
        for turn in range(25):
            shared.workers.register(f"r{turn}", "here", "gpu", 1, 1)
            asked = threads.submit(claim, f"r{turn}")
            told = threads.submit(retire, f"r{turn}")
            lease, gone = asked.result(30), told.result(30)
            outcomes.add((lease is not None, gone))
            if lease is not None:
                shared.work.hand_back(lease)
    assert outcomes <= {(True, False), (False, True)}


def test_two_who_shut_a_pool_at_once_keep_the_same_snapshot(shared: SqlStore, clock: ManualClock) -> None:
    fleets = [LocalFleet(shared, clock, MOST, STALE_SECONDS) for _ in range(4)]
    fleets[0].scale(3)
    with ThreadPoolExecutor(4) as threads:
        told = list(threads.map(lambda pair: pair[1].zero(f"reason {pair[0]}").snapshot, enumerate(fleets)))
    assert len(set(told)) == 1
    assert told[0].groups[0].desired == 3


def test_a_shut_pool_stays_empty_whatever_is_desired(shared: SqlStore, clock: ManualClock) -> None:
    """`up` sets the sizes of the settings: a fleet that was shut must not come back by a restart."""
    fleet = LocalFleet(shared, clock, MOST, STALE_SECONDS)
    fleet.scale(2)
    snapshot = fleet.zero("frozen").snapshot
    shared.workers.set_desired("gpu", 4)
    assert shared.workers.desired() == {"gpu": 0}
    assert fleet.state().is_zero
    fleet.resume(snapshot)
    assert shared.workers.desired() == {"gpu": 2}


def test_a_worker_that_went_silent_still_counts_and_is_told(shared: SqlStore, clock: ManualClock) -> None:
    shared.workers.register("g1", "here", "gpu", 1, 1)
    clock.advance(STALE_SECONDS + 5)
    fleet = LocalFleet(shared, clock, MOST, STALE_SECONDS)
    assert fleet.zero("x").unproven == fleet.state().problems == ("g1 has not been heard of for 35 s",)
    assert not fleet.state().is_zero


def test_what_is_expected_is_starting_until_it_registers(shared: SqlStore) -> None:
    shared.workers.expect("g1", "here", "gpu", 11)
    assert [(each.pid, each.state) for each in shared.workers.list()] == [(11, "starting")]
    shared.workers.register("g1", "here", "gpu", 12, 1)
    shared.workers.expect("g1", "here", "gpu", 11)
    assert [(each.pid, each.slots, each.state) for each in shared.workers.list()] == [(12, 1, "ready")]
    shared.workers.expect("g2", "here", "gpu", 13)
    assert shared.workers.retire("g2"), "it takes no work yet"
    shared.workers.register("g2", "here", "gpu", 13, 1)
    assert shared.workers.heartbeat("g2") == "draining"
    assert not shared.workers.retire("nobody")


def test_what_is_offered_is_what_comes(world: World) -> None:
    """G5: the price of a launch is known before it, and is that of what comes."""
    offer = world.fleet.offer()
    grown(world, 1)
    (instance,) = world.fleet.state().living
    assert world.fleet.offer().rate == instance.rate == offer.rate
    assert world.away().offer().rate.micros >= 0, "it never raises"


def test_a_worker_that_has_not_said_its_device_is_priced_as_the_dearest_of_the_others(clock: ManualClock) -> None:
    store = open_migrated("sqlite://", clock, LIMITS, STALE_SECONDS)
    prices = {"": 9, "cpu": 1, "cuda": 5, "here": 3}

    def fleet(device: str) -> LocalFleet:
        return LocalFleet(
            store, clock, MOST, STALE_SECONDS, lambda kind, _zone: Price(prices[kind], "list"), device=lambda: device
        )

    assert (fleet("here").offer(), fleet("").offer().rate.micros) == (Offer("here", Price(3, "list")), 9)
    store.workers.expect("g1", "m", "gpu", 1)
    assert [(each.kind, each.rate.micros) for each in fleet("here").state().living] == [("here", 3)]
    assert [(each.kind, each.rate.micros) for each in fleet("").state().living] == [("unknown device", 9)]
    store.workers.register("g2", "m", "gpu", 2, 1, "cpu")
    store.workers.register("g3", "m", "gpu", 3, 1, "cuda")
    assert {each.id: each.rate.micros for each in fleet("here").state().living} == {"g1": 5, "g2": 1, "g3": 5}
    assert fleet("here").offer().kind == "cuda"
    store.close()
