"""A lease costs no more than was reserved for it, whatever comes between its claim and its end (G2)."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

import pytest
from sqlalchemy import delete

from podinsight.adapters.database import SqlStore, SqlWork
from podinsight.adapters.database.fleet_tables import workers
from podinsight.domain.budget import Level, Limits, Scope
from podinsight.domain.episode import PublisherTranscript
from podinsight.domain.prices import CUDA, Price, PriceBook, Terms
from podinsight.domain.quote import FREE_RULE
from podinsight.domain.work import Lease, State
from podinsight.errors import LeaseLost
from tests.conftest import LIMITS, STALE_SECONDS
from tests.support.clock import ManualClock
from tests.support.rows import LEASE_SECONDS, TOOK, audio
from tests.support.spending import SECOND, TERMS, Paying, recount_money

WHOLE = 120 * SECOND  # a minute of audio at half of real time
SMALL = "g4.small"


@pytest.fixture
def paying(store: SqlStore, clock: ManualClock) -> Iterator[Paying]:
    yield Paying(SqlStore(store.db, clock, LIMITS, STALE_SECONDS, TERMS), clock)
    recount_money(store)


def priced(small: int, cuda: int) -> Terms:
    """Micro-dollars of a second."""
    return replace(TERMS, prices=PriceBook({SMALL: Price(3600 * small, "test"), CUDA: Price(3600 * cuda, "test")}))


def commit(paying: Paying, lease: Lease) -> None:
    paying.work.commit_chunk(lease, "part-0", TOOK, LEASE_SECONDS)


LATE: dict[str, Callable[[Paying, Lease], object]] = {
    "committed": commit,
    "handed back": lambda paying, lease: paying.work.hand_back(lease),
    "failed": lambda paying, lease: paying.work.end(lease, State.FAILED, "odd"),
}


@pytest.mark.parametrize("end", LATE)
def test_what_ends_after_its_lease_is_paid_to_the_end_of_that(paying: Paying, end: str) -> None:
    """A worker that was frozen, while nobody took its lease back. What came after was not reserved: it is idle time."""
    episode_id = paying.planned()
    lease = paying.claim(episode_id, "transcribe", "g1")
    paying.clock.advance(5000)
    LATE[end](paying, lease)
    assert paying.budget(Scope.ITEM, episode_id) == (90 * SECOND, 0)
    paying.store.workers.heartbeat("g1")
    (meter,) = paying.store.workers.meters("gpu")
    assert (meter.busy_ms, meter.due_ms) == (90_000, 4_910_000)


def test_a_renewal_that_comes_late_and_does_not_fit_is_paid_to_the_end_of_the_lease(paying: Paying) -> None:
    tight = paying.under(replace(TERMS, limits=replace(Limits(), item=Level((), WHOLE))))
    episode_id = tight.planned()
    lease = tight.claim(episode_id, "transcribe", "g1")
    paying.clock.advance(5000)
    with pytest.raises(LeaseLost, match="budget"):
        tight.work.renew(lease, LEASE_SECONDS)
    assert tight.budget(Scope.ITEM, episode_id) == (90 * SECOND, 0)


@pytest.mark.parametrize("end", LATE)
def test_a_price_that_rises_under_a_lease_breaks_no_ceiling(paying: Paying, end: str) -> None:
    """Whoever ends it has other settings than who reserved for it."""
    terms = replace(priced(333, 333), limits=replace(Limits(), item=Level((), 120 * 333)))
    dearer = paying.under(replace(terms, prices=priced(1000, 1000).prices))
    episode_id = paying.planned()
    lease = paying.under(terms).claim(episode_id, "transcribe", "g1")
    paying.clock.advance(77.777)
    LATE[end](dearer, lease)
    spent, reserved = paying.budget(Scope.ITEM, episode_id)
    assert (reserved, 77 * 333 < spent <= 120 * 333) == (0, True)
    (line,) = paying.lines()
    assert (line.entry.quantity, line.entry.price_source, line.entry.estimated) == (77_777, "reserved", True)


def test_a_worker_that_is_forgotten_under_a_lease_breaks_no_ceiling(paying: Paying) -> None:
    """Nobody knows its device any more, and the dearest is more than was reserved."""
    mixed = paying.under(priced(100, 10_000))
    episode_id = mixed.planned()
    mixed.claim(episode_id, "transcribe", mixed.device("s1", SMALL))
    with paying.store.db.write() as conn:
        conn.execute(delete(workers).where(workers.c.id == "s1"))
    paying.clock.advance(1000)
    mixed.work.reconcile(60)
    assert mixed.budget(Scope.ITEM, episode_id) == (120 * 100, 0)


def test_a_worker_that_registers_twice_pays_for_its_new_life_alone(paying: Paying) -> None:
    """G1: the lease of the one before it does not hide its idle time."""
    paying.claim(paying.planned(), "transcribe", "g1")
    paying.clock.advance(80)
    paying.device("g1")
    paying.clock.advance(20)
    paying.work.reconcile(60)
    assert paying.lines()[0].entry.quantity == 90_000
    (meter,) = paying.store.workers.meters("gpu")
    assert (meter.busy_ms, meter.due_ms) == (10_000, 10_000)


class Eager(SqlWork):
    """Workers ask for what was released before all of it was."""

    passes = 0

    def _release_some(self, after: int, but: Collection[str]) -> dict[int, str]:
        released = super()._release_some(after, but)
        self.passes += 1
        assert self.passes < 5, "released what was refused meanwhile, again and again"
        for episode_id in sorted(released.values()):
            assert self.claim("transcribe", episode_id, "g1", LEASE_SECONDS) is None
        return released


def test_what_is_refused_once_more_is_released_once(paying: Paying) -> None:
    """`podrun retry --over-budget` comes to its end under workers that are quick."""
    terms = replace(TERMS, limits=replace(Limits(), item=Level((), WHOLE - 1)))
    tight = paying.under(terms)
    ids = [tight.planned() for _ in range(3)]
    for episode_id in ids:
        assert tight.work.claim("transcribe", episode_id, "g1", LEASE_SECONDS) is None
    eager = Eager(paying.store.db, paying.clock, LIMITS, terms)
    assert eager.release_over_budget() == 3
    assert [tight.state(each, "transcribe") for each in ids] == [State.HELD] * 3


def test_what_its_publisher_wrote_is_nobodys_decoding(paying: Paying) -> None:
    """F12: approved for a CPU alone (T2), of which none is up; and yet no device is asked for, no approval lost."""
    (episode_id,) = paying.fetches(1, transcribe=True, approved=FREE_RULE)
    taken = PublisherTranscript("raw/a/0.vtt", "https://h.test/t.vtt", "text/vtt", None, accepted=True)
    lease = paying.claim(episode_id, worker=paying.worker())
    paying.work.commit_fetch(lease, replace(audio(), publisher=(taken,)), 1.0)
    paying.project("fetch", episode_id)
    lease = paying.claim(episode_id, "transcribe", lease.worker)
    assert lease.params["approved"] == FREE_RULE
    paying.work.decode_instead(lease)
    paying.plan(episode_id)
    paying.device("g1")
    assert paying.work.claim("transcribe", episode_id, "g1", LEASE_SECONDS) is None
    assert paying.reason(episode_id, "transcribe") == "waits for approval"
