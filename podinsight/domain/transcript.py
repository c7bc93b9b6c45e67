"""Transcripts: segments in episode time, and joining parts into one (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

WHISPER: Final = "whisper"
PUBLISHER: Final = "publisher"  # also the name of the model of what no model has heard (F12)


@dataclass(frozen=True)
class Word:
    """One word as it stands in its segment's text, with its times in seconds of episode time (milliseconds)."""

    start: float
    end: float
    text: str
    probability: float | None = None


@dataclass(frozen=True)
class Segment:
    """A line of speech: `start` and `end` in seconds of episode time, rounded to milliseconds.

    speaker: the name that the publisher gives; None when nobody says who speaks. words: with their times, when they
    were asked for. doubt: why it may be wrong (`loop`, `low confidence` …); empty when nothing speaks against it.
    """

    start: float
    end: float
    text: str
    avg_logprob: float | None = None
    no_speech_prob: float | None = None
    compression_ratio: float | None = None
    speaker: str | None = None
    words: tuple[Word, ...] = ()
    doubt: str = ""


@dataclass(frozen=True)
class Part:
    """What one chunk gave. `speech_seconds` is what voice activity kept; wall and device seconds vary by run.

    source: WHISPER or PUBLISHER. model, profile: what decoded it, and what byte equality is promised within
    (DESIGN.md, idea 5). Of the speech seconds: `covered_seconds` have words, `redecoded_seconds` were decoded again
    because the coverage check objected, `doubtful_seconds` stay doubtful. same_as: id of the episode with the same
    audio whose transcript it was made from instead (F10).
    """

    n: int
    start: float
    end: float
    language: str
    language_probability: float
    segments: tuple[Segment, ...]
    speech_seconds: float
    wall_seconds: float
    device_seconds: float
    device: str
    compute_type: str
    source: str = WHISPER
    model: str = ""
    profile: tuple[tuple[str, str], ...] = ()
    covered_seconds: float = 0.0
    redecoded_seconds: float = 0.0
    doubtful_seconds: float = 0.0
    same_as: str = ""

    @property
    def silent(self) -> bool:
        """Nobody speaks in it, by the episode's plan: no device has heard it, and no model is to be named for it."""
        return self.source == WHISPER and self.device == "none" and not self.same_as


@dataclass(frozen=True)
class Transcript:
    """A whole transcript. `profile` pins what byte equality is promised within (DESIGN.md, idea 5).

    source: that of its parts, `mixed` when they have several.
    """

    language: str
    duration: float
    model: str
    profile: tuple[tuple[str, str], ...]
    segments: tuple[Segment, ...]
    source: str = WHISPER

    @property
    def words(self) -> int:
        return sum(len(segment.text.split()) for segment in self.segments)

    @property
    def speakers(self) -> tuple[str, ...]:
        """Names in the order in which they first speak: a speaker's number is the place here."""
        return tuple(dict.fromkeys(segment.speaker for segment in self.segments if segment.speaker))


def source_of(parts: Sequence[Part]) -> str:
    """WHISPER, PUBLISHER, or `mixed`."""
    sources = {part.source for part in parts}
    return sources.pop() if len(sources) == 1 else "mixed"


def join(parts: Sequence[Part], model: str, profile: tuple[tuple[str, str], ...]) -> Transcript:
    """Joins parts, whatever their order, into one transcript whose times are monotone, its words' too.

    Raises:
        ValueError: no parts, or a part is missing or doubled.
    """
    ordered = sorted(parts, key=lambda part: part.n)
    if [part.n for part in ordered] != list(range(len(ordered))) or not ordered:
        raise ValueError(f"cannot join parts {[part.n for part in ordered]}: expected 0 … {len(ordered) - 1}")
    segments: list[Segment] = []
    for part in ordered:
        for segment in part.segments:
            floor = segments[-1].end if segments else 0.0
            start = max(segment.start, floor)
            end = max(segment.end, start)
            segments.append(replace(segment, start=start, end=end, words=_inside(segment.words, start, end)))
    longest = max(ordered, key=lambda part: (part.speech_seconds, -part.n))
    return Transcript(longest.language, ordered[-1].end, model, profile, tuple(segments), source_of(ordered))


def _inside(words: Sequence[Word], start: float, end: float) -> tuple[Word, ...]:
    """The same words with monotone times in [start, end]."""
    found: list[Word] = []
    for word in words:
        start = min(max(word.start, start), end)
        after = min(max(word.end, start), end)
        found.append(replace(word, start=start, end=after))
        start = after
    return tuple(found)
