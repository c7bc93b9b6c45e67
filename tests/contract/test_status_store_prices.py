"""What an hour of a worker costs is kept with it, and claims, leases and idle time go by that (G1, G2, G5)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import event

from podinsight.adapters.database import SqlStore
from podinsight.domain.budget import Level, Limits, Scope
from podinsight.domain.prices import CUDA, Price, PriceBook, Terms
from podinsight.domain.quote import CPU, FREE_RULE
from podinsight.domain.work import Lease, State
from podinsight.errors import LeaseLost
from tests.conftest import LIMITS, STALE_SECONDS
from tests.support.clock import ManualClock
from tests.support.rows import LEASE_SECONDS, TOOK
from tests.support.spending import SECOND, TERMS, Paying, recount_money

HALF = Price(1800 * SECOND, "live")
TWICE = Price(7200 * SECOND, "list 2026-06-17", estimated=True)
WHOLE = 120 * SECOND  # a minute of audio at half of real time, at the book's price


@pytest.fixture
def paying(store: SqlStore, clock: ManualClock) -> Iterator[Paying]:
    """Afterwards every budget is the sum of the ledger and of what is open."""
    yield Paying(SqlStore(store.db, clock, LIMITS, STALE_SECONDS, TERMS), clock)
    recount_money(store)


def reprice(paying: Paying, price: Price | None, name: str = "g1") -> None:
    paying.store.workers.reprice("gpu", {name: price})


def prices(store: SqlStore) -> dict[str, Price | None]:
    return {view.id: view.price for view in store.workers.list()}


def commit(paying: Paying, lease: Lease) -> None:
    paying.work.commit_chunk(lease, "part-0", TOOK, LEASE_SECONDS)


@contextmanager
def statements(store: SqlStore) -> Iterator[list[str]]:
    """What is said to the database meanwhile."""
    said: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_more: object) -> None:
        said.append(statement)

    event.listen(store.db.engine, "before_cursor_execute", note)
    try:
        yield said
    finally:
        event.remove(store.db.engine, "before_cursor_execute", note)


# ------------------------------------------------------------------------------- on the row


def test_a_worker_has_the_price_that_was_said_last_for_it(store: SqlStore) -> None:
    for name, pool in (("g1", "gpu"), ("g2", "gpu"), ("f1", "fetch")):
        store.workers.register(name, "here", pool, 1, 1)
    assert prices(store) == {"f1": None, "g1": None, "g2": None}
    store.workers.reprice("gpu", {"g1": HALF, "f1": HALF, "nobody": TWICE})
    assert prices(store) == {"f1": None, "g1": HALF, "g2": None}
    store.workers.reprice("gpu", {"g1": TWICE})
    store.workers.reprice("gpu", {})
    assert prices(store)["g1"] == TWICE
    assert [view.price for view in store.workers.live("gpu")] == [TWICE, None]


def test_a_source_is_no_longer_than_the_ledger_holds_and_where_it_is_from_is_left_out(store: SqlStore) -> None:
    store.workers.register("g1", "here", "gpu", 1, 1)
    store.workers.reprice("gpu", {"g1": Price(7, "x" * 99, True, "a contract")})
    assert prices(store) == {"g1": Price(7, "x" * 40, True)}


def test_the_workers_of_a_machine_share_what_it_costs(store: SqlStore, clock: ManualClock) -> None:
    """G1: together they cost what the machine does, never less. One of whom nothing is heard bears no share."""
    for name, machine in (("g1", "m1"), ("g2", "m1"), ("g3", "m1"), ("g4", "m2")):
        store.workers.register(name, machine, "gpu", 1, 1)
    store.workers.register("f1", "m1", "fetch", 1, 1)
    store.workers.reprice("gpu", {"m1": Price(1000, "live"), "g3": HALF})
    assert prices(store) == {"f1": None, "g1": Price(334, "live"), "g2": Price(334, "live"), "g3": HALF, "g4": None}
    store.workers.mark("g3", "dead")
    store.workers.reprice("gpu", {"m1": Price(1000, "live", estimated=True)})
    assert [prices(store)[name] for name in ("g1", "g2")] == [Price(500, "live", estimated=True)] * 2
    clock.advance(STALE_SECONDS + 1)
    store.workers.heartbeat("g1")
    store.workers.reprice("gpu", {"m1": Price(1000, "live")})
    assert prices(store)["g1"] == Price(1000, "live")


def test_the_dead_keep_what_they_had(paying: Paying) -> None:
    paying.device("g1")
    reprice(paying, HALF)
    paying.clock.advance(2)
    paying.store.workers.heartbeat("g1")
    paying.store.workers.mark("g1", "dead")
    reprice(paying, TWICE)
    (meter,) = paying.store.workers.meters("gpu")
    assert (meter.price, meter.ended) == (HALF, True)


def test_who_registers_keeps_nothing_of_a_life_before(paying: Paying) -> None:
    """Nor of a guess that was made while it started: it may have another device."""
    paying.store.workers.expect("g1", "machine", "gpu", 1)
    reprice(paying, Price(0, "a guess"))
    paying.device("g1")
    assert prices(paying.store) == {"g1": None}
    reprice(paying, HALF)
    paying.clock.advance(1)
    paying.device("g1")
    assert prices(paying.store) == {"g1": None}


def test_a_price_can_be_taken_back(paying: Paying) -> None:
    """Of a worker, or of all of a machine: the book's holds again, for idle time too."""
    for name in ("g1", "g2"):
        paying.device(name)
    reprice(paying, TWICE, "machine")
    reprice(paying, None)
    assert prices(paying.store) == {"g1": None, "g2": Price(TWICE.micros // 2, TWICE.source, estimated=True)}
    assert [meter.price for meter in paying.store.workers.meters("gpu")] == [None, prices(paying.store)["g2"]]
    reprice(paying, None, "machine")
    assert prices(paying.store) == {"g1": None, "g2": None}
    with statements(paying.store) as said:
        reprice(paying, None, "machine")
    assert not any("UPDATE" in each for each in said)
    reprice(paying, HALF)
    lease = paying.claim(paying.planned(), "transcribe", "g1")
    reprice(paying, None)
    paying.work.renew(lease, LEASE_SECONDS)
    assert paying.open()[0].reservation.micros == WHOLE


def test_where_no_price_is_new_nothing_is_written(store: SqlStore) -> None:
    for name in ("g1", "g2"):
        store.workers.register(name, "m1", "gpu", 1, 1)
    store.workers.reprice("gpu", {"g1": HALF, "m1": TWICE})
    with statements(store) as said:
        store.workers.reprice("gpu", {"g1": HALF, "m1": TWICE})
        assert not any("UPDATE" in each or "IMMEDIATE" in each for each in said)
        store.workers.reprice("gpu", {"g1": TWICE, "m1": TWICE})
    assert sum("UPDATE" in each for each in said) == 1


# ------------------------------------------------------------------------------- what leases cost


def test_a_lease_and_idle_time_cost_what_the_row_says(paying: Paying) -> None:
    """G1, G5: with its source and its mark."""
    episode_id = paying.planned()
    reprice(paying, TWICE)
    lease = paying.claim(episode_id, "transcribe", "g1")
    assert paying.open()[0].reservation.micros == 2 * WHOLE
    paying.clock.advance(12.345)
    commit(paying, lease)
    (line,) = paying.lines()
    entry = line.entry
    assert (entry.micros, entry.device_kind) == (2 * 12_345, CUDA)
    assert Price(entry.price, entry.price_source, entry.estimated) == TWICE
    assert paying.budget(Scope.ITEM, episode_id) == (2 * 12_345, 0)
    (meter,) = paying.store.workers.meters("gpu")
    assert meter.price == TWICE


def test_a_claim_asks_no_more_of_the_database_for_it(paying: Paying) -> None:
    episode_id = paying.planned(2)
    asked = []
    for price in (None, HALF):
        if price is not None:
            reprice(paying, price)
        with statements(paying.store) as said:
            assert paying.store.work.claim("transcribe", episode_id, "g1", LEASE_SECONDS) is not None
        asked.append(len(said))
    assert asked[0] >= asked[1]


@pytest.mark.parametrize(("after", "spent"), [(HALF, 50 * SECOND), (TWICE, 200 * SECOND)])
def test_a_price_that_changes_under_a_lease_holds_for_all_of_it(paying: Paying, after: Price, spent: int) -> None:
    """A renewal reserves what is missing at the new price; what a fall has left over is free when the lease ends."""
    episode_id = paying.planned()
    lease = paying.claim(episode_id, "transcribe", "g1")
    paying.clock.advance(60)
    reprice(paying, after)
    paying.work.renew(lease, LEASE_SECONDS)
    assert paying.budget(Scope.ITEM, episode_id) == (0, max(WHOLE, 150 * after.micros // 3600))
    recount_money(paying.store)
    paying.clock.advance(40)
    commit(paying, lease)
    assert paying.budget(Scope.ITEM, episode_id) == (spent, 0)
    assert paying.lines()[0].entry.price_source == after.source


def test_a_price_that_rises_between_renewals_costs_what_was_reserved(paying: Paying) -> None:
    """G2."""
    episode_id = paying.planned()
    lease = paying.claim(episode_id, "transcribe", "g1")
    paying.clock.advance(80)
    reprice(paying, TWICE)
    commit(paying, lease)
    assert paying.budget(Scope.ITEM, episode_id) == (WHOLE, 0)
    assert (paying.lines()[0].entry.price_source, paying.lines()[0].entry.estimated) == ("reserved", True)


def test_a_price_that_rises_above_a_ceiling_ends_the_lease(paying: Paying) -> None:
    """G2: the renewal does not fit; what it has cost at the new price was never reserved."""
    tight = paying.under(replace(TERMS, limits=replace(Limits(), item=Level((), WHOLE))))
    episode_id = tight.planned()
    lease = tight.claim(episode_id, "transcribe", "g1")
    paying.clock.advance(50)
    reprice(paying, TWICE)
    with pytest.raises(LeaseLost, match="budget"):
        tight.work.renew(lease, LEASE_SECONDS)
    assert tight.budget(Scope.ITEM, episode_id) == (100 * SECOND, 0)


# ------------------------------------------------------------------------------- free, and then not


def test_what_was_free_when_it_was_claimed_is_reserved_when_it_has_a_price(paying: Paying) -> None:
    """G2: no lease goes on that nobody pays for."""
    tight = paying.under(replace(TERMS, limits=replace(Limits(), item=Level((), 4 * WHOLE))))
    first, second = tight.planned(), tight.planned()
    reprice(tight, Price(0, "mine"))
    leases = [tight.claim(each, "transcribe", "g1") for each in (first, second)]
    tight.work.renew(leases[0], LEASE_SECONDS)
    assert tight.open() == []
    paying.clock.advance(30)
    reprice(tight, TWICE)
    tight.work.renew(leases[0], LEASE_SECONDS)
    assert tight.budget(Scope.ITEM, first) == (0, 2 * WHOLE)
    paying.clock.advance(10)
    commit(tight, leases[0])
    assert tight.budget(Scope.ITEM, first) == (20 * SECOND, 0), "from the renewal on"
    reprice(tight, Price(3 * TWICE.micros, "live"))
    with pytest.raises(LeaseLost, match="budget"):
        tight.work.renew(leases[1], LEASE_SECONDS)


@pytest.mark.parametrize("said", [True, False])
def test_a_free_cpu_is_one_whose_row_says_so(paying: Paying, said: bool) -> None:
    """T2: what was approved because it costs nothing is not decoded by a CPU that somebody rents, whatever the book
    says of CPUs; and is by one that costs nothing."""
    dear, free = Price(360 * SECOND, "live"), Price(0, "local")
    book = PriceBook({CPU: free if said else dear, CUDA: TWICE})
    rows = paying.under(Terms(book, least_speed=0.5))
    episode_id = rows.planned(1, FREE_RULE)
    rows.store.workers.mark("g1", "dead")
    rows.device("c1", CPU)
    reprice(rows, dear if said else free, "c1")
    lease = rows.work.claim("transcribe", episode_id, "c1", LEASE_SECONDS)
    assert (lease is None) is said
    assert (rows.reason(episode_id, "transcribe") == "waits for approval") is said
    assert rows.open() == []


def test_what_is_approved_for_a_free_cpu_waits_for_one(paying: Paying) -> None:
    """T2: a rented one does not lose it its approval while one is there that costs nothing."""
    episode_id = paying.planned(1, FREE_RULE)
    for name in ("c1", "c2"):
        paying.device(name, CPU)
    reprice(paying, Price(360 * SECOND, "live"), "c1")
    assert paying.work.claim("transcribe", episode_id, "c1", LEASE_SECONDS) is None
    assert paying.state(episode_id, "transcribe") is not State.HELD
    assert paying.work.claim("transcribe", episode_id, "c2", LEASE_SECONDS) is not None
