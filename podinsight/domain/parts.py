"""Parts as objects: what a worker commits for one chunk, and the join reads back exactly."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Final

from podinsight.domain.captions import TRANSCRIPT_SCHEMA
from podinsight.domain.transcript import WHISPER, Part, Segment, Word
from podinsight.domain.work import Span

PART_SCHEMA: Final = "podinsight/part/2"
_OLDER: Final = ("podinsight/part/1",)  # what a worker of the last release commits while this one joins
_SCORES: Final = ("avg_logprob", "no_speech_prob", "compression_ratio")
_SHARES: Final = ("coverage", "redecoded_share", "doubtful_share")


def part_to_json(part: Part) -> bytes:
    """UTF-8 JSON, schema `podinsight/part/2`; floats keep every digit.

    Raises:
        ValueError: a number is not finite.
    """
    document = {
        "schema": PART_SCHEMA,
        "n": part.n,
        "start": part.start,
        "end": part.end,
        "language": part.language,
        "language_probability": part.language_probability,
        "speech_seconds": part.speech_seconds,
        "covered_seconds": part.covered_seconds,
        "redecoded_seconds": part.redecoded_seconds,
        "doubtful_seconds": part.doubtful_seconds,
        "wall_seconds": part.wall_seconds,
        "device_seconds": part.device_seconds,
        "device": part.device,
        "compute_type": part.compute_type,
        "source": part.source,
        "model": part.model,
        "profile": [list(fact) for fact in part.profile],
        **({"same_as": part.same_as} if part.same_as else {}),
        "segments": [
            {
                "start": segment.start,
                "end": segment.end,
                "text": segment.text,
                **{name: getattr(segment, name) for name in _SCORES},
                "speaker": segment.speaker,
                "words": [[word.start, word.end, word.text, word.probability] for word in segment.words],
                "doubt": segment.doubt,
            }
            for segment in part.segments
        ],
    }
    # Kept in ASCII, so that even a lone surrogate in a text survives the way there and back.
    return json.dumps(document, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"


def part_from_json(data: bytes) -> Part:
    """The part that `part_to_json` wrote, of this release or the last.

    Raises:
        ValueError: not a part, saying what is wrong with it.
    """
    fields = _document(data, "a part")
    if fields.get("schema") not in (PART_SCHEMA, *_OLDER):
        raise ValueError(f"not a part: schema {fields.get('schema')!r} instead of {PART_SCHEMA!r}")
    return Part(
        n=_whole(fields, "n"),
        start=_number(fields, "start"),
        end=_number(fields, "end"),
        language=_text(fields, "language"),
        language_probability=_number(fields, "language_probability"),
        segments=tuple(_segment(_object(segment, "a segment")) for segment in _list(fields, "segments")),
        speech_seconds=_number(fields, "speech_seconds"),
        wall_seconds=_number(fields, "wall_seconds"),
        device_seconds=_number(fields, "device_seconds"),
        device=_text(fields, "device"),
        compute_type=_text(fields, "compute_type"),
        source=_text(fields, "source") if "source" in fields else WHISPER,
        model=_text(fields, "model") if "model" in fields else "",
        profile=tuple(_fact(fact) for fact in _list(fields, "profile")) if "profile" in fields else (),
        covered_seconds=_coverage(fields, "covered_seconds"),
        redecoded_seconds=_coverage(fields, "redecoded_seconds"),
        doubtful_seconds=_coverage(fields, "doubtful_seconds"),
        same_as=_text(fields, "same_as") if "same_as" in fields else "",
    )


def part_from_transcript(transcript: bytes, kpis: bytes | None, span: Span, same_as: str) -> Part:
    """The part that gives these files again: another episode with the same audio is transcribed by them (F10).

    No device has heard it, so it took no device time. How much of the speech has words comes from `kpis`, where that is
    of the same transcript; else nobody knows it.

    Args:
        transcript, kpis: transcript.json and kpis.json of the other episode; `same_as` is its id.

    Raises:
        ValueError: not a transcript of ours that Whisper has made, saying what is wrong with it.
    """
    fields = _document(transcript, "a transcript")
    if fields.get("schema") != TRANSCRIPT_SCHEMA or fields.get("source") != WHISPER:
        raise ValueError(f"not a decoded transcript: {fields.get('schema')!r} from {fields.get('source')!r}")
    profile = _object(fields.get("profile"), "a profile")
    speakers = [str(name) for name in _list(fields, "speakers")]
    segments = tuple(_said(_object(each, "a segment"), speakers) for each in _list(fields, "segments"))
    model, measured = _text(fields, "model"), _measured(fields, kpis)
    speech = measured.get("speech_seconds", 0.0)
    return Part(
        n=span.n,
        start=span.start,
        end=_number(fields, "duration"),
        language=_text(fields, "language"),
        language_probability=1.0,
        segments=segments,
        speech_seconds=speech,
        wall_seconds=0.0,
        device_seconds=0.0,
        device="none",
        compute_type="none",
        model=model,
        profile=tuple((name, str(said)) for name, said in profile.items()),
        covered_seconds=speech * measured.get("coverage", 0.0),
        redecoded_seconds=speech * measured.get("redecoded_share", 0.0),
        doubtful_seconds=speech * measured.get("doubtful_share", 0.0),
        same_as=same_as,
    )


def _measured(transcript: Mapping[str, object], kpis: bytes | None) -> dict[str, float]:
    """Seconds of speech and the shares of it, by kpis.json; empty when it says none, or is of another transcript."""
    try:
        fields = _document(kpis or b"", "kpis")
        if any(fields.get(name) != transcript.get(name) for name in ("source", "model", "words")):
            return {}
        return {name: _number(fields, name) for name in ("speech_seconds", *_SHARES)}
    except ValueError:
        return {}


def _said(fields: Mapping[str, object], speakers: Sequence[str]) -> Segment:
    """A segment of a transcript.json: its speaker is a number there, and its words have names for their values."""
    number = None if fields.get("speaker") is None else _whole(fields, "speaker")
    if number is not None and not 0 <= number < len(speakers):
        raise ValueError(f"not a transcript: no speaker has the number {number}")
    words = [_object(word, "a word") for word in _list(fields, "words")] if "words" in fields else []
    return _segment(
        {
            **fields,
            "speaker": None if number is None else speakers[number],
            "words": [[word.get(name) for name in ("start", "end", "text", "probability")] for word in words],
        }
    )


def _document(data: bytes, what: str) -> Mapping[str, object]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not {what}: {error}") from error
    return _object(document, what)


def _coverage(fields: Mapping[str, object], name: str) -> float:
    return _number(fields, name) if name in fields else 0.0


def _segment(fields: Mapping[str, object]) -> Segment:
    scores = {name: None if fields.get(name) is None else _number(fields, name) for name in _SCORES}
    return Segment(
        _number(fields, "start"),
        _number(fields, "end"),
        _text(fields, "text"),
        avg_logprob=scores["avg_logprob"],
        no_speech_prob=scores["no_speech_prob"],
        compression_ratio=scores["compression_ratio"],
        speaker=None if fields.get("speaker") is None else _text(fields, "speaker"),
        words=tuple(_word(word) for word in _list(fields, "words")) if "words" in fields else (),
        doubt=_text(fields, "doubt") if "doubt" in fields else "",
    )


def _word(value: object) -> Word:
    if not isinstance(value, list) or len(value) != 4:
        raise ValueError(f"not a part: a word is {value!r}")
    fields = dict(zip(("start", "end", "text", "probability"), value, strict=True))
    probability = None if fields["probability"] is None else _number(fields, "probability")
    return Word(_number(fields, "start"), _number(fields, "end"), _text(fields, "text"), probability)


def _fact(value: object) -> tuple[str, str]:
    match value:
        case [str(name), str(said)]:
            return name, said
    raise ValueError(f"not a part: {value!r} is no fact of a profile")


def _object(value: object, what: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"not {what}: a JSON object was expected")
    return value


def _list(fields: Mapping[str, object], name: str) -> list[object]:
    value = fields.get(name)
    if not isinstance(value, list):
        raise ValueError(f"not a part: {name} is no list")
    return value


def _number(fields: Mapping[str, object], name: str) -> float:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"not a part: {name} is {value!r}, no number")
    try:
        number = float(value)
    except OverflowError as error:
        raise ValueError(f"not a part: {name} is too large") from error
    if not math.isfinite(number):
        raise ValueError(f"not a part: {name} is {value!r}")
    return number


def _whole(fields: Mapping[str, object], name: str) -> int:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"not a part: {name} is {value!r}, no whole number")
    return value


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise ValueError(f"not a part: {name} is {value!r}, no text")
    return value
