"""What speaks against a hearing, where words are missing, and which of two hearings is better (T2)."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podinsight.domain.coverage import (
    COMPRESSION,
    LETTERS_A_SECOND,
    LOGPROB,
    MISSING_SECONDS,
    NO_SPEECH,
    Hearing,
    Objection,
    Stretch,
    compression,
    covered_seconds,
    doubts,
    holes,
    is_loop,
    judge,
    score,
)
from podinsight.domain.transcript import Word

PHRASE = "the quick brown fox jumps over a lazy dog while seven wizards hold very boxing matches near old town"
TEXT = PHRASE.split()
SURE = LOGPROB / 4
UNSURE = LOGPROB - 0.5


def read(text: Sequence[str], start: float = 0.0, each: float = 0.5) -> list[Word]:
    """Words one after the other, without a pause."""
    return [Word(start + n * each, start + (n + 1) * each, f" {word}") for n, word in enumerate(text)]


GOOD = Hearing(((0.0, len(TEXT) * 0.5),), read(TEXT), SURE)


@st.composite
def stretches(draw: st.DrawFn, most: int = 5) -> tuple[Stretch, ...]:
    found, at = [], 0
    for pause, length in draw(
        st.lists(st.tuples(st.integers(1, 3000), st.integers(1, 6000)), min_size=1, max_size=most)
    ):
        found.append(((at + pause) / 1000, (at + pause + length) / 1000))
        at += pause + length
    return tuple(found)


@st.composite
def spoken(draw: st.DrawFn) -> list[Word]:
    found, at = [], 0
    for pause, length, letters in draw(
        st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 4000), st.integers(1, 9)), max_size=8)
    ):
        found.append(Word((at + pause) / 1000, (at + pause + length) / 1000, " " + "a" * letters))
        at += pause + length
    return found


def seconds(speech: Sequence[Stretch]) -> float:
    return sum(until - since for since, until in speech)


def overlap(one: Sequence[Stretch], other: Sequence[Stretch]) -> float:
    return sum(max(min(a[1], b[1]) - max(a[0], b[0]), 0.0) for a in one for b in other)


def test_nothing_speaks_against_words_all_over_the_speech() -> None:
    assert judge(GOOD) == ()
    assert holes(GOOD.speech, GOOD.words) == ()
    assert covered_seconds(GOOD.speech, GOOD.words) == pytest.approx(GOOD.speech_seconds)


# --- where words are missing ---


def test_a_dropped_sentence_is_a_hole_from_its_first_word_to_its_last() -> None:
    words = [word for word in GOOD.words if not 3 <= word.start < 6]
    ((since, until),) = holes(GOOD.speech, words)
    assert since == pytest.approx(3.0, abs=0.3)
    assert until == pytest.approx(6.0, abs=0.3)
    assert judge(replace(GOOD, words=words)) == (Objection.MISSING,)


def test_a_hole_shorter_than_a_sentence_does_not_count() -> None:
    words = [word for word in GOOD.words if word.start != 3.0]
    assert holes(GOOD.speech, words) == ()
    assert covered_seconds(GOOD.speech, words) == pytest.approx(GOOD.speech_seconds)


def test_a_hole_goes_on_over_a_pause() -> None:
    """Two halves of a second that are too short each are together long enough, and the pause belongs to the hole."""
    part = MISSING_SECONDS * 0.6
    speech = ((0.0, part), (part + 1, 2 * part + 1))
    assert holes(speech, []) == ((0.0, 2 * part + 1),)
    assert covered_seconds(speech, []) == pytest.approx(0.0, abs=1e-9)


def test_a_word_ends_a_hole() -> None:
    speech = ((0.0, 10.0),)
    (before, after) = holes(speech, [Word(5.0, 5.4, " word")])
    assert before[0] == 0.0
    assert before[1] < 5.0 < 5.4 < after[0]
    assert after[1] == 10.0


def test_a_word_that_alignment_has_stretched_over_a_hole_covers_only_its_ends() -> None:
    ((since, until),) = holes(((0.0, 10.0),), [Word(0.0, 10.0, " word")])
    assert 0 < since < 1
    assert 9 < until < 10


def test_pauses_without_words_are_no_holes() -> None:
    assert holes(((0.0, 0.5), (30.0, 30.5)), [*read(["one"]), *read(["two"], 30.0)]) == ()
    assert holes((), []) == ()


@given(stretches(), spoken())
def test_holes_are_in_order_and_begin_and_end_where_somebody_speaks(
    speech: tuple[Stretch, ...], words: list[Word]
) -> None:
    found = holes(speech, words)
    assert all(left[1] < right[0] for left, right in pairwise(found))
    for hole in found:
        assert overlap([hole], speech) >= MISSING_SECONDS - 1e-9
        assert any(since <= hole[0] < until for since, until in speech)
        assert any(since < hole[1] <= until for since, until in speech)


@given(stretches(), spoken())
def test_covered_seconds_and_holes_are_the_speech(speech: tuple[Stretch, ...], words: list[Word]) -> None:
    covered, missing = covered_seconds(speech, words), overlap(speech, holes(speech, words))
    assert covered + missing == pytest.approx(seconds(speech))
    assert -1e-9 <= covered <= seconds(speech) + 1e-9


@given(stretches())
def test_without_words_all_speech_is_one_hole_or_too_short(speech: tuple[Stretch, ...]) -> None:
    expected = ((speech[0][0], speech[-1][1]),) if seconds(speech) > MISSING_SECONDS + 1e-6 else None
    if expected:
        assert holes(speech, []) == expected
    elif seconds(speech) < MISSING_SECONDS - 1e-6:
        assert holes(speech, []) == ()


@given(stretches(most=1), spoken(), st.integers(0, 8))
def test_within_a_stretch_more_words_never_cover_less(
    speech: tuple[Stretch, ...], words: list[Word], without: int
) -> None:
    fewer = words[:without] + words[without + 1 :]
    assert covered_seconds(speech, fewer) <= covered_seconds(speech, words) + 1e-9


def test_holes_are_joined_over_a_pause_and_not_over_words() -> None:
    speech = ((0.0, 2.0), (3.0, 4.0), (5.0, 7.0))
    words = [Word(3.0, 3.5, " hello"), Word(3.5, 4.0, " world")]
    assert holes(speech, words) == ((0.0, 2.0), (5.0, 7.0))
    assert covered_seconds(speech, words) == 1.0
    assert holes(speech, words[:0]) == ((0.0, 7.0),)


@given(stretches(most=1), spoken())
def test_within_a_stretch_no_hole_has_a_word_in_it(speech: tuple[Stretch, ...], words: list[Word]) -> None:
    said = [(word.start, word.end) for word in words if word.end - word.start <= 0.4]
    assert overlap(holes(speech, words), said) == 0.0


# --- objections ---


def test_silence_without_words_is_no_objection_when_the_model_says_so_too() -> None:
    empty = Hearing(((0.0, 5.0),), [], 0.0, NO_SPEECH + 0.1)
    assert judge(empty) == ()
    assert judge(replace(empty, no_speech_prob=NO_SPEECH - 0.1)) == (Objection.MISSING,)
    assert doubts(replace(empty, no_speech_prob=NO_SPEECH - 0.1)) == (), "no words to doubt"


@pytest.mark.parametrize(
    "text",
    ["no " * 6, "thank you " * 5, "this is it " * 4, "one two three four five " * 3],
)
def test_the_same_words_over_and_over_are_a_loop(text: str) -> None:
    assert is_loop(f"He said: {text}")
    words = read(f"He said: {text}".split())
    assert Objection.LOOP in judge(Hearing(((0.0, words[-1].end),), words, SURE))


@pytest.mark.parametrize(
    "text",
    ["", "no no no no", "very, very", "thank you thank you", "One two three four five. One two three four five."],
)
def test_what_people_repeat_is_no_loop(text: str) -> None:
    assert not is_loop(text)


def test_what_compresses_like_a_loop_is_one() -> None:
    text = "".join(f"Number {n % 10} of the very same lines, line {n}. " for n in range(60))
    assert compression(text) > COMPRESSION
    assert is_loop(text)
    assert compression(GOOD.text) < COMPRESSION
    assert not is_loop(GOOD.text)


def test_what_only_the_limit_of_tokens_has_ended_is_a_loop() -> None:
    assert judge(replace(GOOD, limited=True)) == (Objection.LOOP,)


def test_confidence_is_that_of_the_words() -> None:
    assert judge(replace(GOOD, avg_logprob=UNSURE)) == (Objection.CONFIDENCE,)
    assert judge(replace(GOOD, avg_logprob=LOGPROB)) == ()
    assert Objection.CONFIDENCE not in judge(replace(GOOD, words=[], avg_logprob=UNSURE))


def test_nobody_speaks_that_fast() -> None:
    letters = sum(map(len, TEXT))
    hurried = letters / LETTERS_A_SECOND
    for length, objections in ((hurried * 0.9, (Objection.RATE,)), (hurried * 1.1, ())):
        words = read(TEXT, each=length / len(TEXT))
        assert judge(Hearing(((0.0, length),), words, SURE)) == objections


def test_six_words_in_no_time_are_more_than_anyone_says() -> None:
    """Alignment puts what was made up behind the last word into no time at all."""
    end = GOOD.words[-1].end
    invented = read(["go", "somewhere", "and", "do", "something", "else"], end - 0.5, 0.02)
    assert Objection.RATE in judge(replace(GOOD, words=[*GOOD.words, *invented]))
    assert Objection.RATE not in judge(replace(GOOD, words=[*GOOD.words, *invented[:3]]))
    assert Objection.RATE not in judge(Hearing(((0.0, 2.4),), read(TEXT[:12], each=0.2), SURE))


def test_little_speech_has_to_be_surer() -> None:
    breath = Hearing(((0.0, 2.0),), read(["oh", "bye"]), LOGPROB * 0.7, NO_SPEECH * 0.8)
    assert Objection.INVENTED in judge(breath)
    assert Objection.INVENTED not in judge(replace(breath, speech=((0.0, 4.0),)))
    assert Objection.INVENTED not in judge(replace(breath, avg_logprob=LOGPROB * 0.5))


@pytest.mark.parametrize("text", ["Thank you.", "Thanks for watching!", "Subtitles by the Amara.org community", "you"])
def test_what_captions_say_in_silence_is_invented_when_the_model_is_not_sure(text: str) -> None:
    words = [Word(0.0, 0.8, f" {text}")]
    speech = ((0.0, 3.0),)
    assert Objection.INVENTED in judge(Hearing(speech, words, SURE, NO_SPEECH + 0.1))
    assert Objection.INVENTED in judge(Hearing(speech, words, LOGPROB * 0.6, 0.0))
    assert Objection.INVENTED in judge(Hearing(((0.0, 0.3),), words, SURE, 0.0)), "hardly anyone speaks"
    assert Objection.INVENTED not in judge(Hearing(speech, words, SURE, 0.0)), "people do say it"


def test_any_words_are_invented_when_whisper_calls_it_silence() -> None:
    assert Objection.INVENTED in judge(replace(GOOD, avg_logprob=UNSURE, no_speech_prob=NO_SPEECH + 0.1))
    assert judge(replace(GOOD, no_speech_prob=NO_SPEECH + 0.1)) == ()
    assert Objection.INVENTED not in judge(replace(GOOD, avg_logprob=UNSURE, no_speech_prob=NO_SPEECH - 0.1))
    assert Objection.INVENTED not in judge(replace(GOOD, words=[], avg_logprob=UNSURE, no_speech_prob=1.0))


@given(stretches(), spoken(), st.floats(-3, 0), st.floats(0, 1), st.booleans())
def test_objections_come_once_in_one_order(
    speech: tuple[Stretch, ...], words: list[Word], logprob: float, no_speech: float, limited: bool
) -> None:
    hearing = Hearing(speech, words, logprob, no_speech, limited)
    found = judge(hearing)
    assert list(found) == [each for each in Objection if each in found]
    assert doubts(hearing) == (found if words else ())


# --- which is better ---


def test_more_words_are_better_and_so_is_more_confidence() -> None:
    assert score(GOOD) > score(replace(GOOD, words=GOOD.words[:8])) > score(replace(GOOD, words=[]))
    assert score(GOOD) > score(replace(GOOD, avg_logprob=SURE - 0.1))


def test_a_sentence_more_is_worth_some_confidence() -> None:
    half = replace(GOOD, words=GOOD.words[: len(TEXT) // 2], avg_logprob=SURE)
    assert score(replace(GOOD, avg_logprob=SURE - 0.3)) > score(half)


def test_a_loop_and_an_invention_are_worse_than_a_hole() -> None:
    holed = replace(GOOD, words=GOOD.words[:8])
    assert score(holed) > score(replace(GOOD, limited=True))
    assert score(holed) > score(replace(GOOD, avg_logprob=UNSURE, no_speech_prob=1.0))


@settings(deadline=None)
@given(stretches(), spoken(), st.floats(-5, 0), st.floats(-5, 0))
def test_confidence_orders_hearings_of_the_same_words(
    speech: tuple[Stretch, ...], words: list[Word], one: float, other: float
) -> None:
    low, high = sorted((one, other))
    assert score(Hearing(speech, words, low)) <= score(Hearing(speech, words, high))


@given(stretches(), spoken(), st.floats(-5, 0), st.floats(0, 1), st.booleans())
def test_scores_have_bounds(
    speech: tuple[Stretch, ...], words: list[Word], logprob: float, no_speech: float, limited: bool
) -> None:
    hearing = Hearing(speech, words, logprob, no_speech, limited)
    assert -4 - 1e-9 <= score(hearing) <= 1 + 1e-9
    assert score(replace(hearing, limited=True)) <= score(hearing)
