"""Words with times → segments: a sentence each, or what lies between two pauses. No model here."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from podinsight.adapters.speech_hearing import Heard, Take
from podinsight.domain.coverage import Objection, compression, doubts
from podinsight.domain.transcript import Segment, Word

PAUSE: Final = 1.0  # seconds: a longer one ends a segment in mid-sentence
LONGEST: Final = 15.0  # seconds: a longer sentence is cut at its longest pause
_ENDS: Final = tuple(".?!。！？…")
_QUOTES: Final = "\"'”’)]}»"
_ABBREVIATIONS: Final = frozenset({"mr.", "mrs.", "ms.", "dr.", "prof.", "st.", "vs.", "no."})


def segments(heard: Heard, words: bool) -> list[Segment]:
    """The segments of a window in order, times in seconds of episode time to the millisecond, monotone.

    Args:
        words: whether they carry their words.
    """
    about = doubts(heard.hearing)
    return [segment for take in heard.takes for segment in _of_take(take, about, words)]


def _of_take(take: Take, about: Sequence[Objection], words: bool) -> Iterator[Segment]:
    if not take.words:
        return
    packed = compression("".join(word.text for word in take.words).strip())
    doubt = ", ".join(
        dict.fromkeys([*doubts(take.hearing), *(each for each in about if each is not Objection.MISSING)])
    )
    for group in _sentences(take.words):
        text = "".join(word.text for word in group).strip()
        if text:
            yield Segment(
                round(group[0].start, 3),
                round(group[-1].end, 3),
                text,
                round(take.avg_logprob, 6),
                round(take.no_speech_prob, 6),
                round(packed, 6),
                words=tuple(map(_plain, group)) if words else (),
                doubt=doubt,
            )


def _plain(word: Word) -> Word:
    return Word(round(word.start, 3), round(word.end, 3), word.text.strip(), round(word.probability or 0.0, 4))


def _sentences(words: Sequence[Word]) -> Iterator[Sequence[Word]]:
    begin = 0
    for at in range(1, len(words) + 1):
        if at == len(words) or _ends(words[at - 1], words[at]):
            yield from _short_enough(words[begin:at])
            begin = at


def _ends(word: Word, following: Word) -> bool:
    if following.start - word.end >= PAUSE:
        return True
    bare = word.text.strip().rstrip(_QUOTES)
    # A full stop within a number or an address has no space behind it.
    return bare.endswith(_ENDS) and bare.lower() not in _ABBREVIATIONS and following.text[:1] in (" ", "")


def _short_enough(words: Sequence[Word]) -> Iterator[Sequence[Word]]:
    if words[-1].end - words[0].start <= LONGEST or len(words) < 4:
        yield words
        return
    quarter = len(words) // 4
    places = range(max(quarter, 1), len(words) - quarter)
    cut = max(
        places,
        key=lambda at: (round(words[at].start - words[at - 1].end, 3), words[at - 1].text[-1:] in ",;:，、", -at),
    )
    yield from _short_enough(words[:cut])
    yield from _short_enough(words[cut:])


def monotone(found: Sequence[Segment], start: float, end: float) -> list[Segment]:
    """The same segments with times in [start, end] that never go back."""
    result: list[Segment] = []
    floor = start
    for segment in found:
        since = min(max(segment.start, floor), end)
        until = min(max(segment.end, since), end)
        inside = []
        at = since
        for word in segment.words:
            low = min(max(word.start, at), until)
            at = min(max(word.end, low), until)
            inside.append(replace(word, start=low, end=at))
        result.append(replace(segment, start=since, end=until, words=tuple(inside)))
        floor = until
    return result
