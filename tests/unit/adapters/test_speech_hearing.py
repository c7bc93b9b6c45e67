"""Hearing again where words went missing, with a scripted decoder that knows from the samples where it listens (T2)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podinsight.adapters.speech_audio import RATE
from podinsight.adapters.speech_decoding import Decoded, Decoder, Effort, Hint, TimedWord
from podinsight.adapters.speech_hearing import DEPTH, NO_REPEAT, Heard, Listener
from podinsight.adapters.speech_segments import segments
from podinsight.adapters.speech_windows import LONGEST, REACH, SpeechWindow, compose
from podinsight.domain.coverage import LOGPROB, NO_SPEECH, Hearing, Objection, judge, score
from podinsight.domain.transcript import Word
from podinsight.ports import Stretch

if TYPE_CHECKING:
    from podinsight.adapters.speech_audio import Samples

# Each sample is its own number: exact in float32 below 2**24.
NUMBERS: "Final[Samples]" = np.arange(60 * RATE, dtype=np.float32)
SURE: Final = LOGPROB / 4
SPEECH: Final = ((0.0, 4.0), (4.6, 8.0), (8.6, 12.0), (12.6, 16.0))
_TREES: Final = (
    "amber birch cedar dogwood elder fir ginkgo hazel ivy juniper kapok larch maple neem oak pine quince rowan spruce "
    "teak upas vine willow xylia yew zelkova acorn bark crown driftwood ember forest grove humus island jungle"
)
NAMES: Final = _TREES.split()
TRUTH: Final = tuple(
    Word(round(since + n * 0.5, 3), round(since + n * 0.5 + 0.4, 3), "")
    for since, until in SPEECH
    for n in range(int((until - since) / 0.5))
)
SAID: Final = tuple(Word(word.start, word.end, f" {name}") for word, name in zip(TRUTH, NAMES, strict=False))

Answer = Callable[[int, "Samples", Effort], Decoded]


class Scripted(Decoder):
    """answer: call by number (from 0), the numbers of the samples in the window, effort."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.calls: list[tuple[float, float, Effort]] = []

    def decode(self, windows: "Sequence[Samples]", hint: Hint, effort: Effort) -> list[Decoded]:
        number = len(self.calls)
        self.calls.append((float(windows[0][0]) / RATE, float(windows[-1][-1]) / RATE, effort))
        return [self.answer(number, window, effort) for window in windows]


def found(numbers: "Samples", words: Sequence[Word] = SAID, logprob: float = SURE, silence: float = 0.0) -> Decoded:
    """What a decoder says that hears exactly these words of the episode, as far as they are in the window."""
    timed = []
    for word in words:
        place = int(np.searchsorted(numbers, round((word.start + word.end) / 2 * RATE)))
        if place < len(numbers) and abs(float(numbers[place]) / RATE - (word.start + word.end) / 2) < 0.01:
            half = (word.end - word.start) / 2
            timed.append(TimedWord(max(place / RATE - half, 0.0), place / RATE + half, word.text, 0.9))
    return Decoded(tuple(timed), logprob, silence, 2 * len(timed), False)


def between(start: float, end: float) -> list[Word]:
    return [word for word in SAID if start <= word.start < end]


def window_of(speech: Sequence[Stretch] = SPEECH) -> SpeechWindow:
    """One window of all of it, however short compose would have cut it."""
    return SpeechWindow(tuple(piece for window in compose(speech, NUMBERS, 0) for piece in window.pieces))


def hear(answer: Answer, speech: Sequence[Stretch] = SPEECH) -> tuple[Heard, list[tuple[float, float, Effort]]]:
    decoder = Scripted(answer)
    listener = Listener(decoder, Hint("en"), NUMBERS, 0)
    (heard,) = listener.hear([window_of(speech)])
    return listener.check(heard), decoder.calls


def said(heard: Heard) -> list[str]:
    return [word.text for word in heard.hearing.words]


EVERYTHING: Final = [word.text for word in SAID]
SECONDS: Final = sum(until - since for since, until in SPEECH)


def test_windows_without_objections_are_decoded_once_and_together() -> None:
    decoder = Scripted(lambda _call, numbers, _effort: found(numbers))
    steps: list[int] = []
    listener = Listener(decoder, Hint("en"), NUMBERS, 0, lambda: steps.append(1))
    windows = [window_of(SPEECH[:2]), window_of(SPEECH[2:])]
    heard = listener.hear(windows)
    assert not any(map(listener.objects, heard))
    assert [listener.check(each) for each in heard] == heard
    assert [each.window for each in heard] == windows
    assert [text for each in heard for text in said(each)] == EVERYTHING
    assert len(decoder.calls) == len(steps) == 1
    assert decoder.calls[0][2] == Effort()
    assert [each.redecoded for each in heard] == [0.0, 0.0]
    assert sum(each.covered_seconds for each in heard) == pytest.approx(SECONDS)
    assert [each.doubtful_seconds for each in heard] == [0.0, 0.0]


def test_words_get_their_times_in_the_episode() -> None:
    heard, _ = hear(lambda _call, numbers, _effort: found(numbers))
    for word, true in zip(heard.hearing.words, SAID, strict=True):
        assert word.start == pytest.approx(true.start, abs=0.01)
        assert word.end == pytest.approx(true.end, abs=0.01)


def test_a_window_that_ends_too_early_is_decoded_again_from_where_words_went_missing() -> None:
    heard, calls = hear(lambda call, numbers, _effort: found(numbers, SAID if call else between(0, 8)))
    (_first, (since, until, effort)) = calls
    assert 8.0 < since <= 8.6
    assert until == pytest.approx(16 + REACH / RATE, abs=0.01)
    assert effort == Effort()
    assert said(heard) == EVERYTHING
    assert heard.redecoded == pytest.approx(6.8)
    assert heard.covered_seconds == pytest.approx(SECONDS)
    assert heard.doubtful_seconds == 0.0
    assert {segment.doubt for segment in segments(heard, False)} == {""}


def test_a_hole_at_the_beginning_is_decoded_alone() -> None:
    heard, calls = hear(lambda call, numbers, _effort: found(numbers, SAID if call else between(4.6, 16)))
    (_first, (since, until, _effort)) = calls
    assert since == 0.0
    assert 4.0 <= until < 4.6
    assert said(heard) == EVERYTHING
    assert heard.redecoded == pytest.approx(4.0)


def test_without_a_pause_it_is_cut_where_words_went_missing() -> None:
    speech = ((0.0, 16.0),)
    heard, calls = hear(lambda call, numbers, _effort: found(numbers, SAID if call else between(0, 8)), speech)
    assert 7.5 < calls[1][0] < 9
    assert said(heard) == EVERYTHING


def test_what_was_heard_first_stays_when_nothing_better_is_heard() -> None:
    def answer(call: int, numbers: "Samples", _effort: Effort) -> Decoded:
        loop = [Word(word.start, word.end, " oh") for word in SAID]
        return found(numbers, loop) if call else found(numbers, between(0, 8))

    heard, calls = hear(answer)
    assert len(calls) > 1
    assert said(heard) == [word.text for word in between(0, 8)]
    assert Objection.MISSING in judge(heard.hearing)
    missing = heard.window.speech_seconds - heard.covered_seconds
    assert missing == pytest.approx(6.8, abs=0.3)
    assert heard.doubtful_seconds == pytest.approx(missing)
    assert 6.8 - 1e-9 <= heard.redecoded <= SECONDS


def test_the_better_of_two_hearings_is_kept() -> None:
    """The halves are surer than the whole."""

    def answer(call: int, numbers: "Samples", _effort: Effort) -> Decoded:
        return found(numbers, SAID, SURE if call else LOGPROB - 0.5)

    heard, calls = hear(answer)
    assert [call[0] for call in calls[1:]] == pytest.approx([0.0, 4.6 - REACH / RATE]), (
        "cut in the first of the longest pauses"
    )
    assert heard.hearing.avg_logprob == pytest.approx(SURE)
    assert said(heard) == EVERYTHING
    assert heard.redecoded == pytest.approx(SECONDS)
    assert heard.doubtful_seconds == 0.0


def test_a_loop_is_decoded_again_without_repeats() -> None:
    def answer(_call: int, numbers: "Samples", effort: Effort) -> Decoded:
        words = SAID if effort.no_repeat else [Word(word.start, word.end, " oh") for word in SAID]
        return replace(found(numbers, words), limited=not effort.no_repeat)

    heard, calls = hear(answer)
    assert [effort for _, _, effort in calls] == [Effort(), Effort(no_repeat=NO_REPEAT)]
    assert calls[0][:2] == calls[1][:2], "the whole window"
    assert said(heard) == EVERYTHING
    assert heard.redecoded == pytest.approx(SECONDS)


def test_who_repeats_himself_in_every_cut_is_no_loop() -> None:
    """T3: "no, no, no, no, no, no" stays, though a decoder that may not repeat itself hears something else."""
    refrain = [Word(word.start, word.end, " no" if 10 <= n < 18 else word.text) for n, word in enumerate(SAID)]

    def answer(_call: int, numbers: "Samples", effort: Effort) -> Decoded:
        return found(numbers, between(0, 3) if effort.no_repeat else refrain, SURE)

    for speech in (SPEECH, ((0.0, 16.0),)):
        heard, calls = hear(answer, speech)
        assert len(calls) > 1
        assert said(heard) == [word.text for word in refrain]
        assert judge(heard.hearing) == ()


def test_several_holes_are_all_heard_again() -> None:
    """T3: speech without a pause, of which the decoder skips one part after the other in whatever is long."""

    def answer(_call: int, numbers: "Samples", _effort: Effort) -> Decoded:
        lost = [*between(2, 4), *between(9, 11)] if len(numbers) > 5 * RATE else []
        return found(numbers, [word for word in SAID if word not in lost])

    heard, _calls = hear(answer, ((0.0, 16.0),))
    assert len(set(EVERYTHING) - set(said(heard))) <= 1, "but a word at a cut: these numbers have no quiet places"


def test_what_began_a_broken_sentence_is_heard_again_with_the_rest() -> None:
    """T3: alignment puts words from behind what was dropped before it."""
    names = [f"{word.text}." if n == 7 else word.text for n, word in enumerate(SAID)]
    whole = [Word(word.start, word.end, name) for word, name in zip(SAID, names, strict=True)]

    def answer(call: int, numbers: "Samples", _effort: Effort) -> Decoded:
        if call:
            return found(numbers, whole)
        moved = [Word(word.start, word.end, whole[n + 6].text) for n, word in enumerate(whole[8:10], 8)]
        return found(numbers, [*whole[:8], *moved, *whole[16:]])

    heard, calls = hear(answer, ((0.0, 16.0),))
    assert calls[1][0] == pytest.approx(whole[7].end, abs=0.3)
    assert said(heard)[8:] == names[8:]


def test_what_is_invented_where_nobody_speaks_is_dropped() -> None:
    def answer(_call: int, numbers: "Samples", _effort: Effort) -> Decoded:
        return found(numbers, [Word(0.1, 0.7, " Thank you.")], LOGPROB * 0.8, NO_SPEECH + 0.2)

    heard, _ = hear(answer, ((0.0, 0.8),))
    assert said(heard) == []
    assert segments(heard, True) == []

    sure, _ = hear(lambda _call, n, _effort: found(n, [Word(0.1, 0.7, " Thank you.")]), ((0.0, 0.8),))
    assert said(sure) == [" Thank you."]


def test_only_the_invented_take_of_several_is_dropped() -> None:
    """Words, and a tail in which nobody says anything although voice activity thought so."""
    tail = Word(12.7, 13.5, " Thank you.")

    def answer(call: int, numbers: "Samples", _effort: Effort) -> Decoded:
        if not call:
            return found(numbers, between(0, 12))
        if float(numbers[0]) / RATE > 12:
            return found(numbers, [tail], LOGPROB * 0.8, NO_SPEECH + 0.2)
        return found(numbers, between(0, 12))

    heard, _ = hear(answer)
    assert said(heard) == [word.text for word in between(0, 12)]


def test_doubts_that_stay_are_marked_and_counted() -> None:
    heard, calls = hear(lambda _call, numbers, _effort: found(numbers, SAID, LOGPROB - 0.5))
    assert len(calls) > 1
    assert said(heard) == EVERYTHING
    assert judge(heard.hearing) == (Objection.CONFIDENCE,)
    assert heard.doubtful_seconds == pytest.approx(SECONDS)
    assert heard.redecoded == pytest.approx(SECONDS)
    assert heard.covered_seconds == pytest.approx(SECONDS)
    assert {segment.doubt for segment in segments(heard, True)} == {Objection.CONFIDENCE.value}


def test_silence_that_the_model_confirms_is_not_decoded_again() -> None:
    heard, calls = hear(lambda _call, _numbers, _effort: Decoded((), 0.0, NO_SPEECH + 0.2, 0, False))
    assert len(calls) == 1
    assert (heard.redecoded, heard.doubtful_seconds) == (0.0, 0.0)


def most_calls(depth: int) -> int:
    """The first hole, the whole, and two halves, each of them checked again."""
    return 4 + 3 * most_calls(depth - 1) if depth else 0


def test_a_decoder_that_hears_nothing_is_not_asked_for_ever() -> None:
    speech = tuple((n * 1.5, n * 1.5 + 1.3) for n in range(int(LONGEST / RATE / 1.6)))
    heard, calls = hear(lambda _call, _numbers, _effort: Decoded((), 0.0, 0.0, 0, True), speech)
    assert DEPTH < len(calls) <= 1 + most_calls(DEPTH)
    assert said(heard) == []
    assert heard.covered_seconds == pytest.approx(0.0, abs=1e-9)
    assert heard.redecoded == pytest.approx(heard.window.speech_seconds)


def test_what_a_step_raises_ends_the_hearing() -> None:
    decoder = Scripted(lambda _call, numbers, _effort: found(numbers, between(0, 8)))

    def step() -> None:
        if decoder.calls:
            raise InterruptedError

    listener = Listener(decoder, Hint("en"), NUMBERS, 0, step)
    (heard,) = listener.hear([window_of()])
    with pytest.raises(InterruptedError):
        listener.check(heard)
    assert len(decoder.calls) == 1


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.sets(st.integers(0, len(SAID) - 1)), st.floats(-2, 0), st.floats(0, 1)), min_size=1, max_size=9
    )
)
def test_whatever_is_heard_the_seconds_add_up(script: list[tuple[set[int], float, float]]) -> None:
    """A decoder that loses words as the script says, with the confidence it says."""

    def answer(call: int, numbers: "Samples", _effort: Effort) -> Decoded:
        lost, logprob, silence = script[call % len(script)]
        return found(numbers, [word for n, word in enumerate(SAID) if n not in lost], logprob, silence)

    heard, calls = hear(answer)
    total = heard.window.speech_seconds
    assert len(calls) <= 1 + most_calls(DEPTH)
    assert (heard.redecoded > 0) == (len(calls) > 1)
    for seconds in (heard.redecoded, heard.covered_seconds, heard.doubtful_seconds):
        assert -1e-9 <= seconds <= total + 1e-9
    if Objection.MISSING in judge(heard.hearing):
        assert heard.doubtful_seconds >= total - heard.covered_seconds - 1e-9
    numbers = [EVERYTHING.index(text) for text in said(heard)]
    assert all(one < other for one, other in pairwise(numbers)), "in order, no word twice"
    assert all(Objection.INVENTED not in judge(take.hearing) for take in heard.takes)

    assert hear(answer) == (heard, calls), "the same again"


@settings(deadline=None, max_examples=40)
@given(st.sets(st.integers(0, len(SAID) - 1)), st.sets(st.integers(0, len(SAID) - 1)))
def test_hearing_again_never_makes_it_worse(lost: set[int], later: set[int]) -> None:
    def answer(call: int, numbers: "Samples", _effort: Effort) -> Decoded:
        return found(numbers, [word for n, word in enumerate(SAID) if n not in (later if call else lost)])

    heard, _ = hear(answer)
    first = Hearing(heard.window.speech, [word for n, word in enumerate(SAID) if n not in lost], SURE)
    assert score(heard.hearing) >= score(first) - 0.01
    again, _ = hear(answer)
    assert again == heard
