"""Joining: the parts of an episode as one transcript, and its files (T5)."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from podinsight.domain import captions
from podinsight.domain.better import Quality, quality, worse
from podinsight.domain.episode import Episode, TranscriptFiles
from podinsight.domain.kpis import kpis
from podinsight.domain.parts import part_from_json
from podinsight.domain.prices import PriceBook
from podinsight.domain.transcript import PUBLISHER, Part, Transcript, join, source_of
from podinsight.domain.work import Lease
from podinsight.errors import Permanent
from podinsight.ports import ObjectStore, StatusStore
from podinsight.services.stored import stored

_log = logging.getLogger(__name__)

# Of what the publisher's words depend on besides the file: byte equality is promised within it.
_PUBLISHER_PROFILE: tuple[tuple[str, str], ...] = (("engine", "publisher captions 1"),)


@dataclass(frozen=True)
class KpiPrices:
    """What kpis.json reckons with: what devices cost, as the ledger has it, and how many times real time a rented GPU
    transcribes."""

    book: PriceBook
    gpu_speed: float


def join_episode(
    store: StatusStore,
    objects: ObjectStore,
    prices: KpiPrices,
    episode: Episode,
    lease: Lease,
    beat: Callable[[float], None],
    scratch: list[str],
) -> None:
    """Joins the committed parts under the lease of the join and commits the transcript.

    Where a better transcript is there already it stays (T6), unless the row's params say `replace`: then the commit
    says why and has no files.

    scratch: gets the keys that are written, for the caller to delete when this raises.

    Where parts are gone or unreadable their chunks start over instead, and only they.

    Raises:
        PodinsightError: why it did not succeed; nothing is committed then.
    """
    parts, lost = _read(objects, store.work.parts(episode.id), beat)
    if lost:
        reason = next(iter(lost.values()))
        _log.warning("episode %s: %d of its chunks start over: %s", episode.id, len(lost), reason)
        store.work.lose_parts(lease, list(lost), reason)
        return
    model, profile = _decoded_by(parts, str(lease.params.get("model", "")))
    transcript = join(parts, model, profile)
    figures = kpis(transcript, parts, prices.book, prices.gpu_speed)
    made = TranscriptFiles(
        files=(),
        transcript_key=f"{episode.stage}/transcripts/transcript.json",
        model=model,
        words=transcript.words,
        audio_seconds=transcript.duration,
        wall_seconds=sum(part.wall_seconds for part in parts),
        device_seconds=sum(part.device_seconds for part in parts),
    )
    reason = "" if lease.params.get("replace") is True else _reason_to_keep(objects, episode, figures)
    if reason and episode.transcript_key is not None:
        _log.warning("episode %s: the transcript that is there stays: %s", episode.id, reason)
        old = replace(made, transcript_key=episode.transcript_key, model=episode.model or "")
        store.work.commit_transcript(lease, replace(old, kept=f"the transcript that is there stays: {reason}"))
        return
    bodies = _render(episode, transcript, figures, beat)
    folder = f"{episode.attempts('transcribe')}/{lease.token}"
    files = [(f"{folder}/{name.rsplit('/', 1)[-1]}", f"{episode.stage}/{name}") for name in bodies]
    scratch.extend(attempt for attempt, _fixed in files)
    for (attempt, _fixed), body in zip(files, bodies.values(), strict=True):
        objects.put(attempt, body.encode())
        beat(0.0)
    store.work.commit_transcript(lease, replace(made, files=tuple(files)))


def _read(
    objects: ObjectStore, keys: Sequence[str], beat: Callable[[float], None]
) -> tuple[list[Part], dict[str, str]]:
    """The parts under these keys, which are in the order of the chunks; and what is wrong with those that are not."""
    parts: list[Part] = []
    lost: dict[str, str] = {}
    for n, key in enumerate(keys):
        try:
            data = stored(objects, key)
            part = part_from_json(data) if data is not None else None
            if part is None or part.n != n:
                lost[key] = f"{key} is gone" if part is None else f"{key} is of another chunk"
            else:
                parts.append(part)
        except ValueError as error:
            lost[key] = f"{key}: {error}"
        beat(0.0)
    return parts, lost


def _reason_to_keep(objects: ObjectStore, episode: Episode, figures: Mapping[str, object]) -> str:
    """Why the transcript that is there must stay; empty when there is none, or none that is better."""
    if episode.transcript_key is None or not objects.exists(episode.transcript_key):
        return ""
    old = _quality_there(objects, episode)
    return worse(quality(figures), old) if old else "it has no kpis.json that says how good it is"


def _quality_there(objects: ObjectStore, episode: Episode) -> Quality | None:
    try:
        document = json.loads(objects.get(f"{episode.stage}/kpis/kpis.json"))
        return quality(document) if isinstance(document, dict) else None
    except (Permanent, ValueError, RecursionError):
        return None


def _decoded_by(parts: list[Part], asked: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Model and profile; several, where chunks were decoded differently, by the order of the chunks. A part of an
    older podinsight does not say its model: it is the one that was asked for."""
    if source_of(parts) == PUBLISHER:
        return PUBLISHER, _PUBLISHER_PROFILE
    heard = [part for part in parts if not part.silent] or parts
    models = dict.fromkeys(PUBLISHER if part.source == PUBLISHER else part.model or asked for part in heard)
    facts: dict[str, dict[str, None]] = {}
    for part in parts:
        for name, value in part.profile:
            facts.setdefault(name, {})[value] = None
    return ", ".join(models), tuple((name, ", ".join(values)) for name, values in facts.items())


def _render(
    episode: Episode, transcript: Transcript, figures: Mapping[str, object], beat: Callable[[float], None]
) -> dict[str, str]:
    """File name below the episode's stage folder → text (T5)."""
    texts: dict[str, Callable[[], str]] = {
        "transcripts/transcript.json": lambda: captions.to_json(transcript, episode),
        "transcripts/transcript.vtt": lambda: captions.to_vtt(transcript),
        "transcripts/transcript.srt": lambda: captions.to_srt(transcript),
        "transcripts/transcript.txt": lambda: captions.to_txt(transcript, episode.title),
        "segments/segments.json": lambda: captions.to_jsonl(transcript),
        "kpis/kpis.json": lambda: json.dumps(figures, indent=2, sort_keys=True) + "\n",
    }
    bodies: dict[str, str] = {}
    for name, text in texts.items():
        bodies[name] = text()
        beat(0.0)
    return bodies
