"""The web, and who may go there when."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from podinsight.domain.feed import Document, ParsedFeed
from podinsight.domain.hosts import GateAnswer, GateState, HostRule


@dataclass(frozen=True)
class Piece:
    """Bytes of a body. `offset` is where they belong: the bytes before them have come already. An offset of 0 after the
    first piece means that the body starts over (the server changed the file, or cannot resume): what was received so
    far is void."""

    offset: int
    data: bytes


@dataclass(frozen=True)
class Body:
    """An open response to an audio request: `pieces` yields bytes as they come."""

    url: str
    status: int
    length: int | None
    mime: str | None
    pieces: Iterator[Piece]


class Fetcher(Protocol):
    """HTTP as podinsight does it: http and https only, no address that is not public (unless its host is allowed),
    redirects followed by hand and each hop checked, no proxies, credentials never in messages.

    Every request, each hop of a redirect and each resumption included, is made under a lease of the host gate; hop N
    is released before hop N+1 is asked for. `user_agent`: instead of the installation's own.

    Raises `Permanent` for what will not pass (4xx, redirect loop, too large, not http; `NotThere` for 401, 403, 404
    and 410), `Refused` for a forbidden address, `Busy` when the gate does not let us in for longer than its patience,
    `Transient` for the rest (5xx, 408, 425, 429 with `retry_after`, connection, time-out).
    """

    def metered(self, received: Callable[[int], None]) -> "Fetcher":
        """The same fetcher, which tells the bytes of each answer's body as they came over the wire, once it is closed:
        whatever became of it, those of redirects and of answers that broke off included."""
        ...

    def document(
        self, url: str, etag: str | None = None, last_modified: str | None = None, user_agent: str | None = None
    ) -> Document:
        """A feed, conditional when validators are given; at most the feed size ceiling, spooled to disk."""
        ...

    def transcript(self, url: str, user_agent: str | None = None) -> Document:
        """A publisher's transcript; at most the transcript size ceiling."""
        ...

    def audio(self, url: str, user_agent: str | None = None) -> AbstractContextManager[Body]:
        """Opens a stream. A connection that breaks is resumed (Range, If-Range) while that makes progress; a body that
        still ends before its Content-Length raises `Transient` from the iterator."""
        ...


class HostGate(Protocol):
    """Leases on requests at a host, shared by every process and machine (DESIGN.md, idea 3).

    At most `rule.limit` leases of a host are held at any time, whatever dies: a lease that is not renewed expires
    after `lease_seconds`, and its holder must by then have stopped by its own clock. Requests start at `rule.rate` a
    second at most (GCRA, with bursts of `rule.limit`). Times are the gate's own clock. Each method is one round trip.

    When the gate has lost its memory (a flushed or restarted server), it grants nothing for `lease_seconds`, and until
    then takes renewed leases back. Raises `Unavailable` when it does not answer: then nothing may be requested.
    """

    @property
    def lease_seconds(self) -> float: ...
    def acquire(self, host: str, lease: str, rule: HostRule) -> GateAnswer:
        """Asks for a lease on host key `host`. The same id again is the same lease. A `rule.cooling_until` that is
        later than what the gate knows is remembered."""
        ...

    def renew(self, leases: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """Renews (host, lease) pairs; returns those that are lost. One that a gate without memory does not know is put
        back, and is not lost."""
        ...

    def release(
        self, host: str, lease: str, rule: HostRule, granted_at: float, throttled: float | None = None
    ) -> GateState:
        """Gives a lease back; releasing twice is fine. `throttled`: the host answered 429 or 503 and asked for so many
        seconds (0: it did not say): the limit is halved at once (not below 1), once for all requests that were granted
        before; it comes back a step a quiet period. The cool-down is what was asked for, at least a few seconds."""
        ...

    def state(self, host: str, rule: HostRule) -> GateState: ...
    def open(self) -> None:
        """Says that nobody holds a lease (the whole stack has just been started): grants begin at once."""
        ...


class FeedParser(Protocol):
    """Bytes of a feed → ParsedFeed. Raises `Permanent` when it is no feed, saying what it is instead."""

    def parse(self, document: Document) -> ParsedFeed: ...


@dataclass(frozen=True)
class Probe:
    """What the container says: `extension` one of mp3 m4a aac ogg opus flac wav."""

    extension: str
    mime: str
    seconds: float


class MediaProbe(Protocol):
    """Sniffs audio from a seekable reader. Raises `Permanent` when it is not readable audio, `Transient` when it is
    shorter than its own header says (truncated)."""

    def probe(self, stream: BinaryIO) -> Probe: ...
