"""Fetching one episode: what becomes of its pieces, of audio that is not there, and of the attempt's objects."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from io import BytesIO
from typing import Any, BinaryIO

import pytest

from podinsight.adapters.database import SqlStore
from podinsight.adapters.obstore_objects import S3Options, open_objects
from podinsight.domain.episode import Episode, PublisherTranscript
from podinsight.domain.feed import Document, FeedItem, ParsedFeed
from podinsight.domain.hosts import HostLimits
from podinsight.domain.work import State
from podinsight.errors import Busy, NotThere, Permanent, Transient
from podinsight.ports import Body, Fetcher, ObjectStore, Piece, Probe
from podinsight.services.fetch import FetchPorts, fetch_episode, find_or_add
from podinsight.services.lease import LeaseTimes
from tests.support.clock import ManualClock
from tests.support.databases import open_migrated

TIMES = LeaseTimes(lease=90.0, renew=20.0, progress=600.0)
OLD, NEW = "https://cdn.test/1.mp3?token=old", "https://cdn.test/1.mp3?token=new"


class Web:
    """ports.Fetcher: the pieces of each URL, or what it raises; and who asked."""

    def __init__(self, answers: dict[str, list[Piece] | Exception]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str | None]] = []
        self.received: Callable[[int], None] = lambda _bytes: None

    def metered(self, received: Callable[[int], None]) -> "Web":
        self.received = received
        return self

    def document(self, url: str, *_: Any, **__: Any) -> Document:
        raise AssertionError(url)

    def transcript(self, url: str, user_agent: str | None = None) -> Document:
        raise AssertionError(url)

    @contextmanager
    def audio(self, url: str, user_agent: str | None = None) -> Iterator[Body]:
        self.asked.append((url, user_agent))
        answer = self.answers[url]
        if isinstance(answer, Exception):
            raise answer
        try:
            yield Body(url, 200, None, "audio/mpeg", iter(answer))
        finally:
            self.received(sum(len(piece.data) for piece in answer))


class AnyAudio:
    """ports.MediaProbe: everything is an MP3."""

    def probe(self, stream: BinaryIO) -> Probe:
        return Probe("mp3", "audio/mpeg", 60.0)


@pytest.fixture
def store(clock: ManualClock) -> Iterator[SqlStore]:
    opened = open_migrated("sqlite://", clock, HostLimits({}, 10), 30.0)
    opened.workers.register("w", "here", "fetch", 1, 1)
    yield opened
    opened.close()


@pytest.fixture
def objects() -> ObjectStore:
    return open_objects(dict.fromkeys(("raw", "stage"), "memory:///"), S3Options())


@pytest.fixture
def episode(store: SqlStore) -> Episode:
    feed, _ = store.catalogue.add_feed("https://feeds.test/f")
    store.catalogue.set_user_agent(feed.id, "Special/1")
    items = (FeedItem("g", "t", OLD),)
    store.catalogue.record_poll(feed.id, Document(feed.url, BytesIO(b"x")), ParsedFeed("F", items=items), 0.0)
    return store.catalogue.first_episodes(1)[0]


def run(ports: FetchPorts, episode_or_url: str) -> str:
    return fetch_episode(ports, episode_or_url, "w", TIMES, lambda: False)


def names(objects: ObjectStore) -> list[str]:
    return [info.key for info in objects.list("raw")]


def state_of(store: SqlStore, episode: Episode) -> tuple[State, str]:
    return store.work.states("fetch", [episode.id])[episode.id]


def test_a_body_that_starts_over_leaves_nothing_of_what_came_before(
    store: SqlStore, objects: ObjectStore, episode: Episode
) -> None:
    pieces = [Piece(0, b"old "), Piece(4, b"words"), Piece(0, b"new"), Piece(3, b" words"), Piece(0, b"last")]
    web = Web({OLD: pieces})
    run(FetchPorts(store, objects, web, AnyAudio()), episode.id)
    after = store.catalogue.episode(episode.id)
    assert after is not None
    assert after.audio_key is not None
    assert objects.get(after.audio_key) == b"last"
    assert (after.audio_bytes, after.audio_sha256) == (4, hashlib.sha256(b"last").hexdigest())
    assert web.asked == [(OLD, "Special/1")]


@pytest.mark.parametrize(
    ("pieces", "received"),
    [
        ([Piece(0, b"audio")], 5),
        ([Piece(0, b"old "), Piece(4, b"words"), Piece(0, b"new")], 12),
        ([Piece(0, b"old "), Piece(5, b"words")], 9),
    ],
    ids=["whole", "started over", "broken off"],
)
def test_what_came_in_is_paid_for_whatever_became_of_it(
    store: SqlStore, objects: ObjectStore, episode: Episode, pieces: list[Piece], received: int
) -> None:
    """G1: also what was thrown away."""
    with suppress(ValueError):
        run(FetchPorts(store, objects, Web({OLD: pieces}), AnyAudio()), episode.id)
    lines = store.purse.entries("0000", "9999", episode_id=episode.id)
    assert [line.entry.quantity for line in lines if line.entry.service == "nat"] == [received]


def test_a_gap_in_a_body_is_a_fault_and_no_audio(store: SqlStore, objects: ObjectStore, episode: Episode) -> None:
    web = Web({OLD: [Piece(0, b"old "), Piece(5, b"words")]})
    with pytest.raises(ValueError, match="byte 5 after 4 bytes"):
        run(FetchPorts(store, objects, web, AnyAudio()), episode.id)
    assert names(objects) == []
    assert state_of(store, episode)[0] is State.DELAYED


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_audio_that_is_not_there_is_asked_of_the_feed_once(
    store: SqlStore, objects: ObjectStore, episode: Episode, status: int
) -> None:
    """F10: an expired signed URL is re-read from the feed."""
    reread: list[str] = []

    def fresh(of: Episode) -> Episode:
        reread.append(of.url)
        return replace(of, url=NEW)

    web = Web({OLD: NotThere("gone", status), NEW: [Piece(0, b"audio")]})
    run(FetchPorts(store, objects, web, AnyAudio(), fresh), episode.id)
    assert [url for url, _ in web.asked] == [OLD, NEW]
    assert reread == [OLD]
    assert state_of(store, episode)[0] is State.DONE


def _nothing_new(_: Episode) -> Episode | None:
    return None


def _the_same(episode: Episode) -> Episode | None:
    return episode


def _no_feed(_: Episode) -> Episode | None:
    raise Permanent("no such feed")


@pytest.mark.parametrize("reread", [_nothing_new, _the_same, _no_feed, None])
def test_a_feed_that_knows_no_better_leaves_it_at_that(
    store: SqlStore, objects: ObjectStore, episode: Episode, reread: Callable[[Episode], Episode | None] | None
) -> None:
    web = Web({OLD: NotThere("404 from cdn.test", 404)})
    with pytest.raises(NotThere):
        run(FetchPorts(store, objects, web, AnyAudio(), reread), episode.id)
    assert state_of(store, episode) == (State.FAILED, "404 from cdn.test")
    assert len(web.asked) == 1


def test_a_fresh_url_that_is_not_there_either_is_not_asked_for_again(
    store: SqlStore, objects: ObjectStore, episode: Episode
) -> None:
    web = Web({OLD: NotThere("gone", 403), NEW: NotThere("gone too", 403)})
    with pytest.raises(NotThere, match="gone too"):
        run(FetchPorts(store, objects, web, AnyAudio(), lambda of: replace(of, url=NEW)), episode.id)
    assert len(web.asked) == 2


def test_a_feed_that_cannot_be_read_now_may_yet_know_the_url(
    store: SqlStore, objects: ObjectStore, episode: Episode
) -> None:
    def away(_: Episode) -> Episode:
        raise Transient("503 from feeds.test")

    with pytest.raises(Transient):
        run(FetchPorts(store, objects, Web({OLD: NotThere("gone", 403)}), AnyAudio(), away), episode.id)
    assert state_of(store, episode) == (State.DELAYED, "503 from feeds.test")


def test_a_bare_url_has_no_feed_to_ask(store: SqlStore, objects: ObjectStore) -> None:
    with pytest.raises(NotThere):
        run(FetchPorts(store, objects, Web({OLD: NotThere("gone", 404)}), AnyAudio(), _no_feed), OLD)


def test_nothing_of_a_query_becomes_the_title_of_a_bare_url(store: SqlStore) -> None:
    assert find_or_add(store, "https://cdn.test/a/One%20two.mp3?Signature=AAAA/topsecret=").title == "One two.mp3"
    assert find_or_add(store, "https://cdn.test/?Signature=AAAA/topsecret=").title == "cdn.test"
    assert find_or_add(store, "https://cdn.test/a/hdnts=exp=1~hmac=topsecret").title == "cdn.test"


def test_a_busy_host_delays_the_row_without_an_attempt(store: SqlStore, objects: ObjectStore, episode: Episode) -> None:
    with pytest.raises(Busy):
        run(FetchPorts(store, objects, Web({OLD: Busy("cdn.test is busy", 30.0)}), AnyAudio()), episode.id)
    assert state_of(store, episode) == (State.DELAYED, "cdn.test is busy")
    (view,) = store.work.views(State.DELAYED, 10)
    assert view.attempts == 0


def test_publisher_transcripts_come_with_the_audio_and_go_when_it_is_not_committed(
    store: SqlStore, objects: ObjectStore, episode: Episode, clock: ManualClock
) -> None:
    """F12: fetched beside the audio under names of the attempt's own."""
    asked: list[tuple[float, str]] = []

    def collect(
        _fetcher: Fetcher, of: Episode, seconds: float, prefix: str, beat: Callable[[], None]
    ) -> tuple[tuple[PublisherTranscript, ...], tuple[tuple[str, str], ...]]:
        asked.append((seconds, prefix))
        beat()
        key = f"{prefix}0.vtt"
        objects.put(key, b"WEBVTT")
        fixed = of.publisher_name(0, "vtt")
        return (PublisherTranscript(fixed, "https://feeds.test/0.vtt", "text/vtt", "en", True),), ((key, fixed),)

    class Loses:
        """The rows, when the lease is lost just before the commit."""

        def __getattr__(self, name: str) -> Any:
            return getattr(store.work, name)

        def commit_fetch(self, *_: Any) -> None:
            raise Transient("it did not commit")

    class Store:
        work = Loses()

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

    ports = FetchPorts(store, objects, Web({OLD: [Piece(0, b"audio")]}), AnyAudio(), publisher=collect)
    with pytest.raises(Transient):
        run(replace(ports, store=Store()), episode.id)
    assert names(objects) == []
    assert asked[0][0] == 60.0
    assert asked[0][1].startswith(f"{episode.attempts('fetch')}/")

    clock.advance(60.0)
    store.work.reconcile(60.0)
    run(ports, episode.id)
    assert episode.publisher_name(0, "vtt") in names(objects)
    assert not [name for name in names(objects) if "/attempts/" in name]
