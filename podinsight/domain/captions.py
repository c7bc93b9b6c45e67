"""The files of a transcript. Every function returns the same text for the same transcript, ending in a newline."""

import json
from collections.abc import Iterator, Sequence
from typing import Final

from podinsight.domain.cues import cues, one_line
from podinsight.domain.episode import Episode
from podinsight.domain.publisher import accepted
from podinsight.domain.transcript import PUBLISHER, Segment, Transcript, Word

TRANSCRIPT_SCHEMA: Final = "podinsight/transcript/2"
PARAGRAPH_PAUSE: Final = 1.5
PARAGRAPH_CHARACTERS: Final = 600


def to_vtt(transcript: Transcript) -> str:
    """WebVTT: cues as `domain.cues` makes them, in the voice of their speaker when that is known."""
    blocks = ["WEBVTT\n"]
    for cue in cues(transcript.segments, transcript.duration):
        lines = [_escape(line) for line in cue.lines]
        if cue.speaker:
            lines[0] = f"<v {_escape(cue.speaker)}>{lines[0]}"
        blocks.append("\n".join([f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}", *lines]) + "\n")
    return "\n".join(blocks)


def to_srt(transcript: Transcript) -> str:
    """SubRip: the same cues, numbered; a single newline when nothing was said."""
    blocks = []
    for number, cue in enumerate(cues(transcript.segments, transcript.duration), 1):
        # SubRip has no escapes: an arrow inside a text would read as a time line.
        lines = [line.replace("-->", "→") for line in cue.lines]
        blocks.append("\n".join([str(number), f"{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}", *lines]) + "\n")
    return "\n".join(blocks) or "\n"


def to_txt(transcript: Transcript, title: str) -> str:
    """For reading: the title, then paragraphs (a new one after a pause, when one has become long, and for each turn of
    a named speaker, who is named then)."""
    return "\n\n".join([one_line(title) or "Untitled", *_paragraphs(transcript.segments)]) + "\n"


def to_jsonl(transcript: Transcript) -> str:
    """JSON lines `{"text", "start_sec", "end_sec", "speaker"}`; empty when nothing was said.

    speaker: the number of who speaks (T5), by the order in which they first do; null when nobody says.
    """
    numbers = _numbers(transcript)
    rows = (
        {
            "text": segment.text,
            "start_sec": _seconds(segment.start),
            "end_sec": _seconds(segment.end),
            "speaker": numbers.get(segment.speaker),
        }
        for segment in transcript.segments
    )
    return "".join(_json(row) + "\n" for row in rows)


def to_json(transcript: Transcript, episode: Episode) -> str:
    """transcript.json, schema `podinsight/transcript/2`. Nothing in it varies between runs within a profile.

    source: `whisper`, or `publisher` and then whose file it is (F12). speakers: names; segments have their numbers.
    A segment has `doubt` where it may be wrong, and `words` where their times were asked for.
    """
    found = accepted(episode.publisher) if transcript.source == PUBLISHER else None
    numbers = _numbers(transcript)
    document = {
        "schema": TRANSCRIPT_SCHEMA,
        "episode": {
            "id": episode.id,
            "guid": episode.guid,
            "feed_slug": episode.feed_slug,
            "title": episode.title,
        },
        "source": transcript.source,
        "publisher": found and {"url": found.url, "type": found.type, "language": found.language},
        "language": transcript.language,
        "duration": _seconds(transcript.duration),
        "words": transcript.words,
        "model": transcript.model,
        "profile": dict(transcript.profile),
        "speakers": list(transcript.speakers),
        "segments": [
            _segment(number, segment, numbers.get(segment.speaker))
            for number, segment in enumerate(transcript.segments)
        ],
    }
    return _json(document, indent=1) + "\n"


def _numbers(transcript: Transcript) -> dict[str | None, int]:
    return {name: number for number, name in enumerate(transcript.speakers)}


def _segment(number: int, segment: Segment, speaker: int | None) -> dict[str, object]:
    found: dict[str, object] = {
        "id": number,
        "start": _seconds(segment.start),
        "end": _seconds(segment.end),
        "text": segment.text,
        "avg_logprob": _rounded(segment.avg_logprob),
        "no_speech_prob": _rounded(segment.no_speech_prob),
        "compression_ratio": _rounded(segment.compression_ratio),
        "speaker": speaker,
    }
    if segment.doubt:
        found["doubt"] = segment.doubt
    if segment.words:
        found["words"] = [_word(word) for word in segment.words]
    return found


def _word(word: Word) -> dict[str, object]:
    return {
        "start": _seconds(word.start),
        "end": _seconds(word.end),
        "text": word.text,
        "probability": _rounded(word.probability),
    }


def _paragraphs(segments: Sequence[Segment]) -> Iterator[str]:
    words: list[str] = []
    length, last_end, last_speaker = 0, 0.0, ""
    for segment in segments:
        text, speaker = one_line(segment.text), one_line(segment.speaker or "")
        turn = speaker != last_speaker
        if words and (turn or segment.start - last_end >= PARAGRAPH_PAUSE or length >= PARAGRAPH_CHARACTERS):
            yield " ".join(words)
            words, length = [], 0
        last_end, last_speaker = segment.end, speaker
        if turn and speaker:
            words.append(f"{speaker}:")
        if text:
            words.append(text)
            length += len(text) + 1
    if words:
        yield " ".join(words)


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(milliseconds: int, point: str) -> str:
    seconds, fraction = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{point}{fraction:03}"


def _seconds(value: float) -> float:
    return round(value, 3)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _json(value: object, indent: int | None = None) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    # Some readers take these for line ends; and a lone surrogate has no place in a UTF-8 file.
    for character in "\x85\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode("utf-8", "replace").decode()
