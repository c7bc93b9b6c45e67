"""Hearing one chunk: its own audio, its part of the plan, the language of its episode; then it is decoded."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from io import BytesIO
from typing import BinaryIO, Final

from podinsight.domain.episode import Episode
from podinsight.domain.plan import SpeechPlan, plan_from_json
from podinsight.domain.transcript import Part
from podinsight.domain.work import Span
from podinsight.errors import Permanent
from podinsight.ports import ObjectStore, SpeechRequest, Transcriber
from podinsight.ports.work import NO_DEVICE
from podinsight.services.decode import Beat, OpenAudio, decode, detect
from podinsight.services.stored import stored

LANGUAGE_SCHEMA: Final = "podinsight/language/1"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Chunk:
    """Where a chunk is heard. offset: episode time of the first sample."""

    open: OpenAudio
    offset: float


def hear_chunk(
    transcriber: Transcriber,
    objects: ObjectStore,
    episode: Episode,
    params: Mapping[str, object],
    span: Span,
    beat: Beat,
    smaller: Sequence[str],
) -> Part:
    """Decodes one chunk of an episode.

    params: of the transcribe row. `plan`: the folder of the chunks' audio; without it (rows of an older podinsight) the
    span is decoded from the episode's audio, and so it is when the chunk's own is gone: the samples are the same.
    smaller: models that may stand in where memory does not do.

    Raises:
        PodinsightError: as services.decode and the object store say.
    """
    folder = str(params["plan"]) if params.get("plan") else None
    plan = _plan(objects, episode, folder)
    if plan is not None and not plan.speech_in(span):
        return _silence(plan, span, _text(params, "language"))
    chunk = _audio(objects, episode, folder, span)
    beat(0.0)
    language, probability = _language(transcriber, objects, episode, params, plan, beat, smaller)
    request = SpeechRequest(
        span.n,
        span.start,
        span.end,
        str(params["model"]),
        language,
        offset=chunk.offset,
        speech=plan.speech_in(span) if plan else None,
        prompt=_text(params, "prompt"),
        hotwords=_text(params, "hotwords"),
        words=params.get("words") is True,
        batch=int(str(params.get("batch") or 0)),
    )
    part = decode(transcriber, chunk.open, request, beat, smaller, episode.id)
    if probability is not None and part.language == language:
        part = replace(part, language_probability=probability)
    return part


def _silence(plan: SpeechPlan, span: Span, language: str | None) -> Part:
    """The part of a chunk in which nobody speaks: it costs no device, and its audio, hours perhaps, is not loaded."""
    end = plan.seconds if span.end is None else span.end
    return Part(
        n=span.n,
        start=span.start,
        end=end,
        language=language or "und",
        language_probability=1.0 if language else 0.0,
        segments=(),
        speech_seconds=0.0,
        wall_seconds=0.0,
        device_seconds=0.0,
        device=NO_DEVICE,
        compute_type=NO_DEVICE,
    )


def _text(params: Mapping[str, object], name: str) -> str | None:
    value = params.get(name)
    return str(value) if value else None


def _plan(objects: ObjectStore, episode: Episode, folder: str | None) -> SpeechPlan | None:
    """The plan, from its folder or under its fixed name; None when there is none to be had."""
    if folder is None:
        return None
    for key in (f"{folder}/plan.json", episode.plan_name):
        data = stored(objects, key)
        if data is not None:
            try:
                return plan_from_json(data)
            except ValueError as error:
                _log.warning("episode %s: %s: %s", episode.id, key, error)
    _log.warning("episode %s: its plan is gone: speech is looked for anew", episode.id)
    return None


def _audio(objects: ObjectStore, episode: Episode, folder: str | None, span: Span) -> _Chunk:
    """A chunk's own audio is a few megabytes and is loaded whole, so that the device never waits for the store."""
    data = stored(objects, f"{folder}/{span.n}.flac") if folder is not None else None
    if data is not None:
        return _Chunk(lambda: nullcontext(BytesIO(data)), span.start)
    return _Chunk(_whole(objects, episode), 0.0)


def _whole(objects: ObjectStore, episode: Episode) -> OpenAudio:
    key = episode.audio_key
    if key is None:
        raise Permanent(f"episode {episode.id} has no audio to transcribe: fetch it first")

    def opened() -> AbstractContextManager[BinaryIO]:
        return objects.reader(key)

    return opened


def _language(
    transcriber: Transcriber,
    objects: ObjectStore,
    episode: Episode,
    params: Mapping[str, object],
    plan: SpeechPlan | None,
    beat: Callable[[float], None],
    smaller: Sequence[str],
) -> tuple[str | None, float | None]:
    """The language asked for, else the one detected in the first chunk in which somebody speaks, with its probability:
    one for the whole episode, whichever chunk comes first. What feeds declare is too often wrong to rely on.

    None: nobody speaks, or there is no plan to go by; each chunk is then on its own.
    """
    asked = _text(params, "language")
    if asked is not None or plan is None or not plan.speech:
        return asked, None
    folder, model = str(params["plan"]), str(params["model"])
    known = _known_language(objects, f"{folder}/language.json")
    if known is None:
        first = _audio(objects, episode, folder, plan.first_spoken())
        language, probability = detect(transcriber, first.open, model, beat, smaller, episode.id)
        known = language, round(probability, 3)
        document = {"schema": LANGUAGE_SCHEMA, "language": known[0], "probability": known[1]}
        beat(0.0)  # who has lost the lease by now writes into a folder that may be swept already
        objects.put(f"{folder}/language.json", json.dumps(document).encode() + b"\n")
    language, probability = known
    return (language, probability) if language else (None, None)


def _known_language(objects: ObjectStore, key: str) -> tuple[str, float] | None:
    data = stored(objects, key)
    if data is None:
        return None
    try:
        match json.loads(data):
            case {
                "schema": "podinsight/language/1",
                "language": str(language),
                "probability": int() | float() as found,
            }:
                return language, float(found)
    except ValueError:
        pass
    _log.warning("%s is no language: it is detected anew", key)
    return None
