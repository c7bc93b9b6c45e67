"""Transcribing: claim a chunk, decode it, commit its part; whoever commits the last one joins them.

Where the publisher's transcript was accepted it is taken instead of decoding (F12), and so is the transcript of another
episode with the same audio (F10), by the same rows and fences. So whatever is there already comes first, in economy
mode (G8) as always: neither ever needs a device. What must be decoded while economy mode is on is begun with the next
smaller model that this machine has, and all chunks of an episode are decoded by the model of the first.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from podinsight.domain.economy import ASKED, saving, smaller_for
from podinsight.domain.episode import Episode
from podinsight.domain.parts import part_to_json
from podinsight.domain.publisher import accepted, usable
from podinsight.domain.transcript import Part
from podinsight.domain.work import Lease, Span
from podinsight.errors import Abandoned, Permanent, PodinsightError
from podinsight.ports import CaptionParser, Decoded, ObjectStore, StatusStore, Transcriber
from podinsight.services.hear import hear_chunk
from podinsight.services.join import KpiPrices, join_episode
from podinsight.services.lease import LeaseTimes, kept
from podinsight.services.project import project_episode
from podinsight.services.publisher import publisher_part
from podinsight.services.same_audio import same_audio_part
from podinsight.services.settle import discard, settle

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TranscribePorts:
    """What a transcription needs. `on_hang` ends the process when a native call hangs.

    transcriber: None in a process that does not decode; it takes what publishers wrote, and hands back all else.
    captions: reads publishers' transcripts; None where they are not to be used. smaller: by model, those that may stand
    in for it where memory does not do, in falling size. saving: those that do in economy mode.
    """

    store: StatusStore
    objects: ObjectStore
    transcriber: Transcriber | None
    captions: CaptionParser | None
    prices: KpiPrices
    on_hang: Callable[[], None] | None = None
    smaller: Callable[[str], Sequence[str]] = lambda _model: ()
    saving: Callable[[str], Sequence[str]] = lambda _model: ()


def transcribe_episode(
    ports: TranscribePorts, episode_id: str, worker: str, times: LeaseTimes, stopping: Callable[[], bool]
) -> str:
    """Transcribes one claimable chunk of an episode (and joins, if it was the last); returns what happened.

    Raises:
        PodinsightError: why it did not succeed; the row says so already.
    """
    lease = ports.store.work.claim("transcribe", episode_id, worker, times.lease)
    if lease is None:
        return f"{episode_id}: nothing to claim"
    episode = ports.store.catalogue.episode(episode_id)
    if episode is None:
        raise Permanent(f"no episode {episode_id!r}")
    next_lease: Lease | None = lease
    said = ""
    while next_lease is not None:
        said = f"{episode_id}: {_named(next_lease)}"
        next_lease = _run(ports, episode, next_lease, times, stopping)
    project_episode(ports.store, ports.objects, "transcribe", episode_id)
    return said


def _named(lease: Lease) -> str:
    """What has happened when a unit is done."""
    return "transcribed" if lease.span is None or lease.span.is_join else f"chunk {lease.span.n} has ended"


def take_publisher_transcript(
    ports: TranscribePorts, episode_id: str, worker: str, times: LeaseTimes, stopping: Callable[[], bool]
) -> str | None:
    """Ends the transcription of an episode whose publisher's transcript was accepted, where it was fetched: no GPU is
    woken for it. Returns what happened, None when there is nothing of the kind.

    What goes wrong is logged and no more: the row is still there, for the next worker.
    """
    episode = ports.store.catalogue.episode(episode_id)
    if ports.captions is None or episode is None or accepted(episode.publisher) is None:
        return None
    return _taken(ports, episode_id, worker, times, stopping, "its publisher's transcript")


def take_same_audio(
    ports: TranscribePorts, episode_id: str, worker: str, times: LeaseTimes, stopping: Callable[[], bool]
) -> str | None:
    """The same for an episode that takes the transcript of another with the same audio."""
    if ports.store.work.takes_from(episode_id) is None:
        return None
    return _taken(ports, episode_id, worker, times, stopping, "the transcript of the same audio")


def _taken(
    ports: TranscribePorts, episode_id: str, worker: str, times: LeaseTimes, stopping: Callable[[], bool], what: str
) -> str | None:
    try:
        return transcribe_episode(ports, episode_id, worker, times, stopping)
    except PodinsightError as error:
        _log.warning("episode %s: %s is left to another worker: %s", episode_id, what, error)
        return None


def _run(
    ports: TranscribePorts, episode: Episode, lease: Lease, times: LeaseTimes, stopping: Callable[[], bool]
) -> Lease | None:
    """One unit under its lease; returns the lease of the join when this was the last chunk."""
    scratch: list[str] = []
    try:
        with kept(ports.store.work, lease, times, stopping, ports.on_hang) as heart:
            if lease.span is not None and lease.span.is_join:
                join_episode(ports.store, ports.objects, ports.prices, episode, lease, heart.beat, scratch)
                return None
            return _decode(ports, episode, lease, times, heart.beat, scratch)
    except Exception as error:
        discard(ports.objects, scratch, error)
        state = settle(ports.store.work, lease, error)
        error.add_note(f"episode {episode.id} is {state.value}")
        raise


def _decode(
    ports: TranscribePorts,
    episode: Episode,
    lease: Lease,
    times: LeaseTimes,
    beat: Callable[[float], None],
    scratch: list[str],
) -> Lease | None:
    span = lease.span
    if span is None or episode.audio_key is None:
        raise Permanent(f"episode {episode.id} has no audio to transcribe: fetch it first")
    started = time.monotonic()
    beat(0.0)
    part = _had(ports, episode, lease, span)
    if part is None:
        # The publisher's words and a twin's transcript were to cost nothing, and no row of an older podinsight was
        # asked about: who pays for decoding approves it first.
        for_nothing = usable(episode, lease.params) or lease.params.get("same_as")
        if for_nothing or not lease.params.get("approved"):
            ports.store.work.decode_instead(lease)
            return None
        lease = _economical(ports, lease)
        smaller = ports.smaller(str(lease.params["model"]))
        part = hear_chunk(_device(ports), ports.objects, episode, lease.params, span, beat, smaller)
    key = f"{episode.parts}/{span.n}.{lease.token}.json"
    scratch.append(key)
    ports.objects.put(key, part_to_json(part))
    wall = time.monotonic() - started
    took = Decoded(part.end - part.start, wall, part.device_seconds, part.model, part.device, part.compute_type)
    return ports.store.work.commit_chunk(lease, key, took, times.lease)


def _economical(ports: TranscribePorts, lease: Lease) -> Lease:
    """The lease by whose params the chunk is decoded: with a smaller model where economy mode is on, this machine has
    one, and nobody has begun the episode."""
    if ASKED in lease.params or not ports.store.control.read().economy:
        return lease
    model = smaller_for(lease.params, ports.saving(str(lease.params["model"])))
    if model is None or not ports.store.work.begin_smaller(lease, model):
        return lease
    _log.info("episode %s: economy mode: %s instead of %s", lease.episode_id, model, lease.params["model"])
    return replace(lease, params=saving(lease.params, model))


def _had(ports: TranscribePorts, episode: Episode, lease: Lease, span: Span) -> Part | None:
    """The part of a chunk that no device has to hear; None when speech must be decoded."""
    part = publisher_part(ports.objects, ports.captions, episode, lease.params, span) if ports.captions else None
    twin = lease.params.get("same_as")
    if part is not None or not twin:
        return part
    return same_audio_part(ports.objects, episode, ports.store.catalogue.episode(str(twin)), span)


def _device(ports: TranscribePorts) -> Transcriber:
    if ports.transcriber is None:
        raise Abandoned("this process does not decode speech: handed back")
    return ports.transcriber
