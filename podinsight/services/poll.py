"""Polling feeds: conditional GET, parse what changed, make new episodes known."""

import math
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Final

from podinsight.domain.days import day_of
from podinsight.domain.episode import DIRECT_SLUG, Episode
from podinsight.domain.feed import Document, Feed, ParsedFeed
from podinsight.domain.money import Unit
from podinsight.domain.prices import PriceBook, Service
from podinsight.domain.redaction import said
from podinsight.domain.work import LONGEST_RETRY_AFTER
from podinsight.errors import Busy, GateAway, Transient, Unavailable
from podinsight.ports import Bearer, Clock, Entry, FeedParser, Fetcher, StatusStore

POLLERS: Final = 4  # feeds at a time in one task: a slow one delays the others little
REREAD_SECONDS: Final = 60.0
STAGE: Final = "poll"  # as the ledger names it
_LOOK_SECONDS = 0.2
_HOLD_SECONDS = 300.0
# Hundreds of episodes of one feed may fail at once: in one process one of them reads it again, the others wait for it.
_REREADING: Final = tuple(threading.Lock() for _ in range(64))


@dataclass(frozen=True)
class PollPorts:
    """What polling needs. prices: of what comes in; by default it costs nothing."""

    store: StatusStore
    fetcher: Fetcher
    parser: FeedParser
    clock: Clock
    prices: PriceBook = field(default_factory=PriceBook)


def poll_feed(ports: PollPorts, feed: Feed, every: float) -> int:
    """Polls one feed; returns how many episodes are new.

    Raises:
        Unavailable: the database or the host gate is away.
        Busy: the host gate does not let us in now: the feed is asked again when it may, and has no error.
        Exception: why it could not be read; the feed's row says so, and it is polled again later.
    """
    with _paid(ports, feed.id) as received:
        try:
            return _poll(ports, feed, every, received)
        except GateAway as error:
            raise Unavailable(str(error)) from error


@contextmanager
def _paid(ports: PollPorts, feed_id: str = "") -> Iterator[Callable[[int], None]]:
    """Takes the bytes that come in, and writes them into the ledger in the end, where they cost something (G1). No
    ceiling is asked before: a feed costs thousandths of a cent, and a stop of everything stops beat's polls as well."""
    received: list[int] = []
    try:
        yield received.append
    finally:
        price = ports.prices.service(Service.NAT)
        if price.micros and any(received):
            entry = Entry.priced(STAGE, Service.NAT, sum(received), Unit.BYTES, price)
            bearer = Bearer(day_of(ports.clock.now()), feed_id=feed_id)
            ports.store.purse.charge(f"{STAGE}:{uuid.uuid4().hex}", bearer, [entry])


def _poll(ports: PollPorts, feed: Feed, every: float, received: Callable[[int], None]) -> int:
    """As poll_feed, but that a host gate that is away is GateAway, and that `received` is told what comes in."""
    catalogue, now = ports.store.catalogue, ports.clock.now
    try:
        with _document(ports, feed, feed.etag, feed.last_modified, received) as (document, parsed):
            return catalogue.record_poll(feed.id, document, parsed, now() + every)
    except Busy as error:
        catalogue.postpone_poll(feed.id, now() + min(error.seconds, LONGEST_RETRY_AFTER))
        raise
    except Unavailable:
        raise
    except Exception as error:
        asked = min(error.retry_after or 0.0, LONGEST_RETRY_AFTER) if isinstance(error, Transient) else 0.0
        catalogue.record_poll_error(feed.id, said(error), now() + (asked or every))
        raise


@contextmanager
def _document(
    ports: PollPorts, feed: Feed, etag: str | None, last_modified: str | None, received: Callable[[int], None]
) -> Iterator[tuple[Document, ParsedFeed | None]]:
    fetcher = ports.fetcher.metered(received)
    document = fetcher.document(feed.url, etag, last_modified, user_agent=feed.user_agent)
    if document.body is None:
        yield document, None
        return
    with closing(document.body):
        yield document, ports.parser.parse(document)


@dataclass(frozen=True)
class Polled:
    """What one pass has done. added: new episodes; faults: feed → what went wrong; postponed: feed → why the host gate
    did not let us in; away: why the pass ended early, when the host gate did not answer."""

    added: int
    faults: dict[str, str]
    postponed: dict[str, str]
    away: GateAway | None = None


@dataclass
class _Pass:
    """What the pollers of one pass have done together. broken: why the pass is over for all of them; ended: that it
    is, whatever they have left to do."""

    until: float
    stopping: Callable[[], bool]
    added: int = 0
    faults: dict[str, str] = field(default_factory=dict)
    postponed: dict[str, str] = field(default_factory=dict)
    broken: Unavailable | GateAway | None = None
    ended: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def over(self) -> bool:
        return self.ended or self.broken is not None or time.monotonic() >= self.until or self.stopping()


def poll_due(ports: PollPorts, every: float, budget: float, stopping: Callable[[], bool]) -> tuple[int, list[str]]:
    """One pass for beat: returns how many episodes are new and what went wrong, one line a feed.

    A host gate that is away ends the pass, and is one line. So is a stop of everything: nothing is asked for then.
    Raises Unavailable when the database is away.
    """

    def forbidden() -> str | None:
        return ports.store.control.read().forbids(STAGE)

    if why := forbidden():
        return 0, [why]
    polled = poll_pass(ports, every, budget, lambda: stopping() or forbidden() is not None)
    faults = [f"{feed_id}: {reason}" for feed_id, reason in polled.faults.items()]
    return polled.added, [*faults, str(polled.away)] if polled.away else faults


def poll_pass(
    ports: PollPorts, every: float, budget: float = math.inf, stopping: Callable[[], bool] = lambda: False
) -> Polled:
    """Polls feeds that are due, a few at a time, until none is, `budget` seconds are over, or the process stops.

    Several pollers share the work: each feed is taken by one of them. When this thread is interrupted, the pollers end
    after the feed that they are at. Raises Unavailable when the database is away.
    """
    state = _Pass(time.monotonic() + budget, stopping)
    with _paid(ports) as received, ThreadPoolExecutor(POLLERS, thread_name_prefix="poll") as pool:
        try:
            running = {pool.submit(_poll_some, ports, every, state, received) for _ in range(POLLERS)}
            # An interrupt may reach another thread: this one sees it only when it runs.
            while running:
                done, running = wait(running, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
                for each in done:
                    each.result()
        except BaseException:
            state.ended = True
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    away = state.broken if isinstance(state.broken, GateAway) else None
    if state.broken is not None and away is None:
        raise state.broken
    if away is None:
        ports.store.control.tick("poll_feeds")
    return Polled(state.added, state.faults, state.postponed, away)


def _poll_some(ports: PollPorts, every: float, state: _Pass, received: Callable[[int], None]) -> None:
    try:
        while not state.over:
            due = ports.store.catalogue.due_feeds(1, min(every, _HOLD_SECONDS))
            if not due:
                return
            _poll_one(ports, due[0], every, state, received)
    except Unavailable as error:
        state.broken = error  # rather than a gate that is away
    except GateAway as error:
        state.broken = state.broken or error


def _poll_one(ports: PollPorts, feed: Feed, every: float, state: _Pass, received: Callable[[int], None]) -> None:
    added, fault, postponed = 0, "", ""
    try:
        added = _poll(ports, feed, every, received)
    except (Unavailable, GateAway):
        raise
    except Busy as error:
        postponed = str(error)
    except Exception as error:  # what one feed breaks must not keep the others from their poll
        fault = said(error)
    with state.lock:
        state.added += added
        for told, reason in ((state.faults, fault), (state.postponed, postponed)):
            told.pop(feed.id, None)  # it may be its second turn in this pass
            if reason:
                told[feed.id] = reason


def reread(ports: PollPorts, episode: Episode) -> Episode | None:
    """The episode with the fresh URL that its feed has for it (F10), or None when the feed knows no other.

    The feed is read whole, whatever has changed, but at most once a minute: within that its rows are as fresh. None
    also when the feed could not be read; its row says why.

    Raises:
        Busy: the host gate does not let us in now.
        Unavailable: the database or the host gate is away.
    """
    if episode.feed_slug == DIRECT_SLUG:
        return None
    with _REREADING[hash(episode.feed_id) % len(_REREADING)]:
        feed = ports.store.catalogue.feed(episode.feed_id)
        if feed is None:
            return None
        if feed.last_polled_at is None or ports.clock.now() - feed.last_polled_at >= REREAD_SECONDS:
            _read_again(ports, feed)
    fresh = ports.store.catalogue.episode(episode.id)
    return fresh if fresh is not None and fresh.url != episode.url else None


def _read_again(ports: PollPorts, feed: Feed) -> None:
    try:
        with _paid(ports, feed.id) as received, _document(ports, feed, None, None, received) as (document, parsed):
            ports.store.catalogue.record_poll(feed.id, document, parsed, feed.next_poll_at)
    except (Unavailable, Busy):
        raise
    except Exception as error:  # the episode's own failure is what its row shall say
        ports.store.catalogue.record_poll_error(feed.id, said(error), feed.next_poll_at)
