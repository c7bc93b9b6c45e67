"""Cues: what stands on the screen at a time, in lines, pauses and lengths that people can read. Pure.

The limits are those of captioning guides: two lines of 42 characters, at most 7 s, at least 5/6 s, about 20 characters
a second (Netflix, Timed Text Style Guide: General Requirements, and English (USA)); lines and cues end where the
sentence or the clause does (BBC Subtitle Guidelines, on line breaks and on timing).
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from podinsight.domain.transcript import Segment, Word

LINE_WIDTH: Final = 42
LINES: Final = 2
LONGEST_MS: Final = 7000
SHORTEST_MS: Final = 833
CHARACTERS_A_SECOND: Final = 20.0

_SENTENCE_END: Final = re.compile(r"[.?!…。！？][\"'”’»)\]]*$")
_PAUSE_END: Final = re.compile(r"[;:–—；：][\"'”’»)\]]*$")
_CLAUSE_END: Final = re.compile(r"[,、，][\"'”’»)\]]*$")
_UNSPACED: Final = re.compile(r"(?<=[。！？、，；：])")  # where a script without spaces may be broken
_BREAKS: Final = ("Cc", "Cs", "Zl", "Zp")
_JOINERS: Final = ("Mn", "Mc", "Me", "Cf")  # belong to the character before them
# What a cue costs by what it ends with: fewer cues are better, but one more is better than one cut inside a sentence.
_COSTS: Final = (1.0, 1.9, 2.1, 3.2, 5.0)
_SENTENCE, _PAUSE, _CLAUSE, _WORD, _INSIDE = range(5)


@dataclass(frozen=True)
class ScreenCue:
    """`start` to `end` in whole milliseconds, one or two lines, and who speaks (empty when nobody says)."""

    start: int
    end: int
    lines: tuple[str, ...]
    speaker: str = ""


@dataclass(frozen=True)
class _Token:
    """A word, or a piece of one that is wider than a line. spaced: a space stands before it. ends: what it ends."""

    text: str
    spaced: bool
    ends: int
    start: int = 0
    end: int = 0


def one_line(text: str) -> str:
    """Without line breaks and control characters: a blank line would end a cue. Joiners inside words stay."""
    return " ".join("".join(" " if unicodedata.category(each) in _BREAKS else each for each in text).split())


def cues(segments: Sequence[Segment], seconds: float) -> list[ScreenCue]:
    """The cues of segments whose times are monotone, in audio of that length.

    A segment that is too long for one cue is split where that reads best, with the times of its words, or without
    them in proportion to its characters. No word is lost, no cue overlaps the next. A cue begins inside its segment
    and stays up longer than that, up to the next one, when it could not be read otherwise. A run of segments that
    last no time gets a millisecond a cue.
    """
    made = [cue for segment in segments for cue in _of_segment(segment)]
    found: list[ScreenCue] = []
    for number, cue in enumerate(made):
        start = max(cue.start, found[-1].end if found else 0)
        last = number == len(made) - 1
        limit = max(cue.end, round(seconds * 1000)) if last else made[number + 1].start
        found.append(replace(cue, start=start, end=_readable(cue.lines, start, cue.end, limit)))
    return found


def _readable(lines: Sequence[str], start: int, spoken: int, limit: int) -> int:
    """When a cue goes: with the speech, or later when that is too short to read it; before `limit` in any case."""
    reading = round(sum(len(line) for line in lines) / CHARACTERS_A_SECOND * 1000)
    wanted = max(spoken, start + max(SHORTEST_MS, reading))
    return max(start + 1, min(wanted, limit, start + LONGEST_MS))


def _of_segment(segment: Segment) -> Iterator[ScreenCue]:
    tokens = _timed(_tokens(one_line(segment.text)), segment)
    speaker = one_line(segment.speaker or "")
    for group in _groups(tokens):
        yield ScreenCue(group[0].start, group[-1].end, _lines(group), speaker)


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    for word in text.split():
        pieces = [word] if len(word) <= LINE_WIDTH else list(_pieces(word))
        for number, piece in enumerate(pieces):
            found.append(_Token(piece, number == 0, _ends(piece, number == len(pieces) - 1)))
    return found


def _ends(piece: str, whole: bool) -> int:
    if _SENTENCE_END.search(piece):
        return _SENTENCE
    if _PAUSE_END.search(piece):
        return _PAUSE
    if _CLAUSE_END.search(piece):
        return _CLAUSE
    return _WORD if whole else _INSIDE


def _pieces(word: str) -> Iterator[str]:
    """A word that is wider than a line: at its punctuation, else where the line ends, never before a joiner."""
    for piece in filter(None, _UNSPACED.split(word)):
        while len(piece) > LINE_WIDTH:
            cut = LINE_WIDTH
            while cut > 1 and unicodedata.category(piece[cut]) in _JOINERS:
                cut -= 1
            cut = cut if cut > 1 else LINE_WIDTH
            yield piece[:cut]
            piece = piece[cut:]
        yield piece


def _timed(tokens: Sequence[_Token], segment: Segment) -> list[_Token]:
    start = round(segment.start * 1000)
    end = max(round(segment.end * 1000), start)
    marks = _marks(segment.words, sum(len(token.text) for token in tokens), start, end)
    found: list[_Token] = []
    at = 0
    for token in tokens:
        found.append(replace(token, start=_when(marks, at, first=True), end=_when(marks, at + len(token.text))))
        at += len(token.text)
    return found


def _marks(words: Sequence[Word], characters: int, start: int, end: int) -> list[tuple[int, int, int, int]]:
    """(first character, character after the last, from, to) of each word, spaces not counted. Where the words are not
    those of the text, or are not there, the segment as a whole stands for them."""
    marks: list[tuple[int, int, int, int]] = []
    at, now = 0, start
    for word in words:
        length = len("".join(one_line(word.text).split()))
        if length:
            begins = min(max(round(word.start * 1000), now), end)
            now = min(max(round(word.end * 1000), begins), end)
            marks.append((at, at + length, begins, now))
            at += length
    return marks if marks and at == characters else [(0, max(characters, 1), start, end)]


def _when(marks: list[tuple[int, int, int, int]], at: int, first: bool = False) -> int:
    """When the speech is at that character: `first`, as a beginning (after a pause), else as an end (before it)."""
    low, high = 0, len(marks) - 1
    while low < high:
        middle = (low + high) // 2
        if marks[middle][1] > at or (marks[middle][1] == at and not first):
            high = middle
        else:
            low = middle + 1
    begins, ends, start, end = marks[low]
    return start + round((end - start) * (at - begins) / (ends - begins))


def _groups(tokens: Sequence[_Token]) -> Iterator[Sequence[_Token]]:
    """The tokens as cues: of all ways to cut that keep the limits, the one that costs least (the first of equals)."""
    best: list[tuple[float, int]] = [(0.0, 0)]  # for the tokens up to here: the cost, and where the last cue begins
    for stop in range(1, len(tokens) + 1):
        options = [(best[begin][0] + cost, begin) for begin, cost in _last_cues(tokens, stop)]
        best.append(min(options))
    cuts = [len(tokens)]
    while cuts[-1] > 0:
        cuts.append(best[cuts[-1]][1])
    for begin, stop in pairwise(reversed(cuts)):
        yield tokens[begin:stop]


def _last_cues(tokens: Sequence[_Token], stop: int) -> Iterator[tuple[int, float]]:
    """(where it begins, what it costs) of every cue that ends before token `stop` and keeps the limits; a single token
    does in any case."""
    last = tokens[stop - 1]
    ends = _SENTENCE if stop == len(tokens) else last.ends
    upper, lower = 0, len(last.text)  # widths of the lines, the lower one filled first
    yield stop - 1, _COSTS[ends] + (0.0 if len(tokens) == 1 else _haste(lower, last.end - last.start))
    for begin in range(stop - 2, -1, -1):
        width = len(tokens[begin].text) + tokens[begin + 1].spaced
        if upper or lower + width > LINE_WIDTH:
            upper += width if upper else len(tokens[begin].text)
        else:
            lower += width
        if upper > LINE_WIDTH or last.end - tokens[begin].start > LONGEST_MS:
            return
        whole = begin == 0 and stop == len(tokens)
        yield begin, _COSTS[ends] + (0.0 if whole else _haste(upper + lower, last.end - tokens[begin].start))


def _haste(width: int, milliseconds: int) -> float:
    """What it costs that a cue is up for too short a time: 1 for one that is up for none."""
    needed = max(SHORTEST_MS, width / CHARACTERS_A_SECOND * 1000)
    return max(0.0, 1 - milliseconds / needed)


def _lines(group: Sequence[_Token]) -> tuple[str, ...]:
    """In one line when it fits, else in two: rather after a clause than inside it, rather of one length."""
    whole = _text(group)
    if len(whole) <= LINE_WIDTH:
        return (whole,)
    _cost, at = min(_line_breaks(group))
    return _text(group[:at]), _text(group[at:])


def _line_breaks(group: Sequence[_Token]) -> list[tuple[float, int]]:
    """(cost, index) of the places where a second line may begin."""
    total = len(_text(group))
    found: list[tuple[float, int]] = []
    above = 0
    for at in range(1, len(group)):
        above += len(group[at - 1].text) + (group[at - 1].spaced if at > 1 else 0)
        below = total - above - group[at].spaced
        if above <= LINE_WIDTH and below <= LINE_WIDTH:
            found.append((abs(above - below) / LINE_WIDTH + _COSTS[group[at - 1].ends] / 3, at))
    return found


def _text(group: Sequence[_Token]) -> str:
    return "".join(f" {token.text}" if token.spaced and number else token.text for number, token in enumerate(group))
