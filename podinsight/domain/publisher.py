"""Publisher transcripts (F12): which to ask for, whether to believe one, what becomes of it. Pure; standard library."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, Literal
from urllib.parse import urlsplit

from podinsight.domain.episode import Episode, PublisherTranscript
from podinsight.domain.feed import TranscriptLink
from podinsight.domain.transcript import PUBLISHER, Part, Segment
from podinsight.domain.work import Span

Kind = Literal["json", "vtt", "srt"]

MOST_REQUESTS: Final = 3  # an episode; a publisher who offers more offers the same in other forms
LINE_CHARACTERS: Final = 84  # two caption lines: what word-by-word files are put together to
LINE_PAUSE: Final = 1.0  # seconds of silence that end a line in any case
_WORDY: Final = 3.0  # words a cue on average, below which a file is word by word
_PREFERENCE: Final[tuple[Kind, ...]] = ("json", "vtt", "srt")
_KIND_OF_TYPE: Final[Mapping[str, Kind]] = {
    "application/json": "json",
    "text/json": "json",
    "text/vtt": "vtt",
    "application/vtt": "vtt",
    "text/webvtt": "vtt",
    "application/srt": "srt",
    "text/srt": "srt",
    "application/x-subrip": "srt",
    "application/x-srt": "srt",
    "text/x-srt": "srt",
}
_UNTOLD: Final = frozenset({"", "text/plain", "application/octet-stream", "binary/octet-stream"})
_SENTENCE_END: Final = re.compile(r"[.?!…。！？][\"'”’»)\]]*$")
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}")


@dataclass(frozen=True)
class Cue:
    """What a publisher says was spoken from `start` to `end` (seconds). `text` is one line without markup."""

    start: float
    end: float
    text: str
    speaker: str | None = None


@dataclass(frozen=True)
class Captions:
    """A parsed file: what it turned out to be, and its cues in the order of the file."""

    kind: Kind
    cues: tuple[Cue, ...]


def kind_of(link: TranscriptLink) -> Kind | None:
    """The format a link promises; None for what gives no times (HTML, plain text) or is unknown.

    The type says it; where that says nothing, the URL's ending does (many servers call SubRip `text/plain`).
    """
    declared = link.type.partition(";")[0].strip().lower()
    if declared in _KIND_OF_TYPE:
        return _KIND_OF_TYPE[declared]
    if declared not in _UNTOLD:
        return None
    try:
        ending = urlsplit(link.url).path.rpartition(".")[2].lower()
    except ValueError:
        return None
    return next((kind for kind in _PREFERENCE if kind == ending), None)


def wanted(episode: Episode) -> list[tuple[TranscriptLink, Kind]]:
    """The links to ask for, best first, at most MOST_REQUESTS.

    The episode's language first, then those that name none; JSON (it names speakers best) before VTT before SRT. One
    in another language is a translation and not what is spoken: it is left out.
    """
    spoken = primary(episode.language)
    found: list[tuple[tuple[int, int], TranscriptLink, Kind]] = []
    for link in dict.fromkeys(episode.transcripts):
        kind, language = kind_of(link), primary(link.language)
        if kind is None or (language and spoken and language != spoken):
            continue
        found.append(((0 if language else 1, _PREFERENCE.index(kind)), link, kind))
    found.sort(key=lambda each: each[0])
    return [(link, kind) for _rank, link, kind in found[:MOST_REQUESTS]]


def primary(language: str | None) -> str:
    """The language alone of a tag such as `en-US`; empty when there is none."""
    found = _LANGUAGE.match((language or "").strip().lower())
    return found.group() if found else ""


def accepted(publisher: Iterable[PublisherTranscript]) -> PublisherTranscript | None:
    """The one that passed the check, if one did."""
    return next((each for each in publisher if each.accepted), None)


def usable(episode: Episode, params: Mapping[str, object]) -> PublisherTranscript | None:
    """The publisher's transcript to take instead of decoding; None when there is none or the row asks otherwise.

    Args:
        params: of the transcribe row. `publisher` False: decode in any case; `language`: only one in that language.
    """
    found = accepted(episode.publisher)
    if found is None or params.get("publisher") is False or not episode.audio_seconds:
        return None
    asked, has = primary(str(params.get("language") or "")), primary(found.language or episode.language)
    return None if asked and has and asked != has else found


def lines(cues: Sequence[Cue]) -> tuple[Cue, ...]:
    """Cues as lines to read, in order of time: word by word ones put together, none reaching into the next."""
    ordered = sorted((cue for cue in cues if cue.text), key=lambda cue: (cue.start, cue.end))
    spoken = sum(len(cue.text.split()) for cue in ordered)
    if spoken < _WORDY * len(ordered):
        ordered = _put_together(ordered)
    trimmed = [replace(a, end=min(a.end, b.start)) if b.start > a.start else a for a, b in pairwise(ordered)]
    return (*trimmed, *ordered[-1:])


def _put_together(ordered: Iterable[Cue]) -> list[Cue]:
    found: list[Cue] = []
    for cue in ordered:
        last = found[-1] if found else None
        if last is not None and _goes_on(last, cue):
            found[-1] = replace(last, end=max(last.end, cue.end), text=f"{last.text} {cue.text}")
        else:
            found.append(cue)
    return found


def _goes_on(last: Cue, cue: Cue) -> bool:
    return (
        cue.speaker == last.speaker
        and cue.start - last.end <= LINE_PAUSE
        and len(last.text) + 1 + len(cue.text) <= LINE_CHARACTERS
        and not _SENTENCE_END.search(last.text)
    )


def covered_seconds(spoken: Sequence[Cue]) -> float:
    """Seconds under at least one cue."""
    total, reached = 0.0, 0.0
    for cue in sorted(spoken, key=lambda each: each.start):
        total += max(0.0, cue.end - max(cue.start, reached))
        reached = max(reached, cue.end)
    return total


def to_part(cues: Sequence[Cue], span: Span, episode: Episode, found: PublisherTranscript) -> Part:
    """The part of a chunk that costs no device: the lines that begin in it, inside the audio.

    The same file and audio give the same part. `language` is `und` (not known) when nobody says it.
    """
    seconds = episode.audio_seconds or 0.0
    end = seconds if span.end is None else min(span.end, seconds)
    inside = [
        replace(cue, start=min(cue.start, seconds), end=max(min(cue.end, seconds), min(cue.start, seconds)))
        for cue in lines(cues)
        if span.start <= cue.start and (span.end is None or cue.start < span.end)
    ]
    segments = tuple(Segment(round(cue.start, 3), round(cue.end, 3), cue.text, speaker=cue.speaker) for cue in inside)
    return Part(
        n=span.n,
        start=span.start,
        end=end,
        language=primary(found.language or episode.language) or "und",
        language_probability=1.0,
        segments=segments,
        speech_seconds=round(covered_seconds(inside), 3),
        wall_seconds=0.0,
        device_seconds=0.0,
        device="none",
        compute_type="none",
        source=PUBLISHER,
    )
