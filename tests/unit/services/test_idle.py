"""Idle time in the ledger: a worker's leases and its idleness are all that it was paid for (G1)."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podinsight.adapters.database import SqlStore
from podinsight.adapters.obstore_objects import S3Options, open_objects
from podinsight.domain.days import begins_at, day_of
from podinsight.domain.hosts import HostLimits
from podinsight.domain.money import cost_of, micros
from podinsight.domain.prices import CUDA, Price, PriceBook, Terms
from podinsight.domain.quote import CPU, UNKNOWN_DEVICE
from podinsight.domain.work import Lease
from podinsight.ports import LedgerLine, ObjectStore
from podinsight.services.idle import meter
from podinsight.topology import AREAS
from tests.conftest import LIMITS
from tests.support.clock import ManualClock
from tests.support.databases import open_migrated
from tests.support.guarding import Guard
from tests.support.rows import LEASE_SECONDS, TOOK, Rows
from tests.support.spending import SECOND, Paying, recount_money

ODD = PriceBook({CUDA: Price(526_000, "odd")})  # no whole number of micro-dollars a millisecond


@pytest.fixture
def guard(rows: Rows, objects: ObjectStore) -> Guard:
    return Guard(rows, objects)


def idle(guard: Guard) -> list[tuple[str, int]]:
    """By day: milliseconds."""
    return [(each.bearer.day, each.entry.quantity) for each in guard.rows.lines("idle")]


def test_a_worker_without_work_costs_from_its_start_to_its_end(guard: Guard) -> None:
    guard.rows.device("g1")
    guard.clock.advance(20)
    assert meter(guard.ports) == 20 * SECOND
    assert meter(guard.ports) == 0, "twice counts once"
    guard.clock.advance(5)
    guard.store.workers.heartbeat("g1")
    guard.clock.advance(60)
    guard.store.workers.mark("g1", "dead")
    assert meter(guard.ports) == 5 * SECOND, "up to its last heartbeat"
    guard.clock.advance(600)
    assert meter(guard.ports) == 0
    (line, _other) = guard.rows.lines("idle")
    entry = line.entry
    assert (entry.service, entry.device_kind, entry.note, entry.estimated) == ("idle", CUDA, "g1", False)
    assert entry.gpu
    assert guard.store.workers.meters("gpu") == [], "it is done with"


def test_who_is_not_heard_of_costs_nothing_more_until_it_is(guard: Guard) -> None:
    guard.rows.device("g1")
    guard.clock.advance(1000)
    assert meter(guard.ports) == 0
    guard.store.workers.heartbeat("g1")
    assert meter(guard.ports) == 1000 * SECOND


def test_a_lease_is_not_idle_and_what_comes_after_it_is(guard: Guard) -> None:
    lease = guard.rows.claim(guard.rows.planned(2), "transcribe", "g1")
    guard.clock.advance(10)
    assert meter(guard.ports) == 0
    guard.rows.work.hand_back(lease)
    guard.clock.advance(7)
    assert meter(guard.ports) == 7 * SECOND


def test_idle_time_belongs_to_the_day_in_which_it_lay(guard: Guard) -> None:
    today = guard.today
    guard.clock.advance(begins_at(today) + 86_400 - 12 - guard.clock.now())
    guard.rows.device("g1")
    guard.clock.advance(20)
    meter(guard.ports)
    assert idle(guard) == [(today, 12_000), (day_of(guard.clock.now()), 8_000)]


def test_a_device_without_a_price_writes_nothing_and_its_past_is_not_billed_later(guard: Guard) -> None:
    """The price is set while it runs."""
    guard.rows.device("c1", CPU)
    guard.clock.advance(20)
    assert meter(guard.ports) == 0
    assert idle(guard) == []
    guard.ports = replace(guard.ports, prices=PriceBook({CPU: Price(3600 * SECOND, "settings")}))
    guard.clock.advance(5)
    assert meter(guard.ports) == 5 * SECOND


def test_a_kind_that_nobody_has_named_is_priced_high_and_marked(guard: Guard) -> None:
    """G5: never zero."""
    guard.store.workers.register("g1", "machine", "gpu", 1, 1)
    guard.clock.advance(1)
    assert meter(guard.ports) == SECOND
    (line,) = guard.rows.lines("idle")
    assert (line.entry.device_kind, line.entry.estimated) == (UNKNOWN_DEVICE, True)


def test_other_pools_and_workers_that_start_are_not_metered(guard: Guard) -> None:
    guard.rows.worker("f1")
    guard.store.workers.expect("g1", "machine", "gpu", 1)
    guard.clock.advance(10)
    assert meter(guard.ports) == 0
    guard.rows.device("g1")
    guard.clock.advance(5)
    assert meter(guard.ports) == 15 * SECOND, "its start was paid for as well"


def test_a_name_that_comes_back_begins_anew(guard: Guard) -> None:
    guard.rows.device("g1")
    guard.clock.advance(20)
    meter(guard.ports)
    guard.clock.advance(3600)
    guard.rows.device("g1")
    guard.clock.advance(3)
    assert meter(guard.ports) == 3 * SECOND


# --------------------------------------------------------------------------------------------------------- property


class Life:
    """One worker, and whatever may happen to it."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        migrated = open_migrated("sqlite://", self.clock, HostLimits({}, 10), 30.0)
        store = SqlStore(migrated.db, self.clock, LIMITS, 30.0, Terms(ODD, least_speed=0.5))
        self.rows = Paying(store, self.clock)
        objects = open_objects(dict.fromkeys(AREAS, "memory:///"), S3Options())
        self.ports = replace(Guard(self.rows, objects).ports, store=store, prices=ODD)
        self.episode_id = self.rows.planned(15)
        self.began = self.clock.now()
        self.lease: Lease | None = None

    def step(self, what: str, seconds: float) -> None:
        match what:
            case "sweep":
                meter(self.ports)
            case "claim" if self.lease is None:
                self.lease = self.rows.store.work.claim("transcribe", self.episode_id, "g1", LEASE_SECONDS)
            case "commit" if self.lease is not None:
                self.rows.store.work.commit_chunk(self.lease, "key", TOOK, LEASE_SECONDS)
                self.lease = None
            case "hand back" if self.lease is not None:
                self.rows.store.work.hand_back(self.lease)
                self.lease = None
            case "renew" if self.lease is not None:
                self.rows.store.work.renew(self.lease, LEASE_SECONDS)
            case "midnight":
                seconds = begins_at(day_of(self.clock.now())) + 86_400 - self.clock.now() - seconds / 2
        self.clock.advance(seconds)
        self.rows.store.workers.heartbeat("g1")
        if self.rows.store.work.reconcile(60).expired:  # a lease that was not renewed in time is lost
            self.lease = None

    def end(self) -> None:
        if self.lease is not None:
            self.rows.store.work.hand_back(self.lease)
        self.rows.store.workers.heartbeat("g1")
        self.rows.store.workers.mark("g1", "dead")
        meter(self.ports)

    @property
    def lines(self) -> Sequence[LedgerLine]:
        return [*self.rows.lines("idle"), *self.rows.lines("transcribe")]


STEPS = st.tuples(
    st.sampled_from(["sweep", "claim", "commit", "hand back", "renew", "midnight", "nothing"]),
    st.floats(0.001, 100).map(lambda seconds: round(seconds, 3)),
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, max_size=14))
def test_idle_time_and_leases_are_all_that_was_paid_for(steps: list[tuple[str, float]]) -> None:
    """Whatever the order of sweeps, claims, commits, losses and midnights: the milliseconds add up, and the money to a
    micro-dollar an entry."""
    life = Life()
    for what, seconds in steps:
        life.step(what, seconds)
    life.end()
    paid = round((life.clock.now() - life.began) * 1000)
    lines = life.lines
    assert abs(sum(each.entry.quantity for each in lines) - paid) <= len(lines)
    price = life.ports.prices.device(CUDA).micros
    exact = cost_of(paid, lines[0].entry.unit, price) if lines else 0
    assert abs(sum(each.entry.micros for each in lines) - exact) <= len(lines) + 1
    recount_money(life.rows.store)
    life.rows.store.close()
    assert price < micros(1)
