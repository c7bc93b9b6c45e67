"""Fetching one episode: claim, stream into the object store under the attempt's own name, probe, commit, project."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from podinsight.domain.episode import Episode, FetchedAudio
from podinsight.domain.feed import FeedItem
from podinsight.domain.identity import direct_guid, host_of, normalise_url, redact_url
from podinsight.domain.work import Lease
from podinsight.errors import Abandoned, Permanent, Transient
from podinsight.ports import Fetcher, MediaProbe, ObjectStore, StatusStore
from podinsight.services.lease import LeaseTimes, kept
from podinsight.services.project import project_episode
from podinsight.services.settle import discard, settle
from podinsight.topology import PRIORITIES


@dataclass(frozen=True)
class FetchPorts:
    """What a fetch needs."""

    store: StatusStore
    objects: ObjectStore
    fetcher: Fetcher
    probe: MediaProbe


def find_or_add(store: StatusStore, episode_or_url: str) -> Episode:
    """The episode of an id, or of a bare audio URL (which is added under the feed slug `direct`).

    Raises:
        Permanent: no such episode, or not an http(s) URL.
    """
    if "://" in episode_or_url:
        url = normalise_url(episode_or_url)
        if not url.startswith(("http://", "https://")):
            raise Permanent(f"not an http or https URL: {redact_url(url)}")
        title = url.rsplit("/", 1)[-1].split("?")[0] or host_of(url)
        return store.catalogue.add_direct(FeedItem(guid=direct_guid(url), title=title, url=url))
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
    ports.store.work.enqueue_fetch([episode.id], PRIORITIES["medium"], None)
    lease = ports.store.work.claim("fetch", episode.id, worker, times.lease)
    if lease is None:
        return f"{episode.id}: nothing to claim"
    try:
        with kept(ports.store.work, lease, times, stopping) as heart:
            started = time.monotonic()
            audio = _download(ports, episode, lease, heart.beat)
            ports.store.work.commit_fetch(lease, audio, time.monotonic() - started)
    except Exception as error:
        if stopping() and isinstance(error, Transient):
            error = Abandoned("the process was asked to stop")  # that is what cut the request off
        discard(ports.objects, [_attempt_key(episode, lease)], error)
        state = settle(ports.store.work, lease, error)
        error.add_note(f"episode {episode.id} is {state.value}")
        raise error from None
    project_episode(ports.store, ports.objects, "fetch", episode.id)
    return f"{episode.id}: {audio.size} bytes, {audio.seconds:.1f} s of audio"


def _attempt_key(episode: Episode, lease: Lease) -> str:
    return f"{episode.attempts('fetch')}/{lease.token}"


def _download(ports: FetchPorts, episode: Episode, lease: Lease, beat: Callable[[], None]) -> FetchedAudio:
    key = _attempt_key(episode, lease)
    digest = hashlib.sha256()
    size = 0
    beat()
    with ports.fetcher.audio(episode.url) as body, ports.objects.writer(key) as out:
        for piece in body.chunks:
            out.write(piece)
            digest.update(piece)
            size += len(piece)
            beat()
        final_url = body.url
    if size == 0:
        raise Permanent(f"empty: the server sent no audio ({redact_url(episode.url)})")
    with ports.objects.reader(key) as stream:
        found = ports.probe.probe(stream)
    beat()
    return FetchedAudio(
        attempt_key=key,
        audio_key=episode.audio_name(found.extension),
        size=size,
        sha256=digest.hexdigest(),
        mime=found.mime,
        seconds=found.seconds,
        final_url=redact_url(final_url),
        final_host=host_of(final_url),
    )
