"""What comes in over the wire is counted, whatever becomes of it (G1)."""

import gzip
from collections.abc import Iterator

import pytest

from podinsight.adapters.door import OpenDoor
from podinsight.adapters.requests_fetcher import FetchPolicy, RequestsFetcher
from podinsight.errors import Permanent, Transient
from tests.support.webserver import Reply, WebServer

POLICY = FetchPolicy(
    user_agent="PodInsight/test",
    allowed_hosts=frozenset({"127.0.0.1"}),
    connect_seconds=5.0,
    read_seconds=5.0,
    total_seconds=20.0,
    max_feed_bytes=1_000_000,
    max_audio_bytes=50_000_000,
)
FEED = b"<rss>one and the same</rss>" * 1000


@pytest.fixture
def web() -> Iterator[WebServer]:
    with WebServer() as server:
        yield server


@pytest.fixture
def received() -> list[int]:
    return []


@pytest.fixture
def fetcher(received: list[int]) -> RequestsFetcher:
    return RequestsFetcher(POLICY, OpenDoor()).metered(received.append)


def test_a_packed_document_counts_as_it_was_sent(web: WebServer, fetcher: RequestsFetcher, received: list[int]) -> None:
    fetcher.document(web.serve_gzip("/feed", FEED, "text/xml"))
    assert sum(received) == len(gzip.compress(FEED)) < len(FEED)


def test_redirects_count(web: WebServer, fetcher: RequestsFetcher, received: list[int]) -> None:
    web.serve("/b", FEED, "text/xml")
    fetcher.transcript(web.answer("/a", Reply(b"moved", 302, headers={"Location": "/b"})))
    assert sum(received) == len(b"moved") + len(FEED)


def test_what_is_not_modified_or_not_there_brings_in_nothing_much(
    web: WebServer, fetcher: RequestsFetcher, received: list[int]
) -> None:
    first = fetcher.document(web.serve("/feed", FEED, "text/xml", headers={"ETag": '"1"'}))
    fetcher.document(first.url, first.etag)
    with pytest.raises(Permanent):
        fetcher.document(web.url("/none"))
    assert len(FEED) <= sum(received) < len(FEED) + 1000


def test_a_document_that_is_too_large_counts_as_far_as_it_was_read(
    web: WebServer, fetcher: RequestsFetcher, received: list[int]
) -> None:
    url = web.answer("/feed", Reply(b"x" * 3_000_000, mime="text/xml", chunked=True))
    with pytest.raises(Permanent, match="too large"):
        fetcher.document(url)
    assert POLICY.max_feed_bytes < sum(received) <= 3_000_000


def test_audio_that_breaks_off_counts_with_each_of_its_answers(
    web: WebServer, fetcher: RequestsFetcher, received: list[int]
) -> None:
    """The body comes again from its start, and breaks again."""
    url = web.answer("/a.mp3", *[Reply(b"x" * 100_000, mime="audio/mpeg", declared=300_000)] * 9)
    with pytest.raises(Transient), fetcher.audio(url) as body:
        for _piece in body.pieces:
            pass
    assert sum(received) == 100_000 * web.hits("/a.mp3")
    assert web.hits("/a.mp3") > 1


def test_who_is_not_metered_tells_nobody(web: WebServer, fetcher: RequestsFetcher, received: list[int]) -> None:
    """Two meters over one pool of connections."""
    others: list[int] = []
    url = web.serve("/feed", FEED, "text/xml")
    fetcher.metered(others.append).document(url)
    fetcher.document(url)
    assert (sum(others), sum(received)) == (len(FEED), len(FEED))
