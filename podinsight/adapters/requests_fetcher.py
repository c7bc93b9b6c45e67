"""HTTP with requests: redirects by hand, every hop checked, ceilings on size and time, no secrets in messages."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from http.cookiejar import DefaultCookiePolicy

import requests
from urllib3.exceptions import HTTPError

from podinsight.adapters.guarded_http import (
    AddressGuard,
    CurrentDeadline,
    Deadline,
    Resolver,
    guarded_adapter,
    resolve,
)
from podinsight.adapters.http_answers import Kind, check_status, failure_text, redirect_target, refuse_html
from podinsight.domain.feed import Document
from podinsight.domain.identity import host_of, normalise_url, redact_url
from podinsight.errors import Permanent, Transient
from podinsight.ports import Body

PIECE_BYTES = 256 * 1024
PIECE_SECONDS = 1.0
REDIRECTS = frozenset({301, 302, 303, 307, 308})
DECODABLE = frozenset({"gzip", "x-gzip", "deflate"})
FEED_TYPES = "application/rss+xml, application/atom+xml, application/xml;q=0.9, text/xml;q=0.9, */*;q=0.8"


@dataclass(frozen=True)
class FetchPolicy:
    """How this installation goes to the web.

    allowed_hosts: hostnames that may be at an address that is not public.
    total_seconds: from the first connection to the last byte, over all redirects; a document has document_seconds.
    resolver: (host, port) → addresses.
    ca_file: a PEM file of certificates to trust instead of the usual ones.
    stopping: asked twice a second; when it says so, every open request ends as if its time were over.
    """

    user_agent: str
    allowed_hosts: frozenset[str]
    connect_seconds: float
    read_seconds: float
    total_seconds: float
    max_feed_bytes: int
    max_audio_bytes: int
    max_redirects: int = 10
    document_seconds: float = 60.0
    resolver: Resolver = resolve
    ca_file: str | None = None
    stopping: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class _Answer:
    """The answer at the end of the redirects, with its status checked."""

    response: requests.Response
    url: str
    kind: Kind
    deadline: Deadline

    @property
    def declared(self) -> int | None:
        """What Content-Length says: bytes on the wire."""
        value = self.response.headers.get("Content-Length", "").strip()
        if "chunked" in self.response.headers.get("Transfer-Encoding", "").lower() or not value.isdecimal():
            return None
        return int(value)

    @property
    def encoding(self) -> str | None:
        """Raises Permanent for an encoding that was not asked for and cannot be undone."""
        value = self.response.headers.get("Content-Encoding", "").strip().lower()
        if value in ("", "identity"):
            return None
        if value not in DECODABLE:
            raise Permanent(f"an answer in an encoding that was not asked for from {host_of(self.url)}")
        return value

    def where(self) -> str:
        return f"{host_of(self.url)} ({redact_url(self.url)})"


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """None: even when it does not follow a redirect, requests reads its whole body, however large."""


class RequestsFetcher:
    """ports.Fetcher with one requests session per thread, made at its first use."""

    def __init__(self, policy: FetchPolicy) -> None:
        self._policy = policy
        self._guard = AddressGuard(policy.allowed_hosts, policy.resolver)
        self._current = CurrentDeadline()
        self._local = threading.local()

    def document(self, url: str, etag: str | None = None, last_modified: str | None = None) -> Document:
        """See ports.Fetcher. Header names in the Document are lower-case; `url` is where the redirects ended."""
        headers = {"Accept": FEED_TYPES, "Accept-Encoding": "gzip, deflate"}
        if etag:
            headers["If-None-Match"] = etag
        if last_modified:
            headers["If-Modified-Since"] = last_modified
        with self._follow(url, headers, Kind.FEED) as answer:
            found = {name.lower(): value for name, value in answer.response.headers.items()}
            if answer.response.status_code == requests.codes.not_modified:
                return Document(
                    answer.url, None, found.get("etag", etag), found.get("last-modified", last_modified), found
                )
            body = b"".join(self._pieces(answer))
            return Document(answer.url, body, found.get("etag"), found.get("last-modified"), found)

    @contextmanager
    def audio(self, url: str) -> Iterator[Body]:
        """See ports.Fetcher. Pieces are 256 KiB, or what came in a second: the reader sees that it goes on."""
        headers = {"Accept": "audio/*, */*;q=0.8", "Accept-Encoding": "identity"}
        with self._follow(url, headers, Kind.AUDIO) as answer:
            mime = answer.response.headers.get("Content-Type", "").partition(";")[0].strip().lower() or None
            refuse_html(mime, answer.url)
            declared = answer.declared
            self._check_size(declared or 0, answer)
            if declared == 0:
                raise Permanent(f"empty: no bytes from {answer.where()}")
            length = None if answer.encoding else declared
            yield Body(answer.url, answer.response.status_code, length, mime, self._pieces(answer))

    @contextmanager
    def _follow(self, url: str, headers: dict[str, str], kind: Kind) -> Iterator[_Answer]:
        conditional = "If-None-Match" in headers or "If-Modified-Since" in headers
        here = normalise_url(url)
        seen = {here}
        with Deadline(self._seconds(kind), self._policy.stopping) as deadline:
            while True:
                response = self._send(here, headers, deadline)
                try:
                    if response.status_code not in REDIRECTS:
                        check_status(response.status_code, response.headers, here, kind, conditional)
                        yield _Answer(response, here, kind, deadline)
                        return
                    here = redirect_target(here, response.headers.get("Location"))
                finally:
                    response.close()
                if here in seen:
                    raise Permanent(f"a redirect loop: {host_of(url)} leads back to {redact_url(here)}")
                if len(seen) > self._policy.max_redirects:
                    raise Permanent(f"more than {self._policy.max_redirects} redirects from {redact_url(url)}")
                seen.add(here)

    def _send(self, url: str, headers: dict[str, str], deadline: Deadline) -> requests.Response:
        policy = self._policy
        timeout = (deadline.left(policy.connect_seconds), deadline.left(policy.read_seconds))
        outer, self._current.value = self._current.value, deadline
        try:
            with self._translated(url, deadline):
                return self._session().get(url, headers=headers, stream=True, allow_redirects=False, timeout=timeout)
        finally:
            self._current.value = outer

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            # At DEBUG urllib3 logs the path of every request with its query, tokens included.
            logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)
            session = _Session()
            session.trust_env = False
            session.headers["User-Agent"] = self._policy.user_agent
            session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
            session.verify = self._policy.ca_file or True
            adapter = guarded_adapter(self._guard, self._current)
            session.mount("http://", adapter)
            session.mount("https://", adapter)
            self._local.session = session
        return session

    def _pieces(self, answer: _Answer) -> Iterator[bytes]:
        raw, declared, decode = answer.response.raw, answer.declared, answer.encoding is not None
        piece = bytearray()
        total = 0
        since = time.monotonic()
        while data := self._read(answer, decode):
            total += len(data)
            self._check_size(total, answer)
            piece += data
            if len(piece) >= PIECE_BYTES or time.monotonic() - since >= PIECE_SECONDS:
                yield bytes(piece)
                piece.clear()
                since = time.monotonic()
        if declared is not None and raw.tell() < declared:
            raise _short(answer)
        if total == 0:
            raise Permanent(f"empty: no bytes from {answer.where()}")
        if piece:
            yield bytes(piece)

    def _read(self, answer: _Answer, decode: bool) -> bytes:
        raw = answer.response.raw
        with self._translated(answer.url, answer.deadline, answer):
            data: bytes = raw.read1(PIECE_BYTES, decode_content=decode)
        if answer.deadline.expired:
            raise _too_long(answer.url, answer.deadline)
        return data

    @contextmanager
    def _translated(self, url: str, deadline: Deadline, answer: _Answer | None = None) -> Iterator[None]:
        try:
            yield
        except (requests.RequestException, HTTPError, HTTPException, OSError, ValueError) as error:
            if deadline.expired:
                raise _too_long(url, deadline) from None
            if answer is None and isinstance(error, ValueError):
                raise Permanent(f"a URL that cannot be requested: {redact_url(url)}") from None
            text = failure_text(error)
            if answer and answer.declared is not None and text == "the connection broke":
                raise _short(answer) from None
            raise Transient(f"{text}: {host_of(url)} ({redact_url(url)})") from None

    def _seconds(self, kind: Kind) -> float:
        total = self._policy.total_seconds
        return total if kind is Kind.AUDIO else min(total, self._policy.document_seconds)

    def _check_size(self, size: int, answer: _Answer) -> None:
        ceiling = self._policy.max_audio_bytes if answer.kind is Kind.AUDIO else self._policy.max_feed_bytes
        if size > ceiling:
            raise Permanent(f"too large: more than the ceiling of {ceiling} bytes from {answer.where()}")


def _short(answer: _Answer) -> Transient:
    received = answer.response.raw.tell()
    return Transient(f"the body ended after {received} of {answer.declared} bytes: {answer.where()}")


def _too_long(url: str, deadline: Deadline) -> Transient:
    return Transient(f"not done after {deadline.seconds:g} s: {host_of(url)} ({redact_url(url)})")
