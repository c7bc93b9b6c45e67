"""Polling feeds: conditional GET, parse what changed, make new episodes known."""

from podinsight.domain.feed import Feed
from podinsight.errors import PodinsightError, Transient
from podinsight.ports import Clock, FeedParser, Fetcher, StatusStore


def poll_feed(store: StatusStore, fetcher: Fetcher, parser: FeedParser, clock: Clock, feed: Feed, every: float) -> int:
    """Polls one feed; returns how many episodes are new.

    Raises:
        PodinsightError: why it could not be read; the feed's row says so, and it is polled again later.
    """
    try:
        document = fetcher.document(feed.url, feed.etag, feed.last_modified)
        parsed = parser.parse(document) if document.body is not None else None
    except PodinsightError as error:
        wait = error.retry_after or every if isinstance(error, Transient) else every
        store.catalogue.record_poll_error(feed.id, str(error), clock.now() + wait)
        raise
    return store.catalogue.record_poll(feed.id, document, parsed, clock.now() + every)


def poll_due(
    store: StatusStore, fetcher: Fetcher, parser: FeedParser, clock: Clock, every: float, limit: int = 50
) -> tuple[int, list[str]]:
    """Polls the feeds that are due; returns how many episodes are new and what went wrong, one line a feed."""
    added = 0
    faults: list[str] = []
    for feed in store.catalogue.due_feeds(limit, hold_seconds=min(every, 300.0)):
        try:
            added += poll_feed(store, fetcher, parser, clock, feed, every)
        except PodinsightError as error:
            faults.append(f"{feed.url}: {error}")
    store.control.tick("poll_feeds")
    return added, faults
