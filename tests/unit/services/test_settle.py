"""What becomes of a unit whose work raised, and of a lease whose work stops getting on."""

import threading
from collections.abc import Iterator
from io import BytesIO
from typing import cast

import pytest

from podinsight.adapters.database import SqlStore
from podinsight.adapters.obstore_streams import translated
from podinsight.domain.feed import Document, FeedItem, ParsedFeed
from podinsight.domain.hosts import HostLimits
from podinsight.domain.work import Lease, State
from podinsight.errors import Abandoned, Busy, LeaseLost, Permanent, Refused, Transient, Unavailable
from podinsight.ports import WorkRows
from podinsight.services.lease import Heart, LeaseTimes, kept
from podinsight.services.settle import settle
from tests.support.clock import ManualClock
from tests.support.databases import open_migrated


@pytest.fixture
def memory(clock: ManualClock) -> Iterator[SqlStore]:
    store = open_migrated("sqlite://", clock, HostLimits({}, 10), 30.0)
    yield store
    store.close()


@pytest.fixture
def lease(memory: SqlStore) -> Lease:
    feed, _ = memory.catalogue.add_feed("http://example.com/feed")
    item = FeedItem("g", "t", "http://example.com/a.mp3")
    memory.catalogue.record_poll(feed.id, Document(feed.url, BytesIO(b"")), ParsedFeed("F", items=(item,)), 0.0)
    (episode,) = memory.catalogue.first_episodes(None)
    memory.work.enqueue_fetch([episode.id], 5, None)
    memory.workers.register("w", "here", "fetch", 1, 1)
    claimed = memory.work.claim("fetch", episode.id, "w", 90.0)
    assert claimed is not None
    return claimed


def beat_for_five_seconds(heart: Heart) -> None:
    for _ in range(500):
        heart.beat()
        threading.Event().wait(0.01)


def state_of(store: SqlStore, lease: Lease) -> tuple[State, str]:
    return store.work.states(lease.stage, [lease.episode_id])[lease.episode_id]


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (Permanent("gone"), State.FAILED, "gone"),
        (Refused("private address"), State.REFUSED, "private address"),
        (Abandoned("stop"), State.WAITING, ""),
        (Transient("again"), State.DELAYED, "again"),
        (Busy("a.test is cooling", 60.0), State.DELAYED, "a.test is cooling"),
        (ZeroDivisionError("ours"), State.DELAYED, "ZeroDivisionError: ours"),
    ],
)
def test_each_error_has_its_transition(
    memory: SqlStore, lease: Lease, error: Exception, state: State, reason: str
) -> None:
    assert settle(memory.work, lease, error, lambda: 0.5) is state
    assert state_of(memory, lease) == (state, reason)


def test_of_an_unexpected_error_the_row_says_the_first_line_and_no_secret(memory: SqlStore, lease: Lease) -> None:
    error = RuntimeError(
        "no answer from https://u:s3cret@h.test/?token=s3cret\n[SQL: UPDATE …]\n[parameters: ('https://h/?key=s3cret',)]"
    )
    assert settle(memory.work, lease, error) is State.DELAYED
    assert state_of(memory, lease) == (State.DELAYED, "RuntimeError: no answer from https://h.test/?token=***")


def test_a_third_failure_is_the_last_and_retry_after_is_obeyed(
    memory: SqlStore, lease: Lease, clock: ManualClock
) -> None:
    for wait in (40.0, 2.0):
        settle(memory.work, lease, Transient("503", retry_after=wait), lambda: 0.0)
        clock.advance(wait - 0.5)
        assert memory.work.reconcile(60.0).due == 0
        clock.advance(30.5)
        assert memory.work.reconcile(60.0).due == 1
        again = memory.work.claim("fetch", lease.episode_id, "w", 90.0)
        assert again is not None
        lease = again
    assert settle(memory.work, lease, Transient("503"), lambda: 0.0) is State.FAILED
    assert state_of(memory, lease) == (State.FAILED, "503 (attempt 3 of 3)")


def test_a_busy_host_is_asked_again_when_the_gate_says_and_costs_no_attempt(
    memory: SqlStore, lease: Lease, clock: ManualClock
) -> None:
    for _ in range(5):
        assert settle(memory.work, lease, Busy("busy", 40.0), lambda: 0.0) is State.DELAYED
        clock.advance(39.5)
        assert memory.work.reconcile(60.0).due == 0
        clock.advance(1.0)
        assert memory.work.reconcile(60.0).due == 1
        again = memory.work.claim("fetch", lease.episode_id, "w", 90.0)
        assert again is not None
        lease = again
        assert lease.attempts == 0


def test_an_outage_of_the_object_store_costs_no_attempt(memory: SqlStore, lease: Lease, clock: ManualClock) -> None:
    for _ in range(5):
        with pytest.raises(Transient) as caught, translated("raw/a"):
            raise OSError("connection refused")
        assert settle(memory.work, lease, caught.value, lambda: 0.0) is State.DELAYED
        clock.advance(14.5)
        assert memory.work.reconcile(60.0).due == 0
        clock.advance(1.0)
        assert memory.work.reconcile(60.0).due == 1
        again = memory.work.claim("fetch", lease.episode_id, "w", 90.0)
        assert again is not None
        lease = again
        assert (lease.attempts, lease.losses) == (0, 0)


def test_a_lost_lease_writes_nothing(memory: SqlStore, lease: Lease, clock: ManualClock) -> None:
    clock.advance(91.0)
    memory.work.reconcile(60.0)
    assert settle(memory.work, lease, Permanent("late")) is State.RUNNING
    assert state_of(memory, lease) == (State.WAITING, "")


def test_the_work_learns_at_its_next_beat_that_its_lease_is_gone(
    memory: SqlStore, lease: Lease, clock: ManualClock
) -> None:
    clock.advance(91.0)
    memory.work.reconcile(60.0)
    with kept(memory.work, lease, LeaseTimes(90.0, 0.01, 60.0), lambda: False) as heart, pytest.raises(LeaseLost):
        beat_for_five_seconds(heart)


def test_a_stopping_process_abandons_at_its_next_beat(memory: SqlStore, lease: Lease) -> None:
    with kept(memory.work, lease, LeaseTimes(90.0, 20.0, 60.0), lambda: True) as heart, pytest.raises(Abandoned):
        heart.beat()


def test_a_hung_call_is_reported_and_its_lease_no_longer_renewed(memory: SqlStore, lease: Lease) -> None:
    hung = threading.Event()
    with kept(memory.work, lease, LeaseTimes(90.0, 0.01, 0.05), lambda: False, hung.set) as heart:
        assert hung.wait(5)
        with pytest.raises(LeaseLost, match="no progress"):
            heart.beat()


@pytest.mark.parametrize("error", [Unavailable("away"), ZeroDivisionError("ours")])
def test_a_database_that_is_away_for_longer_than_the_lease_ends_the_work(
    lease: Lease, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    class Away:
        def renew(self, lease: Lease, seconds: float) -> None:
            raise error

    away = cast(WorkRows, Away())
    times = LeaseTimes(0.05, 0.01, 60.0)
    with kept(away, lease, times, lambda: False) as heart, pytest.raises(LeaseLost, match=r"longer|in time"):
        beat_for_five_seconds(heart)
    assert len(caplog.records) == int(not isinstance(error, Unavailable)), "what is odd is logged once"
