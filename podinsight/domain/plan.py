"""The speech plan of an episode: where somebody speaks, and the chunks that are cut in the pauses between. Pure.

Times are whole milliseconds inside, so plan.json and the rows carry exactly the same numbers.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from podinsight.domain.work import Span

PLAN_SCHEMA: Final = "podinsight/plan/1"
SHORTEST_SHARE: Final = 0.25  # of the length aimed at: no chunk but the whole of a short episode is shorter
LONGEST_SHARE: Final = 1.75  # … and none is longer
_NEAR: Final = 0.2  # of the length aimed at: within so much of the target the longest pause is taken
_ALONE: Final = 1.5  # chunks: what is shorter stays one

Stretch = tuple[float, float]  # from, to: seconds of episode time
_Ms = tuple[int, int]


@dataclass(frozen=True)
class SpeechPlan:
    """What plan.json holds: the audio's seconds, where somebody speaks, the chunks, and what found the speech."""

    seconds: float
    speech: tuple[Stretch, ...]
    chunks: tuple[Span, ...]
    profile: tuple[tuple[str, str], ...] = ()

    def speech_in(self, span: Span) -> tuple[Stretch, ...]:
        """Where somebody speaks in a chunk: the stretches that reach into it, clipped to it."""
        end = self.seconds if span.end is None else span.end
        clipped = ((max(since, span.start), min(until, end)) for since, until in self.speech)
        return tuple((since, until) for since, until in clipped if since < until)

    def first_spoken(self) -> Span:
        """The first chunk in which somebody speaks; the first of all when nobody does."""
        return next((span for span in self.chunks if self.speech_in(span)), self.chunks[0])


def make_plan(
    seconds: float, speech: Sequence[Stretch], chunk_seconds: float, profile: tuple[tuple[str, str], ...] = ()
) -> SpeechPlan:
    """The plan of an episode.

    Chunks cover [0, seconds] without gaps or overlaps, of about equal length, so that several workers end together.
    Each is cut in the middle of the longest pause near its target, else in the nearest pause; within speech only where
    somebody speaks without a pause for 1.5 times the length aimed at, and then at the target. That length is what
    remains divided by how often `chunk_seconds` fits in it, so a cut that is off makes none of the others so. Episodes
    shorter than 1.5 chunks, and those in which nobody speaks, are one chunk.

    Args:
        seconds: of audio, more than 0.
        speech: where somebody speaks, in any order, in seconds.
        chunk_seconds: length to aim at.

    Raises:
        ValueError: there is no audio.
    """
    end = math.ceil(round(1000 * seconds, 6))
    if end <= 0:
        raise ValueError(f"no plan for {seconds} seconds of audio")
    spoken = _merged(speech, end)
    cuts = [0, *_cuts(end, spoken, 1000 * chunk_seconds), end]
    spans = tuple(Span(n, since / 1000, until / 1000) for n, (since, until) in enumerate(pairwise(cuts)))
    return SpeechPlan(end / 1000, tuple((since / 1000, until / 1000) for since, until in spoken), spans, profile)


def _merged(speech: Sequence[Stretch], end: int) -> list[_Ms]:
    """Stretches in order, inside the audio, those that touch or overlap as one."""
    found: list[_Ms] = []
    for since, until in sorted((max(0, round(1000 * a)), min(end, round(1000 * b))) for a, b in speech):
        if since >= until:
            continue
        if found and since <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], until))
        else:
            found.append((since, until))
    return found


def _cuts(end: int, spoken: Sequence[_Ms], chunk: float) -> Iterator[int]:
    if not spoken:
        return
    edges = [0, *(edge for stretch in spoken for edge in stretch), end]
    pauses = [(since, until) for since, until in zip(edges[::2], edges[1::2], strict=True) if since < until]
    at = 0
    while end - at >= _ALONE * chunk:
        aim = (end - at) / round((end - at) / chunk)
        at = _cut(at, aim, pauses)
        yield at


def _cut(at: int, aim: float, pauses: Sequence[_Ms]) -> int:
    """Where the chunk that begins at `at` ends: the window for it is 1.5 times as long as the chunk is to be."""
    target = round(at + aim)
    near = _inside(pauses, target - _NEAR * aim, target + _NEAR * aim)
    if near:
        since, until = max(near, key=lambda pause: (pause[1] - pause[0], -abs(sum(pause) - 2 * target)))
        return (since + until) // 2
    anywhere = _inside(pauses, at + SHORTEST_SHARE * aim, at + LONGEST_SHARE * aim)
    middles = [(since + until) // 2 for since, until in anywhere]
    return min(middles, key=lambda middle: (abs(middle - target), middle), default=target)


def _inside(pauses: Sequence[_Ms], first: float, last: float) -> list[_Ms]:
    """The pauses, clipped to a window."""
    low, high = math.ceil(first), math.floor(last)
    clipped = ((max(since, low), min(until, high)) for since, until in pauses)
    return [(since, until) for since, until in clipped if since < until]


def plan_to_json(plan: SpeechPlan) -> bytes:
    """UTF-8 JSON, schema `podinsight/plan/1`; the same plan gives the same bytes."""
    document = {
        "schema": PLAN_SCHEMA,
        "seconds": plan.seconds,
        "voice_activity": dict(plan.profile),
        "speech_ms": [[round(1000 * since), round(1000 * until)] for since, until in plan.speech],
        "chunks": [{"n": span.n, "start": span.start, "end": span.end} for span in plan.chunks],
    }
    return json.dumps(document, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def plan_from_json(data: bytes) -> SpeechPlan:
    """The plan that `plan_to_json` wrote.

    Raises:
        ValueError: not a plan, saying what is wrong with it.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not a plan: {error}") from error
    if not isinstance(document, dict) or document.get("schema") != PLAN_SCHEMA:
        raise ValueError(f"not a plan: its schema is not {PLAN_SCHEMA}")
    seconds = _number(document.get("seconds"))
    speech = tuple(_stretch(each) for each in _list(document, "speech_ms"))
    chunks = tuple(_chunk(each) for each in _list(document, "chunks"))
    if any(one[1] > two[0] for one, two in pairwise(speech)) or (speech and speech[-1][1] > seconds):
        raise ValueError("not a plan: its speech is not in order")
    edges = [edge for span in chunks for edge in (span.start, span.end)]
    if [span.n for span in chunks] != list(range(len(chunks))) or not chunks or edges[0] != 0 or edges[-1] != seconds:
        raise ValueError("not a plan: its chunks do not cover the audio")
    if any(one.end != two.start for one, two in pairwise(chunks)):
        raise ValueError("not a plan: its chunks do not follow each other")
    profile = document.get("voice_activity")
    if not isinstance(profile, dict) or not all(isinstance(value, str) for value in profile.values()):
        raise ValueError("not a plan: voice_activity is no profile")
    return SpeechPlan(seconds, speech, chunks, tuple(profile.items()))


def _list(document: Mapping[str, object], name: str) -> list[object]:
    value = document.get(name)
    if not isinstance(value, list):
        raise ValueError(f"not a plan: {name} is no list")
    return value


def _stretch(value: object) -> Stretch:
    match value:
        case [int(since), int(until)] if not isinstance(since, bool) and 0 <= since < until:
            return since / 1000, until / 1000
    raise ValueError(f"not a plan: {value!r} is no stretch of speech")


def _chunk(value: object) -> Span:
    match value:
        case {"n": int(n), "start": start, "end": end}:
            span = Span(n, _number(start), _number(end))
            if span.end is not None and span.start < span.end:
                return span
    raise ValueError(f"not a plan: {value!r} is no chunk")


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"not a plan: {value!r} is no number of seconds")
    return float(value)
