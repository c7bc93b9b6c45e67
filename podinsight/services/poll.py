"""Polling feeds: conditional GET, parse what changed, make new episodes known."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from podinsight.domain.feed import Feed
from podinsight.errors import PodinsightError, Transient
from podinsight.ports import Clock, FeedParser, Fetcher, StatusStore

_HOLD_SECONDS = 300.0


@dataclass(frozen=True)
class PollPorts:
    """What polling needs."""

    store: StatusStore
    fetcher: Fetcher
    parser: FeedParser
    clock: Clock


def poll_feed(ports: PollPorts, feed: Feed, every: float) -> int:
    """Polls one feed; returns how many episodes are new.

    Raises:
        PodinsightError: why it could not be read; the feed's row says so, and it is polled again later.
    """
    catalogue, now = ports.store.catalogue, ports.clock.now
    try:
        document = ports.fetcher.document(feed.url, feed.etag, feed.last_modified)
        parsed = ports.parser.parse(document) if document.body is not None else None
    except PodinsightError as error:
        asked = error.retry_after if isinstance(error, Transient) else None
        catalogue.record_poll_error(feed.id, str(error), now() + (asked or every))
        raise
    return catalogue.record_poll(feed.id, document, parsed, now() + every)


def poll_due(ports: PollPorts, every: float, budget: float, stopping: Callable[[], bool]) -> tuple[int, list[str]]:
    """Polls feeds that are due, one after the other, until none is, `budget` seconds are over, or the process stops.

    Several pollers share the work: each feed is taken by one of them. Returns how many episodes are new and what went
    wrong, one line a feed.
    """
    added = 0
    faults: list[str] = []
    until = time.monotonic() + budget
    while time.monotonic() < until and not stopping():
        due = ports.store.catalogue.due_feeds(1, min(every, _HOLD_SECONDS))
        if not due:
            break
        try:
            added += poll_feed(ports, due[0], every)
        except PodinsightError as error:
            faults.append(f"{due[0].id}: {error}")
    ports.store.control.tick("poll_feeds")
    return added, faults
