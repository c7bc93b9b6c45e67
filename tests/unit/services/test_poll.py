"""Polling: what one feed breaks, and what a server may ask for."""

from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest

from podinsight.adapters.database import SqlStore, open_store
from podinsight.adapters.feedparser_feeds import FeedparserParser
from podinsight.domain.feed import Document
from podinsight.domain.identity import HostLimits
from podinsight.errors import Transient, Unavailable
from podinsight.ports import Body
from podinsight.services.poll import PollPorts, poll_due, poll_feed
from tests.support.clock import ManualClock

LONG_HOST = ".".join(["h" * 60] * 5)
FEED = f"""<rss version="2.0"><channel><title>T</title>
<item><guid>1</guid><enclosure url="https://a.test/1.mp3" type="audio/mpeg"/></item>
<item><guid>2</guid><enclosure url="https://{LONG_HOST}/2.mp3" type="audio/mpeg"/></item>
<item><guid>3</guid><enclosure url="https://a.test:x/3.mp3" type="audio/mpeg"/></item>
</channel></rss>""".encode()


class Web:
    """ports.Fetcher: what each URL answers, or raises."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes | Exception] = {}

    def document(self, url: str, etag: str | None = None, last_modified: str | None = None) -> Document:
        answer = self.answers[url]
        if isinstance(answer, Exception):
            raise answer
        return Document(url, answer)

    def audio(self, url: str) -> AbstractContextManager[Body]:
        raise AssertionError(url)


@pytest.fixture
def store(clock: ManualClock) -> Iterator[SqlStore]:
    opened = open_store("sqlite://", clock, HostLimits({}, 10), 30.0)
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
