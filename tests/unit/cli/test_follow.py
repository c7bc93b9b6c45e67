"""Following: what ended since the last look, what holds things up, and when to give up."""

from collections.abc import Iterator

import pytest

from podinsight.adapters.database import SqlStore
from podinsight.cli.follow import Follower, Times
from podinsight.domain.budget import Scope
from podinsight.domain.control import Control, Mode
from podinsight.domain.episode import FetchedAudio
from podinsight.domain.feed import FeedItem
from podinsight.domain.held import WAITS_FOR_APPROVAL
from podinsight.domain.hosts import HostLimits
from podinsight.domain.work import State
from podinsight.errors import Unavailable
from tests.support.clock import ManualClock
from tests.support.databases import open_migrated
from tests.support.rows import TOOK
from tests.support.spending import SECOND, TERMS, Paying


@pytest.fixture
def store() -> Iterator[SqlStore]:
    opened = open_migrated("sqlite://", ManualClock(), HostLimits({}, 10), 30.0)
    yield opened
    opened.close()


def queue_two(store: SqlStore) -> list[str]:
    episodes = [
        store.catalogue.add_direct(FeedItem(guid=name, title=name, url=f"http://a.example/{name}.mp3")) for name in "ab"
    ]
    ids = [episode.id for episode in episodes]
    store.work.enqueue_fetch(ids, 5, None)
    return ids


def fail(store: SqlStore, episode_id: str) -> None:
    lease = store.work.claim("fetch", episode_id, "w", 60.0)
    assert lease is not None
    store.work.end(lease, State.FAILED, "gone")


def test_each_ending_is_told_once(store: SqlStore) -> None:
    first, second = queue_two(store)
    store.workers.register("w", "here", "fetch", 1, 10)
    todo = [second, first]
    follower = Follower(store, {"fetch": [first, second]}, Times(0.0), lambda _seconds: fail(store, todo.pop()))
    looks = list(follower.looks())
    assert [[ending.episode.id for ending in look.endings] for look in looks] == [[], [first], [second]]
    assert [look.counts["fetch"][State.WAITING] for look in looks] == [2, 1, 0]
    assert [look.counts["fetch"][State.FAILED] for look in looks] == [0, 1, 2]
    assert looks[1].endings[0].reason == "gone"


def test_what_comes_to_wait_for_an_approval_has_ended(store: SqlStore) -> None:
    """What waits for its audio has not, whether it is approved or not."""
    ids = queue_two(store)
    store.work.enqueue_transcribe(ids, 5, {"model": "tiny.en"})
    store.workers.register("w", "here", "fetch", 1, 10)
    received = FetchedAudio(
        "raw/a/t", "raw/a/e.mp3", 9, "ab" * 32, "audio/mpeg", 60.0, "http://a.example/", "a.example"
    )

    def fetch(_seconds: float) -> None:
        lease = store.work.claim("fetch", todo.pop(), "w", 60.0)
        assert lease is not None
        store.work.commit_fetch(lease, received, 1.0)
        for projection in store.work.unprojected(10):
            store.work.projected(projection)

    todo = ids[::-1]
    looks = list(Follower(store, {"transcribe": ids}, Times(0.0), fetch).looks())
    assert [[ending.episode.id for ending in look.endings] for look in looks] == [[], ids[:1], ids[1:]]
    assert {(each.state, each.reason) for look in looks for each in look.endings} == {(State.HELD, WAITS_FOR_APPROVAL)}


def test_what_is_over_its_budget_has_ended(store: SqlStore) -> None:
    """G3: nothing happens any more before somebody raises a ceiling; what is only delayed by it goes on by itself."""
    clock = ManualClock()
    rows = Paying(store, clock).under(TERMS)
    first, second = rows.planned(2, run="r1"), rows.planned(run="r1")
    store.purse.limit(Scope.RUN, "r1", 130 * SECOND)
    lease = rows.claim(first, "transcribe", "g1")
    assert rows.work.claim("transcribe", second, "g1", 90) is None

    def go_on(_seconds: float) -> None:
        assert turns, "it is followed for ever"
        turns.pop(0)()

    def commit() -> None:
        clock.advance(20)
        rows.work.commit_chunk(lease, "part-0", TOOK, 90)

    def refuse() -> None:
        clock.advance(30)
        rows.work.reconcile(60)
        assert [rows.work.claim("transcribe", each, "g1", 90) for each in (first, second)] == [None, None]

    turns = [commit, refuse]
    looks = list(Follower(store, {"transcribe": [first, second]}, Times(0.0), go_on).looks())
    assert [[ending.episode.id for ending in look.endings] for look in looks] == [[], [], [first, second]]
    assert {(each.state, each.reason.split(":")[0]) for each in looks[-1].endings} == {(State.HELD, "budget")}


def test_gives_up_without_workers(store: SqlStore) -> None:
    ids = queue_two(store)
    follower = Follower(store, {"fetch": ids}, Times(0.0, 0.0, 0.05), lambda _seconds: None)
    notices = (look.notice for look in follower.looks())
    assert next(notices) == "no fetch worker is up"
    with pytest.raises(Unavailable, match="no fetch worker"):
        list(notices)


def test_says_who_paused_it(store: SqlStore) -> None:
    ids = queue_two(store)
    store.workers.register("w", "here", "fetch", 1, 10)
    store.control.write(Control(Mode.PAUSED, by="ada", why="maintenance"))
    look = next(Follower(store, {"fetch": ids}, Times(0.0, 0.0)).looks())
    assert (
        look.notice
        == "paused by ada: maintenance; `podrun resume --by NAME --why REASON` goes on, Ctrl-C leaves it queued"
    )
