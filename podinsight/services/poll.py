"""Polling feeds: conditional GET, parse what changed, make new episodes known."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from podinsight.domain.feed import Feed
from podinsight.domain.work import LONGEST_RETRY_AFTER
from podinsight.errors import PodinsightError, Transient, Unavailable
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
        Unavailable: the database is away.
        Exception: why it could not be read; the feed's row says so, and it is polled again later.
    """
    catalogue, now = ports.store.catalogue, ports.clock.now
    try:
        document = ports.fetcher.document(feed.url, feed.etag, feed.last_modified)
        parsed = ports.parser.parse(document) if document.body is not None else None
        return catalogue.record_poll(feed.id, document, parsed, now() + every)
    except Unavailable:
        raise
    except Exception as error:
        asked = min(error.retry_after or 0.0, LONGEST_RETRY_AFTER) if isinstance(error, Transient) else 0.0
        catalogue.record_poll_error(feed.id, _reason(error), now() + (asked or every))
        raise


def _reason(error: Exception) -> str:
    """What the feed's row says. Of an unexpected error the first line only: databases tell all their values."""
    if isinstance(error, PodinsightError):
        return str(error)
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


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
        except Unavailable:
            raise
        except Exception as error:  # what one feed breaks must not keep the others from their poll
            faults.append(f"{due[0].id}: {_reason(error)}")
    ports.store.control.tick("poll_feeds")
    return added, faults
