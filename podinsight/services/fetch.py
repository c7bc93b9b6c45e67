"""Fetching one episode: claim, stream into the object store under the attempt's own name, probe, commit, project."""

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

from podinsight.domain.episode import DIRECT_SLUG, Episode, FetchedAudio, PublisherTranscript
from podinsight.domain.feed import FeedItem
from podinsight.domain.identity import direct_guid, file_title, host_of, normalise_url, redact_url
from podinsight.domain.work import Lease
from podinsight.errors import Abandoned, NotThere, Permanent, Refused, Transient
from podinsight.ports import Fetcher, MediaProbe, ObjectStore, Piece, StatusStore
from podinsight.services.lease import LeaseTimes, kept
from podinsight.services.project import project_episode
from podinsight.services.settle import discard, settle
from podinsight.topology import PRIORITIES

# The episode with a fresh URL from its feed, or None when the feed says nothing new.
Reread = Callable[[Episode], Episode | None]
# (fetcher, episode, seconds of audio, prefix of the attempt's names, beat) → transcripts and (attempt name, fixed
# name) copies.
CollectTranscripts = Callable[
    [Fetcher, Episode, float, str, Callable[[], None]],
    tuple[tuple[PublisherTranscript, ...], tuple[tuple[str, str], ...]],
]


@dataclass(frozen=True)
class FetchPorts:
    """What a fetch needs.

    reread: asks the feed again when the audio is not there. publisher: publisher transcripts. committed: called once
    the row is done, while the fixed names are still to be written: its place at the host is free for the next.
    """

    store: StatusStore
    objects: ObjectStore
    fetcher: Fetcher
    probe: MediaProbe
    reread: Reread | None = None
    publisher: CollectTranscripts | None = None
    committed: Callable[[], None] = lambda: None


def find_or_add(store: StatusStore, episode_or_url: str) -> Episode:
    """The episode of an id, or of a bare audio URL (which is added under the feed slug `direct`).

    Raises:
        Permanent: no such episode, or not an http(s) URL.
    """
    if "://" in episode_or_url:
        url = normalise_url(episode_or_url)
        if not url.startswith(("http://", "https://")):
            raise Permanent(f"not an http or https URL: {redact_url(url)}")
        return store.catalogue.add_direct(FeedItem(guid=direct_guid(url), title=file_title(url), url=url))
    episode = store.catalogue.episode(episode_or_url)
    if episode is None:
        raise Permanent(f"no episode {episode_or_url!r}: `podrun episodes` lists them; or give a URL")
    return episode


def fetch_episode(
    ports: FetchPorts, episode_or_url: str, worker: str, times: LeaseTimes, stopping: Callable[[], bool]
) -> str:
    """Fetches one episode if its row is claimable; returns what happened, for the log.

    A direct call for an episode without a row makes one; it never goes round control or a row that is done.

    Raises:
        PodinsightError: why the fetch did not succeed; the row says so already.
    """
    episode = find_or_add(ports.store, episode_or_url)
    work = ports.store.work
    lease = work.claim("fetch", episode.id, worker, times.lease)
    if lease is None and work.enqueue_fetch([episode.id], PRIORITIES["medium"], None):
        lease = work.claim("fetch", episode.id, worker, times.lease)
    if lease is None:
        return f"{episode.id}: nothing to claim"
    written = [_attempt_key(episode, lease)]
    received: list[int] = []
    try:
        with kept(ports.store.work, lease, times, stopping) as heart:
            started = time.monotonic()
            audio = _fetch(ports, ports.fetcher.metered(received.append), episode, lease, heart.beat)
            written += [source for source, _target in audio.copies]
            ports.store.work.commit_fetch(lease, audio, time.monotonic() - started, sum(received))
    except Exception as error:
        if stopping() and isinstance(error, Transient):
            error = Abandoned("the process was asked to stop")  # that is what cut the request off
        discard(ports.objects, written, error)
        state = settle(ports.store.work, lease, error, received=sum(received))
        error.add_note(f"episode {episode.id} is {state.value}")
        raise error from None
    ports.committed()
    project_episode(ports.store, ports.objects, "fetch", episode.id)
    return f"{episode.id}: {audio.size} bytes, {audio.seconds:.1f} s of audio"


def _attempt_key(episode: Episode, lease: Lease) -> str:
    return f"{episode.attempts('fetch')}/{lease.token}"


def _fetch(
    ports: FetchPorts, fetcher: Fetcher, episode: Episode, lease: Lease, beat: Callable[[], None]
) -> FetchedAudio:
    """The audio; when it is not there, the feed is asked once for a fresh URL (F10)."""
    try:
        return _download(ports, fetcher, episode, lease, beat)
    except NotThere:
        fresh = _reread(ports, episode, beat)
        if fresh is None:
            raise
    return _download(ports, fetcher, fresh, lease, beat)


def _reread(ports: FetchPorts, episode: Episode, beat: Callable[[], None]) -> Episode | None:
    """What passes by itself is raised: the feed may yet know the URL. A feed that is no better has nothing to say."""
    if ports.reread is None or episode.feed_slug == DIRECT_SLUG:
        return None
    try:
        fresh = ports.reread(episode)
    except (Permanent, Refused):
        return None
    finally:
        beat()
    return fresh if fresh is not None and fresh.url != episode.url else None


def _download(
    ports: FetchPorts, fetcher: Fetcher, episode: Episode, lease: Lease, beat: Callable[[], None]
) -> FetchedAudio:
    key = _attempt_key(episode, lease)
    beat()
    with fetcher.audio(episode.url, episode.user_agent) as body:
        size, sha256 = save(ports.objects, key, body.pieces, beat)
        final_url = body.url
    if size == 0:
        raise Permanent(f"empty: the server sent no audio ({redact_url(episode.url)})")
    with ports.objects.reader(key) as stream:
        found = ports.probe.probe(stream)
    beat()
    publisher, copies = (
        ports.publisher(fetcher, episode, found.seconds, f"{key}-", beat) if ports.publisher else ((), ())
    )
    return FetchedAudio(
        attempt_key=key,
        audio_key=episode.audio_name(found.extension),
        size=size,
        sha256=sha256,
        mime=found.mime,
        seconds=found.seconds,
        final_url=redact_url(final_url),
        final_host=host_of(final_url),
        publisher=publisher,
        copies=copies,
    )


class _StartsOver(Exception):
    """What was received so far is void; `piece` is the first of the new body."""

    def __init__(self, piece: Piece) -> None:
        super().__init__("the body starts over")
        self.piece = piece


def save(objects: ObjectStore, key: str, pieces: Iterator[Piece], beat: Callable[[], None]) -> tuple[int, str]:
    """Streams a body into one object, from the start again when it starts over; returns its size and sha256."""
    while True:
        try:
            return _write(objects, key, pieces, beat)
        except _StartsOver as again:
            pieces = chain([again.piece], pieces)


def _write(objects: ObjectStore, key: str, pieces: Iterator[Piece], beat: Callable[[], None]) -> tuple[int, str]:
    digest = hashlib.sha256()
    size = 0
    with objects.writer(key) as out:
        for piece in pieces:
            if piece.offset == 0 and size:
                raise _StartsOver(piece)
            if piece.offset != size:
                raise ValueError(f"a piece for byte {piece.offset} after {size} bytes")
            out.write(piece.data)
            digest.update(piece.data)
            size += len(piece.data)
            beat()
    return size, digest.hexdigest()
