"""The Fetcher port: feeds, publisher transcripts and audio, over one HTTP client."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from copy import copy
from http import HTTPStatus
from typing import BinaryIO, Final, Self, cast

from podinsight.adapters.door import Door
from podinsight.adapters.guarded_http import Deadline
from podinsight.adapters.http_answers import Kind
from podinsight.adapters.http_body import PIECE_BYTES, Answer
from podinsight.adapters.http_client import FetchPolicy, HttpClient
from podinsight.adapters.resuming import Download, tried
from podinsight.domain.feed import Document
from podinsight.errors import Permanent
from podinsight.ports import Body

__all__ = ["PIECE_BYTES", "FetchPolicy", "RequestsFetcher"]

SPOOL_BYTES: Final = 2**20
FEED_TYPES: Final = "application/rss+xml, application/atom+xml, application/xml;q=0.9, text/xml;q=0.9, */*;q=0.8"
TRANSCRIPT_TYPES: Final = "text/vtt, application/x-subrip, application/srt, application/json, */*;q=0.8"
NOT_MODIFIED: Final = frozenset({HTTPStatus.NOT_MODIFIED.value})


class RequestsFetcher:
    """ports.Fetcher. One for all threads of a process; every request passes `door`."""

    def __init__(self, policy: FetchPolicy, door: Door) -> None:
        self._policy = policy
        self._client = HttpClient(policy, door)
        self._received: Callable[[int], None] = lambda _bytes: None

    def metered(self, received: Callable[[int], None]) -> Self:
        """See ports.Fetcher. It shares this one's connections."""
        other = copy(self)
        other._received = received
        return other

    def document(
        self, url: str, etag: str | None = None, last_modified: str | None = None, user_agent: str | None = None
    ) -> Document:
        """See ports.Fetcher. Header names in the Document are lower-case; `url` is where the redirects ended."""
        headers = _headers(FEED_TYPES, user_agent)
        if etag:
            headers["If-None-Match"] = etag
        if last_modified:
            headers["If-Modified-Since"] = last_modified
        return self._document(url, headers, Kind.FEED, etag, last_modified)

    def transcript(self, url: str, user_agent: str | None = None) -> Document:
        """See ports.Fetcher."""
        return self._document(url, _headers(TRANSCRIPT_TYPES, user_agent), Kind.TRANSCRIPT, None, None)

    @contextmanager
    def audio(self, url: str, user_agent: str | None = None) -> Iterator[Body]:
        """See ports.Fetcher. Pieces are 256 KiB, or what came in a second: the reader sees that it goes on."""
        headers = _headers("audio/*, */*;q=0.8", user_agent, encodings="identity")
        with self._deadline(Kind.AUDIO) as deadline, Download(self._client, url, headers, deadline) as download:
            first = download.begin()
            length = None if first.encoding else first.declared
            yield Body(first.url, first.status, length, first.mime, download.pieces())

    def _deadline(self, kind: Kind) -> Deadline:
        deadline = self._policy.deadline(kind)
        deadline.received = self._received
        return deadline

    def _document(
        self, url: str, headers: dict[str, str], kind: Kind, etag: str | None, last_modified: str | None
    ) -> Document:
        also = NOT_MODIFIED if etag or last_modified else frozenset()
        with self._deadline(kind) as deadline, ExitStack() as stack:
            answer = tried(lambda: stack.enter_context(self._client.get(url, headers, kind, deadline, also)), deadline)
            found = {name.lower(): value for name, value in answer.response.headers.items()}
            moved_to = answer.url if answer.moved else None
            if answer.status in also:
                etag, last_modified = found.get("etag", etag), found.get("last-modified", last_modified)
                return Document(answer.url, None, etag, last_modified, found, moved_to)
            body = _spooled(answer)
            return Document(answer.url, body, found.get("etag"), found.get("last-modified"), found, moved_to)


def _headers(accept: str, user_agent: str | None, encodings: str = "gzip, deflate") -> dict[str, str]:
    headers = {"Accept": accept, "Accept-Encoding": encodings}
    return {**headers, "User-Agent": user_agent} if user_agent else headers


def _spooled(answer: Answer) -> BinaryIO:
    """The body: in memory while it is small, else in a temporary file without a name."""
    answer.check_size(answer.declared or 0)
    body = tempfile.SpooledTemporaryFile(SPOOL_BYTES)  # noqa: SIM115 - the Document is its owner
    try:
        for piece in answer.pieces():
            body.write(piece)
        if body.tell() == 0:
            raise Permanent(f"empty: no bytes from {answer.where()}")
    except BaseException:
        body.close()
        raise
    body.seek(0)
    return cast(BinaryIO, body)
