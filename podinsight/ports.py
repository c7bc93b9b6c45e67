"""The ports: what services ask of the world. Each docstring is the contract; tests/contract runs it on every adapter.

Times are epoch seconds (UTC) as floats, spans and waits are seconds, sizes are bytes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from podinsight.domain.control import Control
from podinsight.domain.episode import Episode, FetchedAudio, Projection, TranscriptFiles
from podinsight.domain.feed import Document, Feed, FeedItem, ParsedFeed
from podinsight.domain.transcript import Part
from podinsight.domain.work import Lease, State, Ticket


class Clock(Protocol):
    """Now, in epoch seconds."""

    def now(self) -> float: ...


# ---------------------------------------------------------------------------------------------------- objects


class ObjectWriter(Protocol):
    """A streaming write in bounded memory. The object appears whole at `close`, or never.

    Leaving the `with` block by an exception aborts: no object, no visible leftover.
    """

    def write(self, data: bytes) -> None: ...
    def __enter__(self) -> "ObjectWriter": ...
    def __exit__(self, *exc: object) -> None: ...


@dataclass(frozen=True)
class ObjectInfo:
    key: str
    size: int
    modified: float


class ObjectStore(Protocol):
    """Whole objects under keys like `raw/<slug>/<guid>/audio/episode.mp3`; the first component is the area.

    - a reader never sees half an object; `put` and a closed `writer` replace atomically;
    - `get`, `reader`, `size` and `copy` of a missing key raise `Permanent` with the key in its text;
    - `delete` of a missing key is fine;
    - a key that is empty, absolute, has an empty, `.` or `..` component, a backslash or a control character,
      or an unknown area, raises `Refused`;
    - the store being unreachable raises `Transient` with `ours`.
    """

    def put(self, key: str, data: bytes) -> None: ...
    def get(self, key: str) -> bytes: ...
    def exists(self, key: str) -> bool: ...
    def size(self, key: str) -> int: ...
    def writer(self, key: str) -> ObjectWriter: ...
    def reader(self, key: str) -> AbstractContextManager[BinaryIO]:
        """A seekable binary reader that fetches ranges; it never loads the object whole."""
        ...

    def copy(self, source: str, target: str) -> None:
        """Server-side where the store can; replaces `target` atomically."""
        ...

    def delete(self, keys: Iterable[str]) -> None: ...
    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Objects under the folder `prefix` (whole components), sorted by key."""
        ...

    def where(self, key: str) -> str:
        """How a person finds the object: a path, or an `s3://` URL."""
        ...


# ---------------------------------------------------------------------------------------------------- the web


@dataclass(frozen=True)
class Body:
    """An open response to an audio request: `chunks` yields bytes as they come."""

    url: str
    status: int
    length: int | None
    mime: str | None
    chunks: Iterator[bytes]


class Fetcher(Protocol):
    """HTTP as podinsight does it: http and https only, no address that is not public (unless its host is allowed),
    redirects followed by hand and each hop checked, one user agent, no proxies, credentials never in messages.

    Raises `Permanent` for what will not pass (4xx, redirect loop, too large, not http), `Refused` for a forbidden
    address, `Transient` for the rest (5xx, 408, 425, 429 with `retry_after`, connection, time-out).
    """

    def document(self, url: str, etag: str | None = None, last_modified: str | None = None) -> Document:
        """A whole small document (a feed), conditional when validators are given; at most the feed size ceiling."""
        ...

    def audio(self, url: str) -> AbstractContextManager[Body]:
        """Opens a stream. A body that ends before its Content-Length raises `Transient` from the iterator."""
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


# ---------------------------------------------------------------------------------------------------- speech


@dataclass(frozen=True)
class SpeechRequest:
    """One chunk to transcribe. `end` None means to the end of the audio. `language` None: detect."""

    n: int
    start: float
    end: float | None
    model: str
    language: str | None


class Transcriber(Protocol):
    """Speech to text on the device that is there (CUDA, else CPU).

    - `beat()` is called whenever there is progress; it may raise (`Abandoned`, `LeaseLost`) and the call ends at once;
    - the same audio, request and profile give the same segments, whatever the thread count;
    - unreadable audio raises `Permanent`; a model that is not there raises `Permanent` naming all three ways to get it.
    """

    def transcribe(self, audio: BinaryIO, request: SpeechRequest, beat: Callable[[float], None]) -> Part:
        """`beat` gets the seconds of audio done so far."""
        ...

    def profile(self, model: str) -> tuple[tuple[str, str], ...]:
        """What byte equality is promised within: engine version, device, compute type, model, settings."""
        ...


# ---------------------------------------------------------------------------------------------------- the broker


class JobQueue(Protocol):
    """Tells workers that a unit may be runnable: a hint that may be lost or doubled, and that expires.

    Raises `Unavailable` within 10 s when the broker does not take it.
    """

    def publish(self, task: str, args: Sequence[str]) -> None: ...


# ---------------------------------------------------------------------------------------------------- the database


class Catalogue(Protocol):
    """Feeds and episodes."""

    def add_feed(self, url: str) -> tuple[Feed, bool]:
        """The feed of this normalised URL and whether it is new."""
        ...

    def remove_feed(self, feed_id: str) -> None:
        """Forgets a feed that has no episodes."""
        ...

    def feeds(self) -> list[Feed]: ...
    def due_feeds(self, limit: int, hold_seconds: float) -> list[Feed]:
        """Feeds to poll now; each is taken out for `hold_seconds`, so that two pollers never take the same."""
        ...

    def record_poll(self, feed_id: str, document: Document, parsed: ParsedFeed | None, next_poll_at: float) -> int:
        """Stores what a poll gave (None: not modified), names the feed at its first, adds new episodes in feed order.

        Known GUIDs are updated (URL, title), never doubled. Returns how many episodes are new.
        """
        ...

    def record_poll_error(self, feed_id: str, error: str, next_poll_at: float) -> None: ...
    def add_direct(self, item: FeedItem) -> Episode:
        """The episode of a bare audio URL, under the feed slug `direct`."""
        ...

    def episode(self, episode_id: str) -> Episode | None: ...
    def episodes(self, ids: Sequence[str]) -> list[Episode]: ...
    def first_episodes(self, limit: int | None, feed_id: str | None = None) -> list[Episode]:
        """The first N known episodes in the order of discovery, whatever their state (`--limit` is cumulative)."""
        ...


@dataclass(frozen=True)
class StageCount:
    stage: str
    state: State
    count: int


@dataclass(frozen=True)
class WorkView:
    """A row for a person: what runs, what failed and why. `until`: when a delayed one is due."""

    episode_id: str
    feed_slug: str
    title: str
    stage: str
    state: State
    reason: str
    host: str
    attempts: int
    losses: int
    worker: str | None
    since: float
    until: float | None = None


@dataclass(frozen=True)
class Reconciled:
    """What a reconcile pass moved."""

    expired: int = 0
    unclaimed: int = 0
    due: int = 0
    set_aside: int = 0


class WorkRows(Protocol):
    """Work rows, chunks and lanes: the truth about every unit.

    Every method is one transaction, but for these: enqueueing goes in batches, dispatch, reconcile and expire_worker
    in two. Each step is whole by itself, and saying it again does the rest.

    Transitions keep the lanes' counters; a write that carries a lease whose token is no longer the row's raises
    `LeaseLost` and changes nothing.
    """

    def enqueue_fetch(self, episode_ids: Sequence[str], priority: int, transcribe: Mapping[str, object] | None) -> int:
        """Makes `waiting` fetch rows for episodes that have none; with `transcribe` (its params) also transcribe
        rows, `held` until the audio is there (or `waiting` if it is). Returns how many fetch rows are new. What is
        there stays as it is, so a call that was cut off is simply made again."""
        ...

    def enqueue_transcribe(self, episode_ids: Sequence[str], priority: int, params: Mapping[str, object]) -> int:
        """Makes transcribe rows with one chunk for episodes that have none; returns how many are new."""
        ...

    def dispatch(self, lane: str, slots: int) -> list[Ticket]:
        """Moves the best `waiting` units of a lane stage to `dispatched` (see domain.work.share_out), as many as
        `slots` less what is in flight; promotes due `delayed` ones first. Two dispatchers never take the same unit
        nor the same slot. Nothing while control forbids the stage."""
        ...

    def leased(self, worker: str) -> int:
        """Units that run under a lease of this worker."""
        ...

    def undo_dispatch(self, tickets: Sequence[Ticket]) -> None:
        """Back to `waiting`: the broker did not take the message."""
        ...

    def claim(self, stage: str, episode_id: str, worker: str, lease_seconds: float) -> Lease | None:
        """Compare-and-set: the first `dispatched` or `waiting` unit of this episode and stage becomes `running` under
        a new token. None when nothing is claimable, control forbids it, or the worker is draining or unknown."""
        ...

    def renew(self, lease: Lease, lease_seconds: float) -> None: ...
    def hand_back(self, lease: Lease) -> None:
        """`waiting` again, no attempt and no loss charged."""
        ...

    def delay(self, lease: Lease, reason: str, seconds: float, attempted: bool = True) -> None: ...
    def end(self, lease: Lease, state: State, reason: str) -> None:
        """`failed` or `refused`. A failed fetch fails the transcribe row that was held for it."""
        ...

    def commit_fetch(self, lease: Lease, audio: FetchedAudio, wall_seconds: float) -> None:
        """`done`, with a projection to make; the episode learns its audio in `projected`."""
        ...

    def commit_chunk(self, lease: Lease, part_key: str, wall_seconds: float, lease_seconds: float) -> Lease | None:
        """`done`; resets the losses of the episode's units. The last one gets the lease of the join, else None."""
        ...

    def parts(self, episode_id: str) -> list[str]:
        """The committed part keys of an episode, by chunk."""
        ...

    def commit_transcript(self, lease: Lease, files: TranscriptFiles) -> None:
        """Ends the join and the transcribe row, with a projection to make."""
        ...

    def unprojected(self, limit: int, stage: str | None = None, episode_id: str | None = None) -> list[Projection]:
        """Committed units whose fixed names are not written yet."""
        ...

    def projected(self, projection: Projection) -> bool:
        """The objects lie under their fixed names: the episode says so, and a transcribe row that was held for the
        audio becomes `waiting` with one chunk. Saying it twice changes nothing: returns whether it was the first."""
        ...

    def postpone(self, projection: Projection) -> None:
        """It cannot be made now: `unprojected` gives it after all others."""
        ...

    def redo(self, projection: Projection, reason: str) -> bool:
        """What was committed is gone before it had its fixed name: the unit is `waiting` again, a transcription with
        all its chunks; a loss, and past the stage's losses `failed`. Returns False when it is projected already."""
        ...

    def reconcile(self, dispatch_seconds: float) -> Reconciled:
        """Expired leases → `waiting` (a loss), dispatches unclaimed for `dispatch_seconds` → `waiting`, due delayed
        → `waiting`; units past their stage's losses → `failed`."""
        ...

    def expire_worker(self, worker: str) -> int:
        """The worker is dead: its leases go back now (a loss each). Returns how many."""
        ...

    def retry_failed(self, stage: str | None, host: str | None) -> int:
        """Failed rows start over with fresh attempts; returns how many."""
        ...

    def counts(self) -> list[StageCount]:
        """Episodes by stage and state, from the lanes: flat however many rows there are."""
        ...

    def states(self, stage: str, episode_ids: Sequence[str]) -> dict[str, tuple[State, str]]:
        """State and reason of each episode that has a row in this stage; `done` once its objects are in place."""
        ...

    def views(self, state: State, limit: int) -> list[WorkView]: ...


@dataclass(frozen=True)
class WorkerView:
    """One worker process. state: starting | ready | draining | dead."""

    id: str
    machine: str
    pool: str
    pid: int
    slots: int
    state: str
    heartbeat_at: float
    started_at: float


class Workers(Protocol):
    """Worker processes and how many of each pool there should be."""

    def register(self, worker: str, machine: str, pool: str, pid: int, slots: int) -> None:
        """Ready now; registering again refreshes. A worker marked draining or dead stays so."""
        ...

    def heartbeat(self, worker: str) -> str | None:
        """Records life; returns the worker's state (None: unknown), so that it learns that it drains."""
        ...

    def mark(self, worker: str, state: str) -> None: ...
    def list(self, machine: str | None = None) -> list[WorkerView]:
        """Workers that are not dead."""
        ...

    def live_slots(self, pool: str) -> int:
        """Slots of ready workers of this pool whose heartbeat is fresh."""
        ...

    def desired(self) -> dict[str, int]: ...
    def set_desired(self, pool: str, count: int) -> None: ...
    def forget_dead(self, older_than: float) -> None: ...


class ControlBoard(Protocol):
    """Control state and the marks that periodic work leaves."""

    def read(self) -> Control: ...
    def write(self, state: Control) -> None: ...
    def tick(self, name: str) -> None:
        """Periodic work `name` ran just now."""
        ...

    def ticks(self) -> dict[str, float]: ...


class StatusStore(Protocol):
    """The database: the truth."""

    @property
    def catalogue(self) -> Catalogue: ...
    @property
    def work(self) -> WorkRows: ...
    @property
    def workers(self) -> Workers: ...
    @property
    def control(self) -> ControlBoard: ...
    def ping(self) -> None:
        """Raises `Unavailable` when the database does not answer."""
        ...

    def close(self) -> None: ...
