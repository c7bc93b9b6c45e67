"""Hearing windows: decoding, the coverage check (domain.coverage), and decoding again where it objects.

Temperature is 0 always: CTranslate2's sampling cannot be repeated. What is decoded again is decoded in other cuts, at
the pauses, since a window says the same however often it is asked.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from podinsight.adapters.speech_audio import RATE
from podinsight.adapters.speech_decoding import Decoded, Decoder, Effort, Hint
from podinsight.adapters.speech_windows import SpeechWindow, quietest
from podinsight.domain.coverage import (
    Hearing,
    Objection,
    Spoken,
    covered_seconds,
    doubts,
    holes,
    is_stretched,
    judge,
    score,
)
from podinsight.domain.transcript import Word

if TYPE_CHECKING:
    from podinsight.adapters.speech_audio import Samples

DEPTH: Final = 3  # how often what was decoded again may be decoded again
NO_REPEAT: Final = 4  # where a loop was: no four tokens may follow each other twice
_NEAR: Final = 0.6  # seconds: a pause this close to a hole is where it begins
_BACK: Final = 5.0  # seconds before a hole, at most, in which the sentence that it breaks begins
_ENDS: Final = (".", "?", "!", "。", "？", "！")
_SHORTEST: Final = 2 * RATE  # of speech on each side of a cut
_MIDDLE: Final = 3 * RATE  # so far from the middle a window without pauses is cut at most


@dataclass(frozen=True)
class Take:
    """What one decoding of a window gave, or the part of it that was kept. Times of words: seconds of episode time."""

    window: SpeechWindow
    words: tuple[Word, ...]
    avg_logprob: float
    no_speech_prob: float
    tokens: int
    limited: bool

    @property
    def hearing(self) -> Hearing:
        return Hearing(self.window.speech, self.words, self.avg_logprob, self.no_speech_prob, self.limited)


@dataclass(frozen=True)
class Heard:
    """A window's takes in order, together what was found in it; `redecoded`: seconds of speech decoded again."""

    window: SpeechWindow
    takes: tuple[Take, ...]
    redecoded: float = 0.0

    @property
    def hearing(self) -> Hearing:
        """All takes as one: the average by tokens, the worst of the rest."""
        tokens = sum(take.tokens for take in self.takes)
        average = sum(take.avg_logprob * take.tokens for take in self.takes) / tokens if tokens else 0.0
        return Hearing(
            self.window.speech,
            [word for take in self.takes for word in take.words],
            average,
            max((take.no_speech_prob for take in self.takes), default=0.0),
            any(take.limited for take in self.takes),
            tuple(take.hearing.text for take in self.takes),
        )

    @property
    def covered_seconds(self) -> float:
        return covered_seconds(self.window.speech, self.hearing.words)

    @property
    def doubtful_seconds(self) -> float:
        """Seconds of speech in takes with objections that are not about missing words, and those without words where
        some should be."""
        speech = self.window.speech_seconds
        hearing = self.hearing
        missing = speech - self.covered_seconds if Objection.MISSING in judge(hearing) else 0.0
        odd = (take for take in self.takes if set(doubts(take.hearing)) - {Objection.MISSING})
        return min(missing + sum(take.window.speech_seconds for take in odd), speech)


class Listener:
    """Hears the windows of one piece of audio.

    Args:
        held: its samples; first: the number of the first one.
        step: called before each decoding; what it raises ends the hearing.
    """

    def __init__(
        self, decoder: Decoder, hint: Hint, held: "Samples", first: int, step: Callable[[], None] = lambda: None
    ) -> None:
        self._decoder, self._hint, self._held, self._first, self._step = decoder, hint, held, first, step

    def hear(self, windows: Sequence[SpeechWindow]) -> list[Heard]:
        """What is said in each window at first hearing."""
        return self._decode(windows, Effort())

    def objects(self, heard: Heard) -> bool:
        """Whether the coverage check objects to what was heard."""
        return bool(judge(heard.hearing))

    def check(self, heard: Heard) -> Heard:
        """It, or something better that is heard when the window is decoded again, should the coverage check object."""
        return self._checked(heard, DEPTH)

    def _decode(self, windows: Sequence[SpeechWindow], effort: Effort) -> list[Heard]:
        self._step()
        samples = [window.samples(self._held, self._first) for window in windows]
        decoded = self._decoder.decode(samples, self._hint, effort)
        return [Heard(window, (_take(window, each),)) for window, each in zip(windows, decoded, strict=True)]

    def _checked(self, heard: Heard, depth: int) -> Heard:
        objections = judge(heard.hearing)
        redecoded = 0.0
        best = heard
        for attempt in self._attempts(heard, objections, depth) if depth else ():
            redecoded += attempt.redecoded
            if score(attempt.hearing) > score(best.hearing):
                best = attempt
            if not judge(best.hearing):
                break
        return _without_inventions(replace(best, redecoded=min(redecoded, heard.window.speech_seconds)))

    def _attempts(self, heard: Heard, objections: Sequence[Objection], depth: int) -> Iterator[Heard]:
        if Objection.MISSING in objections:
            yield from self._filled(heard, depth)
        runaway = Objection.RATE in objections or heard.hearing.limited
        if runaway:
            yield self._whole(heard.window, Effort(no_repeat=NO_REPEAT))
        if objections:
            yield from self._halved(heard.window, depth)
        # Last, since it takes the words from those who do repeat themselves: they do in every cut, a machine seldom.
        if Objection.LOOP in objections and not runaway:
            yield self._whole(heard.window, Effort(no_repeat=NO_REPEAT))

    def _whole(self, window: SpeechWindow, effort: Effort) -> Heard:
        heard = self._decode([window], effort)[0]
        return replace(heard, redecoded=window.speech_seconds)

    def _filled(self, heard: Heard, depth: int) -> Iterator[Heard]:
        """What was heard before the first hole, and the window from there on decoded again, as Whisper itself goes on
        from the last words; a hole at the beginning is decoded alone."""
        window = heard.window
        since, until = holes(window.speech, heard.hearing.words)[0]
        before, after = window.split(self._cut_near(window, since, heard.hearing.words))
        if before is not None and after is not None and _speaks(before):
            again = self._again(after, depth)
            yield Heard(window, (*_kept(heard, before, None), *again.takes), again.redecoded)
            return
        before, after = window.split(self._cut_near(window, until))
        if before is not None and after is not None:
            again = self._again(before, depth)
            yield Heard(window, (*again.takes, *_kept(heard, None, after)), again.redecoded)

    def _halved(self, window: SpeechWindow, depth: int) -> Iterator[Heard]:
        """Both sides of the longest pause that leaves enough speech on each side; of the quietest place near its middle
        where there is none."""
        pauses = [pause for pause in window.pauses() if all(map(_is_long, window.split(_middle(pause))))]
        longest = max(pauses, key=lambda pause: (pause[1] - pause[0], -pause[0]), default=None)
        sides = window.split(_middle(longest) if longest is not None else self._quiet_middle(window))
        if all(map(_is_long, sides)):
            heard = [self._again(side, depth) for side in sides if side is not None]
            yield Heard(
                window, tuple(take for side in heard for take in side.takes), sum(side.redecoded for side in heard)
            )

    def _quiet_middle(self, window: SpeechWindow) -> int:
        """The quietest place near the middle of its longest piece."""
        piece = max(window.pieces, key=lambda piece: piece.until - piece.since)
        middle, reach = (piece.since + piece.until) // 2, min((piece.until - piece.since) // 4, _MIDDLE)
        return quietest(self._held, self._first, middle - reach, middle + reach)

    def _again(self, window: SpeechWindow, depth: int) -> Heard:
        heard = self._checked(self._decode([window], Effort())[0], depth - 1)
        return replace(heard, redecoded=window.speech_seconds)

    def _cut_near(self, window: SpeechWindow, at: float, words: Sequence[Spoken] = ()) -> int:
        """The middle of the pause that is near, else where it is quietest there; of `words`, those that have begun the
        sentence are left to what follows: alignment puts the words behind what was dropped before it too."""
        pauses = [pause for pause in window.pauses() if pause[0] - _NEAR <= at <= pause[1] + _NEAR]
        if pauses:
            return _middle(min(pauses, key=lambda pause: (abs(sum(pause) / 2 - at), pause)))
        ends = (word.end for word in words if word.text.endswith(_ENDS) and at - _BACK <= word.end <= at)
        at = max(ends, default=at)
        reach = round(_NEAR / 2 * RATE)
        sample = round(at * RATE)
        low, high = self._first, self._first + len(self._held)
        since, until = max(sample - reach, low), min(sample + reach, high)
        return quietest(self._held, self._first, since, until) if since < until else sample


def _take(window: SpeechWindow, decoded: Decoded) -> Take:
    words: list[Word] = []
    for word in decoded.words:
        start, end = window.episode_times(word.start, word.end)
        start = max(start, words[-1].end if words else start)
        words.append(Word(start, max(end, start), word.text, word.probability))
    return Take(window, tuple(words), decoded.avg_logprob, decoded.no_speech_prob, decoded.tokens, decoded.limited)


def _kept(heard: Heard, before: SpeechWindow | None, after: SpeechWindow | None) -> Iterator[Take]:
    """The takes of `heard` with their words on one side of a cut."""
    low = after.pieces[0].first / RATE if after is not None else float("-inf")
    high = before.pieces[-1].last / RATE if before is not None else float("inf")
    side = before or after
    for take in heard.takes:
        words = tuple(
            replace(word, start=max(word.start, low), end=min(word.end, high))
            for word in take.words
            if _is_between(word, low, high)
        )
        if words and side is not None:
            tokens = max(round(take.tokens * len(words) / len(take.words)), 1)
            yield replace(take, window=side, words=words, tokens=tokens, limited=False)


def _is_between(word: Word, low: float, high: float) -> bool:
    """By its middle; a word that alignment stretched over the hole lies on the side of the cut that it reaches to."""
    if not is_stretched(word):
        return low <= (word.start + word.end) / 2 < high
    return word.end > low and word.start < high


def _without_inventions(heard: Heard) -> Heard:
    """Takes keep what Whisper says of the silence, without the words that it put there."""
    takes = tuple(
        replace(take, words=(), tokens=0) if Objection.INVENTED in judge(take.hearing) else take for take in heard.takes
    )
    return replace(heard, takes=takes)


def _middle(pause: tuple[float, float]) -> int:
    return round((pause[0] + pause[1]) / 2 * RATE)


def _speaks(window: SpeechWindow) -> bool:
    return window.speech_seconds >= 0.5


def _is_long(window: SpeechWindow | None) -> bool:
    return window is not None and window.speech_seconds * RATE >= _SHORTEST
