"""An answer that is open: what its headers say, and its body in pieces."""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException

import requests
from urllib3.exceptions import HTTPError

from podinsight.adapters.door import Permit
from podinsight.adapters.guarded_http import Deadline
from podinsight.adapters.http_answers import Broken, failure_text, is_quick
from podinsight.domain.identity import host_of, redact_url
from podinsight.errors import Permanent, Transient

PIECE_BYTES = 256 * 1024
PIECE_SECONDS = 1.0
DECODABLE = frozenset({"gzip", "x-gzip", "deflate"})
SMALL_BODY = 8192
SMALL_BODY_READS = 3
SMALL_BODY_SECONDS = 0.1
VENDOR_ERRORS = (
    requests.RequestException,
    HTTPError,
    HTTPException,
    OSError,
    ValueError,
)  # what requests and what is under it raise


@dataclass(frozen=True)
class Answer:
    """The answer at the end of the redirects, with its status checked.

    moved: every redirect on the way was for good. `ceiling` in bytes of the whole body.
    """

    response: requests.Response
    permit: Permit
    deadline: Deadline
    url: str
    ceiling: int
    moved: bool

    @property
    def status(self) -> int:
        return self.response.status_code

    def header(self, name: str) -> str:
        """Without the white space around it; "" when it is missing."""
        return str(self.response.headers.get(name, "")).strip()

    @property
    def declared(self) -> int | None:
        """What Content-Length says: bytes on the wire."""
        return _declared(self.response)

    @property
    def mime(self) -> str | None:
        return self.header("Content-Type").partition(";")[0].strip().lower() or None

    @property
    def encoding(self) -> str | None:
        """Raises Permanent for an encoding that was not asked for and cannot be undone."""
        value = self.header("Content-Encoding").lower()
        if value in ("", "identity"):
            return None
        if value not in DECODABLE:
            raise Permanent(f"an answer in an encoding that was not asked for from {host_of(self.url)}")
        return value

    def where(self) -> str:
        return f"{host_of(self.url)} ({redact_url(self.url)})"

    def check_size(self, size: int) -> None:
        """Raises Permanent when a body of this size is too large."""
        if size > self.ceiling:
            raise Permanent(f"too large: more than the ceiling of {self.ceiling} bytes from {self.where()}")

    def pieces(self, begin: int = 0) -> Iterator[bytes]:
        """The decoded body in pieces of 256 KiB, or what came in a second: the reader sees that it goes on.

        begin: where this body begins in the whole one.

        Raises:
            Broken: it broke off, stalled or was short; all that came before has been yielded.
            Transient: the time is over, or the permit is lost.
            Permanent: too large.
        """
        decode = self.encoding is not None
        parts: list[bytes] = []
        held, since = 0, time.monotonic()
        while True:
            try:
                data = self._read(decode)
            except Broken:
                if parts:
                    yield b"".join(parts)
                raise
            if not data:
                break
            begin += len(data)
            self.check_size(begin)
            parts.append(data)
            held += len(data)
            if held >= PIECE_BYTES or time.monotonic() - since >= PIECE_SECONDS:
                piece, parts, data = b"".join(parts), [], b""
                yield piece
                held, since = 0, time.monotonic()
        if parts:
            yield b"".join(parts)

    def _read(self, decode: bool) -> bytes:
        raw = self.response.raw
        try:
            data: bytes = raw.read1(PIECE_BYTES, decode_content=decode)
        except VENDOR_ERRORS as error:
            self.permit.check()
            raise self._broken(error) from None
        self.permit.check()
        if self.deadline.expired:
            raise too_long(self.url, self.deadline)
        if not data and self.declared is not None and raw.tell() < self.declared:
            raise self._short()
        self.permit.received(len(data))
        return data

    def _broken(self, error: BaseException) -> Transient:
        if self.deadline.expired:
            return too_long(self.url, self.deadline)
        text = failure_text(error)
        if self.declared is not None and text == "the connection broke":
            return self._short()
        return Broken(f"{text}: {self.where()}", quick=is_quick(error))

    def _short(self) -> Broken:
        received = self.response.raw.tell()
        return Broken(f"the body ended after {received} of {self.declared} bytes: {self.where()}", quick=True)


def too_long(url: str, deadline: Deadline) -> Transient:
    return Transient(f"not done after {deadline.seconds:g} s: {host_of(url)} ({redact_url(url)})")


def _declared(response: requests.Response) -> int | None:
    value = str(response.headers.get("Content-Length", "")).strip()
    chunked = "chunked" in str(response.headers.get("Transfer-Encoding", "")).lower()
    readable = value.isdecimal() and len(value) <= 18  # of thousands of digits Python makes no number
    return int(value) if readable and not chunked else None


def finish(response: requests.Response, deadline: Deadline) -> None:
    """Closes the connection, unless its body is read or so small (a redirect's, an error's) that it has come already:
    then it goes back to the pool."""
    raw = response.raw
    connection = getattr(raw, "connection", None)
    declared = _declared(response)
    if connection is not None and declared is not None and declared <= SMALL_BODY and not deadline.expired:
        with suppress(*VENDOR_ERRORS, AttributeError):
            connection.sock.settimeout(SMALL_BODY_SECONDS)
            for _ in range(SMALL_BODY_READS):
                if not raw.read1(SMALL_BODY, decode_content=False):
                    break
    response.close()
