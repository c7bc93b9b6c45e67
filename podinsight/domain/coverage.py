"""Whether what was heard in a window of speech can be right: objections, and which of two hearings is better. Pure.

Whisper drops the rest of a window when it takes a pause for the end, repeats itself when it finds no end, and writes
what captions often say where nobody speaks. None of these lowers its own confidence much, so a window is judged by
where its words are, against where somebody speaks.
"""

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final, Protocol

Stretch = tuple[float, float]  # from, to: seconds

# Speech without words: shorter is a breath, a laugh or a word that two people say at once. Measured on recordings of
# human speech: of sentences dropped none was shorter, and one in thirty windows without a fault has such a hole.
MISSING_SECONDS: Final = 1.0
# What alignment (attention weights and dynamic time warping, to 20 ms) is off by at the edges of a word.
_SLACK: Final = 0.25
# A word takes no longer than this: alignment stretches the last word before a hole over the hole.
_WORD_SECONDS: Final = 0.4
_LETTER_SECONDS: Final = 0.08
# Whisper's own thresholds (Radford et al. 2022, section 4.5; `decoding` of its code).
COMPRESSION: Final = 2.4
LOGPROB: Final = -1.0
NO_SPEECH: Final = 0.6
# Nobody speaks faster: auctioneers reach 25 letters a second, readers 15.
LETTERS_A_SECOND: Final = 30.0
# Nor a few words as fast as this: alignment has put what was made up into no time at all.
CROWDED_LETTERS_A_SECOND: Final = 45.0
_CROWD: Final = 6  # words
# A run of the same n words: people say "no, no, no, no" and "very, very"; six times in a row is the machine.
_REPEATS: Final = {1: 6, 2: 5, 3: 4}
_MANY_WORDS_REPEATS: Final = 3
_LONGEST_REPEAT: Final = 12
_MEANS: Final = 0.5  # of a second of speech: less than that alone says nothing
# A breath, applause or a door that voice activity took for speech becomes "Bye bye" or "Oh": for so little of it the
# thresholds are stricter.
_LITTLE: Final = 3.0  # seconds
_LITTLE_NO_SPEECH: Final = 0.4
_LITTLE_LOGPROB: Final = -0.6
# What the captions that Whisper has learned from say in silence and music.
INVENTIONS: Final = re.compile(
    r"(thanks?( you)?( (so|very) much)?( for (watching|listening|viewing))?|(please )?(like and )?subscribe.*"
    r"|see you (in the )?next (time|video).*|(sub)?titles? by.*|.*amara\.org.*|you|bye(-bye)?|untertitel.*|sous-titr.*"
    r"|subtítulos.*|продолжение следует|ご視聴ありがとうございました)",
    re.IGNORECASE,
)


class Objection(StrEnum):
    """Why a hearing may be wrong. Its value is what a segment's `doubt` says."""

    MISSING = "speech without words"
    LOOP = "loop"
    CONFIDENCE = "low confidence"
    RATE = "more words than anyone can say"
    INVENTED = "words without speech"


class Spoken(Protocol):
    """A word and when it is said, in the seconds that the stretches are in."""

    @property
    def start(self) -> float: ...
    @property
    def end(self) -> float: ...
    @property
    def text(self) -> str: ...


@dataclass(frozen=True)
class Hearing:
    """What was found in a window: where somebody speaks in it, and the words.

    avg_logprob: of the tokens. no_speech_prob: as Whisper says it. limited: it only stopped at the limit of tokens.
    takes: the text of each stretch that was decoded by itself; empty for all at once. What is said again in another
    take is no loop: a decoder loops on what it has said itself.
    """

    speech: tuple[Stretch, ...]
    words: Sequence[Spoken]
    avg_logprob: float
    no_speech_prob: float = 0.0
    limited: bool = False
    takes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return "".join(word.text for word in self.words).strip()

    @property
    def speech_seconds(self) -> float:
        return sum(until - since for since, until in self.speech)


def judge(hearing: Hearing) -> tuple[Objection, ...]:
    """The objections to a hearing; none when nothing speaks against it."""
    return tuple(objection for objection, holds in _checks(hearing) if holds)


def score(hearing: Hearing) -> float:
    """The better of two hearings of the same speech has the higher score: the share of the speech that has words, half
    the average log-probability (not below -2), less one for each of a loop, too many words and words without speech.
    """
    faults = sum(objection in _FAULTS for objection in judge(hearing))
    sure = max(hearing.avg_logprob, -2.0) if hearing.words else -2.0
    return _share(hearing) + sure / 2 - faults


def holes(speech: Sequence[Stretch], words: Sequence[Spoken]) -> tuple[Stretch, ...]:
    """Speech without words, in order: from where words go missing to where they come back. What lies between two
    holes and is not speech belongs to the hole; short ones do not count (MISSING_SECONDS)."""
    found = []
    for run in _runs(_uncovered(speech, words), speech):
        if sum(until - since for since, until in run) >= MISSING_SECONDS:
            found.append((run[0][0], run[-1][1]))
    return tuple(found)


def covered_seconds(speech: Sequence[Stretch], words: Sequence[Spoken]) -> float:
    """Seconds of speech that have words: all but the holes."""
    gaps = holes(speech, words)
    missing = sum(max(min(until, end) - max(since, start), 0.0) for since, until in speech for start, end in gaps)
    return sum(until - since for since, until in speech) - missing


def doubts(hearing: Hearing) -> tuple[Objection, ...]:
    """What to say of a hearing that is kept: its objections. That nothing was heard is no doubt about words."""
    return judge(hearing) if hearing.words else ()


def compression(text: str) -> float:
    """Bytes of a text per byte of it compressed, as Whisper takes it for a sign of loops."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))


def is_loop(text: str) -> bool:
    """The same words over and over: a run of repeats, or a text that compresses like one."""
    if compression(text) > COMPRESSION:
        return True
    words = re.findall(r"[\w']+", text.lower())
    return any(
        _run_of(words, length) >= _REPEATS.get(length, _MANY_WORDS_REPEATS)
        for length in range(1, min(_LONGEST_REPEAT, len(words) // 2) + 1)
    )


_FAULTS: Final = (Objection.LOOP, Objection.RATE, Objection.INVENTED)


def _checks(hearing: Hearing) -> Iterator[tuple[Objection, bool]]:
    text, seconds = hearing.text, hearing.speech_seconds
    nobody = not text and hearing.no_speech_prob > NO_SPEECH
    yield Objection.MISSING, not nobody and bool(holes(hearing.speech, hearing.words))
    yield Objection.LOOP, hearing.limited or any(map(is_loop, hearing.takes or (text,)))
    yield Objection.CONFIDENCE, bool(text) and hearing.avg_logprob < LOGPROB
    yield Objection.RATE, _letters(text) > LETTERS_A_SECOND * max(seconds, _MEANS) or _is_crowded(hearing.words)
    yield Objection.INVENTED, _is_invented(hearing, text, seconds)


def _letters(text: str) -> int:
    return sum(character.isalnum() for character in text)


def _is_crowded(words: Sequence[Spoken]) -> bool:
    for at in range(len(words) - _CROWD + 1):
        crowd = words[at : at + _CROWD]
        if _letters("".join(word.text for word in crowd)) > CROWDED_LETTERS_A_SECOND * (crowd[-1].end - crowd[0].start):
            return True
    return False


def _is_invented(hearing: Hearing, text: str, seconds: float) -> bool:
    """Whisper's rule for silence, and what it is known to write there when it is not sure or hardly anyone speaks."""
    if not text:
        return False
    unsure = hearing.no_speech_prob > NO_SPEECH
    if unsure and hearing.avg_logprob < LOGPROB:
        return True
    if seconds < _LITTLE and hearing.no_speech_prob > _LITTLE_NO_SPEECH and hearing.avg_logprob < _LITTLE_LOGPROB:
        return True
    known = INVENTIONS.fullmatch(text.strip(" .!?…,")) is not None
    return known and (unsure or seconds < _MEANS or hearing.avg_logprob < LOGPROB / 2)


def _share(hearing: Hearing) -> float:
    seconds = hearing.speech_seconds
    return covered_seconds(hearing.speech, hearing.words) / seconds if seconds > 0 else float(not hearing.words)


def _uncovered(speech: Sequence[Stretch], words: Sequence[Spoken]) -> Iterator[Stretch]:
    covered = sorted(each for word in words for each in _extent(word))
    for since, until in speech:
        at = since
        for start, end in covered:
            if start > at:
                yield at, min(start, until)
            at = max(at, end)
            if at >= until:
                break
        if at < until:
            yield at, until


def is_stretched(word: Spoken) -> bool:
    """Whether it takes longer than a word does: alignment has stretched it over a hole before or behind it."""
    return word.end - word.start > _longest(word)


def _longest(word: Spoken) -> float:
    return _WORD_SECONDS + _LETTER_SECONDS * _letters(word.text)


def _extent(word: Spoken) -> Iterator[Stretch]:
    longest = _longest(word)
    if not is_stretched(word):
        yield word.start - _SLACK, word.end + _SLACK
    else:
        yield word.start - _SLACK, word.start + longest / 2 + _SLACK
        yield word.end - longest / 2 - _SLACK, word.end + _SLACK


def _runs(uncovered: Iterator[Stretch], speech: Sequence[Stretch]) -> Iterator[list[Stretch]]:
    """Uncovered stretches that follow each other without a word between them: only a pause lies there."""
    before = {right[0]: left[1] for left, right in pairwise(speech)}
    run: list[Stretch] = []
    for since, until in uncovered:
        if since >= until:
            continue
        if run and before.get(since) != run[-1][1]:
            yield run
            run = []
        run.append((since, until))
    if run:
        yield run


def _run_of(words: Sequence[str], length: int) -> int:
    """How often `length` words follow each other at most."""
    longest = same = 0
    for at in range(length, len(words)):
        same = same + 1 if words[at] == words[at - length] else 0
        longest = max(longest, same)
    return longest // length + 1
