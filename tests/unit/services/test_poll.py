"""Polling: what one feed breaks, what a server may ask for, and reading a feed again for a fresh URL."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from io import BytesIO

import pytest

from podinsight.adapters.database import SqlStore
from podinsight.adapters.feedparser_feeds import FeedparserParser
from podinsight.domain.budget import Scope
from podinsight.domain.control import Mode, lifted, stopped
from podinsight.domain.days import day_of
from podinsight.domain.episode import Episode
from podinsight.domain.feed import Document, FeedItem
from podinsight.domain.hosts import HostLimits
from podinsight.domain.prices import Price, PriceBook, Service
from podinsight.errors import Busy, GateAway, Permanent, Transient, Unavailable
from podinsight.ports import Bearer, Body
from podinsight.services.poll import POLLERS, PollPorts, poll_due, poll_feed, poll_pass, reread
from tests.support.clock import ManualClock
from tests.support.databases import open_migrated

LONG_HOST = ".".join(["h" * 60] * 5)
FEED = f"""<rss version="2.0"><channel><title>T</title>
<item><guid>1</guid><enclosure url="https://a.test/1.mp3" type="audio/mpeg"/></item>
<item><guid>2</guid><enclosure url="https://{LONG_HOST}/2.mp3" type="audio/mpeg"/></item>
<item><guid>3</guid><enclosure url="https://a.test:x/3.mp3" type="audio/mpeg"/></item>
</channel></rss>""".encode()


Answer = bytes | Exception | Document | Callable[[], bytes]


@dataclass(frozen=True)
class Asked:
    """One request for a document."""

    url: str
    etag: str | None
    user_agent: str | None


class Web:
    """ports.Fetcher: what each URL answers, or raises."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[Asked] = []
        self.received: Callable[[int], None] = lambda _bytes: None

    def metered(self, received: Callable[[int], None]) -> "Web":
        self.received = received
        return self

    def document(
        self, url: str, etag: str | None = None, last_modified: str | None = None, user_agent: str | None = None
    ) -> Document:
        self.asked.append(Asked(url, etag, user_agent))
        answer = self.answers[url]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Document):
            return answer
        data = answer if isinstance(answer, bytes) else answer()
        self.received(len(data))
        return Document(url, BytesIO(data), etag='"1"')

    def transcript(self, url: str, user_agent: str | None = None) -> Document:
        raise AssertionError(url)

    def audio(self, url: str, user_agent: str | None = None) -> AbstractContextManager[Body]:
        raise AssertionError(url)


@pytest.fixture
def store(clock: ManualClock) -> Iterator[SqlStore]:
    opened = open_migrated("sqlite://", clock, HostLimits({}, 10), 30.0)
    yield opened
    opened.close()


def test_one_feed_that_breaks_something_does_not_end_the_pass(store: SqlStore, clock: ManualClock) -> None:
    web = Web()
    broken, _ = store.catalogue.add_feed("https://a.test/broken")
    clock.advance(1)
    good, _ = store.catalogue.add_feed("https://a.test/good")
    web.answers = {broken.url: ZeroDivisionError("ours\nand more"), good.url: FEED}
    added, faults = poll_due(PollPorts(store, web, FeedparserParser(), clock), 3600.0, 60.0, lambda: False)
    assert added == 1, "an item whose URL cannot be read is left out, and not the feed"
    assert faults == [f"{broken.id}: ZeroDivisionError: ours"]
    errors = {feed.id: feed.error for feed in store.catalogue.feeds()}
    assert errors == {broken.id: "ZeroDivisionError: ours", good.id: None}
    assert "poll_feeds" in store.control.ticks()


def test_what_a_feed_brings_in_is_paid_for(store: SqlStore, clock: ManualClock) -> None:
    """G1: by feed; neither what has not changed nor what costs nothing has a line."""
    web, nat = Web(), Price(45_000_000, "test")
    feed, _ = store.catalogue.add_feed("https://a.test/feed")
    web.answers = {feed.url: FEED}
    ports = PollPorts(store, web, FeedparserParser(), clock, PriceBook(services={Service.NAT: nat}))
    poll_feed(ports, feed, 3600.0)
    poll_feed(replace(ports, prices=PriceBook()), feed, 3600.0)
    web.answers = {feed.url: Document(feed.url, None)}
    poll_feed(ports, feed, 3600.0)
    (line,) = store.purse.entries("0000", "9999")
    assert line.bearer == Bearer(day_of(clock.now()), feed_id=feed.id)
    assert (line.entry.stage, line.entry.service, line.entry.quantity) == ("poll", "nat", len(FEED))
    assert store.purse.spent(Scope.DAY, line.bearer.day) == line.entry.micros > 0


def test_a_pass_of_beat_pays_for_all_its_feeds_in_one_line(store: SqlStore, clock: ManualClock) -> None:
    web, nat = Web(), Price(45_000_000, "test")
    feeds = [store.catalogue.add_feed(f"https://a.test/{n}")[0] for n in range(3)]
    web.answers = {feeds[0].url: FEED, feeds[1].url: FEED, feeds[2].url: b"no feed"}
    ports = PollPorts(store, web, FeedparserParser(), clock, PriceBook(services={Service.NAT: nat}))
    assert len(poll_due(ports, 3600.0, 60.0, lambda: False)[1]) == 1
    (line,) = store.purse.entries("0000", "9999")
    assert line.bearer == Bearer(day_of(clock.now()))
    assert line.entry.quantity == 2 * len(FEED) + len(b"no feed"), "also of what could not be read"


@pytest.mark.parametrize("mode", [Mode.PAUSED, Mode.HALTED])
def test_beat_asks_for_nothing_while_everything_is_stopped(store: SqlStore, clock: ManualClock, mode: Mode) -> None:
    web = Web()
    feed, _ = store.catalogue.add_feed("https://a.test/feed")
    web.answers = {feed.url: FEED}
    ports = PollPorts(store, web, FeedparserParser(), clock)
    store.control.revise(lambda history: stopped(history, mode, "ada", "the disk is changed"))
    added, (why,) = poll_due(ports, 3600.0, 60.0, lambda: False)
    assert added == 0
    assert "ada" in why
    assert store.catalogue.first_episodes(1) == []
    store.control.revise(lambda history: (lifted(history),))
    assert poll_due(ports, 3600.0, 60.0, lambda: False) == (1, [])


def test_a_stop_ends_a_pass_that_has_begun(store: SqlStore, clock: ManualClock) -> None:
    web = Web()
    feeds = [store.catalogue.add_feed(f"https://a.test/{n}")[0] for n in range(3 * POLLERS)]
    first = threading.Event()

    def halt() -> bytes:
        if not first.is_set():
            first.set()
            store.control.revise(lambda history: stopped(history, Mode.HALTED, "ada", "enough"))
        return FEED

    web.answers = dict.fromkeys([feed.url for feed in feeds], halt)
    poll_due(PollPorts(store, web, FeedparserParser(), clock), 3600.0, 60.0, lambda: False)
    asked = [feed for feed in store.catalogue.feeds() if feed.last_polled_at is not None]
    assert 0 < len(asked) <= 2 * POLLERS


def test_a_database_that_is_away_ends_the_pass(store: SqlStore, clock: ManualClock) -> None:
    web = Web()
    feed, _ = store.catalogue.add_feed("https://a.test/feed")
    web.answers = {feed.url: Unavailable("away")}
    with pytest.raises(Unavailable):
        poll_due(PollPorts(store, web, FeedparserParser(), clock), 3600.0, 60.0, lambda: False)


@pytest.mark.parametrize(("asked", "wait"), [(None, 3600.0), (0.0, 3600.0), (7200.0, 7200.0), (2e9, 86_400.0)])
def test_a_server_is_obeyed_for_a_day_at_most(
    store: SqlStore, clock: ManualClock, asked: float | None, wait: float
) -> None:
    web = Web()
    feed, _ = store.catalogue.add_feed("https://a.test/feed")
    web.answers = {feed.url: Transient("503", retry_after=asked)}
    with pytest.raises(Transient):
        poll_feed(PollPorts(store, web, FeedparserParser(), clock), feed, 3600.0)
    (after,) = store.catalogue.feeds()
    assert after.next_poll_at == clock.now() + wait


def test_a_busy_gate_is_no_error_of_the_feed(store: SqlStore, clock: ManualClock) -> None:
    web = Web()
    feed, _ = store.catalogue.add_feed("https://a.test/feed")
    web.answers = {feed.url: Busy("a.test is busy", 40.0)}
    ports = PollPorts(store, web, FeedparserParser(), clock)
    assert poll_due(ports, 3600.0, 60.0, lambda: False) == (0, [])
    (after,) = store.catalogue.feeds()
    assert (after.error, after.last_polled_at, after.next_poll_at) == (None, None, clock.now() + 40)
    web.answers[feed.url] = FEED
    clock.advance(41)
    assert poll_due(ports, 3600.0, 60.0, lambda: False) == (1, [])


def test_what_was_postponed_is_told(store: SqlStore, clock: ManualClock) -> None:
    web = Web()
    feed, _ = store.catalogue.add_feed("https://a.test/feed")
    web.answers = {feed.url: Busy("a.test is busy", 40.0)}
    polled = poll_pass(PollPorts(store, web, FeedparserParser(), clock), 3600.0)
    assert (polled.added, polled.faults, polled.postponed, polled.away) == (0, {}, {feed.id: "a.test is busy"}, None)


def test_what_was_postponed_and_read_in_the_same_pass_is_not_told(store: SqlStore, clock: ManualClock) -> None:
    web = Web()
    feed, _ = store.catalogue.add_feed("https://a.test/feed")
    turns = iter([Busy("a.test is busy", -1.0), None])

    def answer() -> bytes:
        if error := next(turns):
            raise error
        return FEED

    web.answers = {feed.url: answer}
    polled = poll_pass(PollPorts(store, web, FeedparserParser(), clock), 3600.0)
    assert (polled.added, polled.postponed) == (1, {})


def test_a_gate_that_is_away_ends_the_pass_and_no_feed_has_an_error(store: SqlStore, clock: ManualClock) -> None:
    web = Web()
    feeds = [store.catalogue.add_feed(f"https://h{n}.test/feed")[0] for n in range(5 * POLLERS)]
    web.answers = {feed.url: GateAway("the host gate does not answer", 3.0) for feed in feeds}
    ports = PollPorts(store, web, FeedparserParser(), clock)
    assert poll_due(ports, 3600.0, 60.0, lambda: False) == (0, ["the host gate does not answer"])
    assert len(web.asked) <= 2 * POLLERS
    assert "poll_feeds" not in store.control.ticks()
    assert {feed.error for feed in store.catalogue.feeds()} == {None}
    with pytest.raises(Unavailable, match="does not answer"):
        poll_feed(ports, feeds[0], 3600.0)
    assert store.catalogue.feed(feeds[0].id).next_poll_at == clock.now() + 3.0  # type: ignore[union-attr]


def test_an_interrupted_pass_ends_after_the_feeds_that_it_is_at(store: SqlStore, clock: ManualClock) -> None:
    """Ctrl-C while `podrun feeds import --poll` reads."""
    web, begun, go_on = Web(), threading.Semaphore(0), threading.Event()

    def answer() -> bytes:
        begun.release()
        go_on.wait(30)
        return FEED

    for n in range(5 * POLLERS):
        feed, _ = store.catalogue.add_feed(f"https://h{n}.test/feed")
        web.answers[feed.url] = answer

    def interrupt() -> None:
        for _ in range(POLLERS):
            assert begun.acquire(timeout=30)
        os.kill(os.getpid(), signal.SIGINT)
        # The main thread gets the signal when it runs again; nothing tells that it has, so it is given plenty.
        threading.Timer(2.0, go_on.set).start()

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        poll_pass(PollPorts(store, web, FeedparserParser(), clock), 3600.0)
    assert len(web.asked) == POLLERS


def test_a_feed_has_a_user_agent_of_its_own(store: SqlStore, clock: ManualClock) -> None:
    """F7."""
    web = Web()
    feed, _ = store.catalogue.add_feed("https://a.test/feed")
    store.catalogue.set_user_agent(feed.id, "Ours/1")
    web.answers = {feed.url: FEED}
    poll_due(PollPorts(store, web, FeedparserParser(), clock), 3600.0, 60.0, lambda: False)
    assert web.asked == [Asked(feed.url, None, "Ours/1")]


def test_a_slow_feed_does_not_delay_the_others(store: SqlStore, clock: ManualClock) -> None:
    web = Web()
    feeds = [store.catalogue.add_feed(f"https://h{n}.test/feed")[0] for n in range(3 * POLLERS)]
    others = threading.Semaphore(0)

    def quick() -> bytes:
        others.release()
        return FEED

    def slow() -> bytes:
        for _ in feeds[1:]:
            assert others.acquire(timeout=30), "the others wait for the slow one"
        return FEED

    web.answers.update({feed.url: quick for feed in feeds} | {feeds[0].url: slow})
    added, faults = poll_due(PollPorts(store, web, FeedparserParser(), clock), 3600.0, 60.0, lambda: False)
    assert (added, faults) == (len(feeds), [])
    assert len(web.asked) == len(feeds), "each feed is taken by one poller"


def test_polling_ends_when_the_process_stops(store: SqlStore, clock: ManualClock) -> None:
    web = Web()
    store.catalogue.add_feed("https://a.test/feed")
    assert poll_due(PollPorts(store, web, FeedparserParser(), clock), 3600.0, 60.0, lambda: True) == (0, [])
    assert web.asked == []


def test_the_body_is_closed(store: SqlStore, clock: ManualClock) -> None:
    web = Web()
    feed, _ = store.catalogue.add_feed("https://a.test/feed")
    bodies = [BytesIO(FEED), BytesIO(b"no feed")]
    ports = PollPorts(store, web, FeedparserParser(), clock)
    web.answers = {feed.url: Document(feed.url, bodies[0])}
    poll_feed(ports, feed, 60.0)
    web.answers = {feed.url: Document(feed.url, bodies[1])}
    with pytest.raises(Permanent, match="plain text"):
        poll_feed(ports, feed, 60.0)
    assert [body.closed for body in bodies] == [True, True]


# ------------------------------------------------------------------------------------------------- reading again


@pytest.fixture
def web() -> Web:
    return Web()


@pytest.fixture
def ports(store: SqlStore, web: Web, clock: ManualClock) -> PollPorts:
    return PollPorts(store, web, FeedparserParser(), clock)


def with_url(url: str) -> bytes:
    return FEED.replace(b"https://a.test/1.mp3", url.encode())


@pytest.fixture
def episode(ports: PollPorts, web: Web, clock: ManualClock) -> Episode:
    """An episode whose feed was polled an hour ago."""
    feed, _ = ports.store.catalogue.add_feed("https://a.test/feed")
    web.answers = {feed.url: with_url("https://a.test/1.mp3?token=old")}
    poll_feed(ports, feed, 7200.0)
    clock.advance(3600)
    web.asked.clear()
    (found,) = ports.store.catalogue.first_episodes(None)
    return found


def test_a_fresh_url_is_read_from_the_feed(ports: PollPorts, web: Web, episode: Episode) -> None:
    """F10: an expired signed URL is re-read from the feed, unconditionally and once for all who ask."""
    due = ports.store.catalogue.feeds()[0].next_poll_at
    web.answers["https://a.test/feed"] = with_url("https://a.test/1.mp3?token=new")
    for _ in range(3):
        fresh = reread(ports, episode)
        assert fresh is not None
        assert (fresh.id, fresh.url) == (episode.id, "https://a.test/1.mp3?token=new")
    assert web.asked == [Asked("https://a.test/feed", None, None)]
    assert ports.store.catalogue.feeds()[0].next_poll_at == due


def test_a_feed_that_knows_no_other_url(ports: PollPorts, web: Web, episode: Episode) -> None:
    assert reread(ports, episode) is None
    assert len(web.asked) == 1


def test_hundreds_who_ask_at_once_read_the_feed_once(ports: PollPorts, web: Web, episode: Episode) -> None:
    arrived = threading.Barrier(9)
    found: list[Episode | None] = []
    web.answers["https://a.test/feed"] = with_url("https://a.test/1.mp3?token=new")

    def ask() -> None:
        arrived.wait(10)
        found.append(reread(ports, episode))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    arrived.wait(10)
    for thread in threads:
        thread.join(30)
    assert [each.url for each in found if each] == ["https://a.test/1.mp3?token=new"] * 8
    assert len(web.asked) == 1


@pytest.mark.parametrize("error", [Transient("503"), Permanent("404"), ValueError("ours")])
def test_a_feed_that_cannot_be_read_again(
    ports: PollPorts, web: Web, episode: Episode, error: Exception, clock: ManualClock
) -> None:
    web.answers["https://a.test/feed"] = error
    assert [reread(ports, episode), reread(ports, episode)] == [None, None]
    assert len(web.asked) == 1, "a feed that fails is not hammered either"
    assert ports.store.catalogue.feeds()[0].error
    clock.advance(61)
    assert reread(ports, episode) is None
    assert len(web.asked) == 2


@pytest.mark.parametrize("error", [Busy("later", 5.0), Unavailable("away")])
def test_who_may_not_ask_is_told_so(ports: PollPorts, web: Web, episode: Episode, error: Exception) -> None:
    web.answers["https://a.test/feed"] = error
    with pytest.raises(type(error)):
        reread(ports, episode)
    assert ports.store.catalogue.feeds()[0].error is None


def test_a_single_episode_has_no_feed_to_read(ports: PollPorts, web: Web) -> None:
    direct = ports.store.catalogue.add_direct(FeedItem("1", "One", "https://a.test/1.mp3"))
    assert reread(ports, direct) is None
    assert web.asked == []
