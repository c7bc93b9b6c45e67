"""Transcribing: claim a chunk, decode it, commit its part; whoever commits the last one joins them.

Where the publisher's transcript was accepted it is taken instead of decoding (F12), by the same rows and fences.
"""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from podinsight.domain import captions
from podinsight.domain.episode import Episode, TranscriptFiles
from podinsight.domain.kpis import kpis
from podinsight.domain.parts import part_from_json, part_to_json
from podinsight.domain.publisher import accepted
from podinsight.domain.transcript import PUBLISHER, Part, Transcript, join, source_of
from podinsight.domain.work import Lease
from podinsight.errors import Abandoned, Permanent, PodinsightError
from podinsight.ports import CaptionParser, ObjectStore, SpeechRequest, StatusStore, Transcriber
from podinsight.services.lease import LeaseTimes, kept
from podinsight.services.project import project_episode
from podinsight.services.publisher import publisher_part
from podinsight.services.settle import discard, settle

_log = logging.getLogger(__name__)
# Of what the publisher's words depend on besides the file: byte equality is promised within it.
_PUBLISHER_PROFILE: tuple[tuple[str, str], ...] = (("engine", "publisher captions 1"),)


@dataclass(frozen=True)
class GpuPrice:
    """What a GPU would cost: dollars an hour and how many times real time it transcribes."""

    hour_usd: float
    speed: float


@dataclass(frozen=True)
class TranscribePorts:
    """What a transcription needs. `on_hang` ends the process when a native call hangs.

    transcriber: None in a process that does not decode; it takes what publishers wrote, and hands back all else.
    captions: reads publishers' transcripts; None where they are not to be used.
    """

    store: StatusStore
    objects: ObjectStore
    transcriber: Transcriber | None
    captions: CaptionParser | None
    price: GpuPrice
    on_hang: Callable[[], None] | None = None


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
    while next_lease is not None:
        next_lease = _run(ports, episode, next_lease, times, stopping)
    project_episode(ports.store, ports.objects, "transcribe", episode_id)
    return f"{episode_id}: transcribed"


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
    try:
        return transcribe_episode(ports, episode_id, worker, times, stopping)
    except PodinsightError as error:
        _log.warning("episode %s: its publisher's transcript is left to another worker: %s", episode_id, error)
        return None


def _run(
    ports: TranscribePorts, episode: Episode, lease: Lease, times: LeaseTimes, stopping: Callable[[], bool]
) -> Lease | None:
    """One unit under its lease; returns the lease of the join when this was the last chunk."""
    scratch: list[str] = []
    try:
        with kept(ports.store.work, lease, times, stopping, ports.on_hang) as heart:
            if lease.span is not None and lease.span.is_join:
                _join(ports, episode, lease, heart.beat, scratch)
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
    part = publisher_part(ports.objects, ports.captions, episode, lease.params, span) if ports.captions else None
    if part is None:
        request = SpeechRequest(span.n, span.start, span.end, str(lease.params["model"]), _language(episode, lease))
        with ports.objects.reader(episode.audio_key) as audio:
            part = _device(ports).transcribe(audio, request, beat)
    key = f"{episode.parts}/{span.n}.{lease.token}.json"
    scratch.append(key)
    ports.objects.put(key, part_to_json(part))
    return ports.store.work.commit_chunk(lease, key, time.monotonic() - started, times.lease)


def _device(ports: TranscribePorts) -> Transcriber:
    if ports.transcriber is None:
        raise Abandoned("this process does not decode speech: handed back")
    return ports.transcriber


def _language(episode: Episode, lease: Lease) -> str | None:
    """The language asked for, else detected: what feeds declare is too often wrong to skip detection for."""
    language = lease.params.get("language")
    return str(language) if language else None


def _join(
    ports: TranscribePorts, episode: Episode, lease: Lease, beat: Callable[[float], None], scratch: list[str]
) -> None:
    model = str(lease.params["model"])
    parts = [part_from_json(ports.objects.get(key)) for key in ports.store.work.parts(episode.id)]
    beat(0.0)
    if source_of(parts) == PUBLISHER:
        model, profile = PUBLISHER, _PUBLISHER_PROFILE
    else:
        profile = _device(ports).profile(model)
    transcript = join(parts, model, profile)
    bodies = _render(episode, transcript, parts, ports.price)
    folder = f"{episode.attempts('transcribe')}/{lease.token}"
    files = [(f"{folder}/{name.rsplit('/', 1)[-1]}", f"{episode.stage}/{name}") for name in bodies]
    scratch.extend(attempt for attempt, _fixed in files)
    for (attempt, _fixed), body in zip(files, bodies.values(), strict=True):
        ports.objects.put(attempt, body.encode())
        beat(0.0)
    ports.store.work.commit_transcript(
        lease,
        TranscriptFiles(
            files=tuple(files),
            transcript_key=f"{episode.stage}/transcripts/transcript.json",
            model=model,
            words=transcript.words,
            audio_seconds=transcript.duration,
            wall_seconds=sum(part.wall_seconds for part in parts),
            device_seconds=sum(part.device_seconds for part in parts),
        ),
    )


def _render(episode: Episode, transcript: Transcript, parts: list[Part], price: GpuPrice) -> dict[str, str]:
    """File name below the episode's stage folder → text (T5)."""
    figures = kpis(transcript, parts, gpu_hour_usd=price.hour_usd, gpu_speed=price.speed)
    return {
        "transcripts/transcript.json": captions.to_json(transcript, episode),
        "transcripts/transcript.vtt": captions.to_vtt(transcript),
        "transcripts/transcript.srt": captions.to_srt(transcript),
        "transcripts/transcript.txt": captions.to_txt(transcript, episode.title),
        "segments/segments.json": captions.to_jsonl(transcript),
        "kpis/kpis.json": json.dumps(figures, indent=2, sort_keys=True) + "\n",
    }
