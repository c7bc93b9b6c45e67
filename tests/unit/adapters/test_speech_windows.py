"""Windows for the speech model: all speech, once, in order, cut in pauses (T2, T3)."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podinsight.adapters.speech_audio import RATE
from podinsight.adapters.speech_windows import (
    ALONE,
    BREAK,
    EASING,
    ENOUGH,
    LONG_PAUSE,
    LONGEST,
    LOUDER,
    REACH,
    Piece,
    SpeechWindow,
    compose,
    lead,
    levelled,
    quietest,
)
from podinsight.ports import Stretch

if TYPE_CHECKING:
    from podinsight.adapters.speech_audio import Samples

SECONDS: Final = 200
NOISE: "Final[Samples]" = np.random.default_rng(4).uniform(-0.5, 0.5, SECONDS * RATE).astype(np.float32)
UNCUT: Final = (LONGEST - 2 * REACH) // RATE  # seconds of a stretch that surely fits
FEW: Final = settings(deadline=None, max_examples=40)


@st.composite
def spoken(draw: st.DrawFn, longest: int = 70_000) -> tuple[Stretch, ...]:
    """Stretches to the millisecond within the noise, few of them long."""
    length = st.one_of(st.integers(50, 4000), st.integers(50, 4000), st.integers(50, longest))
    pause = st.one_of(st.integers(20, 900), st.integers(20, 900), st.integers(20, 12_000))
    found: list[Stretch] = []
    at = draw(st.integers(0, 3000))
    for quiet, size in draw(st.lists(st.tuples(pause, length), max_size=40)):
        if at + quiet + size > SECONDS * 1000:
            break
        found.append(((at + quiet) / 1000, (at + quiet + size) / 1000))
        at += quiet + size
    return tuple(found)


def samples_of(speech: Sequence[Stretch], first: int = 0) -> list[tuple[int, int]]:
    return [(round(since * RATE) + first, round(until * RATE) + first) for since, until in speech]


def joined(pieces: Sequence[Piece]) -> list[tuple[int, int]]:
    """The speech of pieces, with cuts inside of a stretch undone."""
    found: list[tuple[int, int]] = []
    for piece in pieces:
        if found and found[-1][1] == piece.since:
            found[-1] = (found[-1][0], piece.until)
        else:
            found.append((piece.since, piece.until))
    return found


def all_pieces(windows: Sequence[SpeechWindow]) -> list[Piece]:
    return [piece for window in windows for piece in window.pieces]


@FEW
@given(spoken(), st.integers(0, 50))
def test_windows_hold_all_speech_once_in_order_and_none_is_too_long(speech: tuple[Stretch, ...], minutes: int) -> None:
    first = minutes * 60 * RATE
    windows = compose([(since + minutes * 60, until + minutes * 60) for since, until in speech], NOISE, first)
    pieces = all_pieces(windows)
    assert joined(pieces) == samples_of(speech, first)
    assert all(left.last <= right.first for left, right in pairwise(pieces)), "no sample twice"
    assert all(first <= piece.first <= piece.since < piece.until <= piece.last for piece in pieces)
    assert all(piece.last <= first + len(NOISE) for piece in pieces)
    assert all(piece.since - piece.first <= REACH and piece.last - piece.until <= REACH for piece in pieces)
    assert all(window.pieces and window.size <= LONGEST for window in windows)


@FEW
@given(spoken(longest=UNCUT * 1000))
def test_cuts_are_in_pauses_alone_and_in_every_long_one(speech: tuple[Stretch, ...]) -> None:
    windows = composed_apart(speech)
    assert [(piece.since, piece.until) for piece in all_pieces(windows)] == samples_of(speech)
    for window in windows:
        assert all(right.since - left.until < BREAK for left, right in pairwise(window.pieces))


@FEW
@given(spoken(longest=UNCUT * 1000))
def test_a_window_ends_in_a_pause_that_is_long_for_its_length_or_where_the_next_one_would_not_fit(
    speech: tuple[Stretch, ...],
) -> None:
    windows = composed_apart(speech)
    for n, (left, right) in enumerate(pairwise(windows)):
        pause = right.pieces[0].since - left.pieces[-1].until
        assert (
            pause >= BREAK
            or (left.size >= ENOUGH and pause >= LONG_PAUSE - EASING * (left.size - ENOUGH))
            or sum(window.size for window in windows[n:]) > LONGEST
        )
    for window in windows:
        size = 0
        for one, two in pairwise(window.pieces):
            size += one.size
            if size >= ENOUGH:
                assert two.since - one.until < max(LONG_PAUSE - EASING * (size - ENOUGH), 1)


@FEW
@given(spoken(longest=UNCUT * 1000))
def test_a_little_speech_is_heard_alone_only_where_nothing_else_fits(speech: tuple[Stretch, ...]) -> None:
    """Of "Okay." alone Whisper is too little sure to tell it from a breath (T3)."""
    for left, right in pairwise(compose(speech, NOISE, 0)):
        if is_little(left.pieces) or is_little(right.pieces):
            assert left.size + right.size > LONGEST


def composed_apart(speech: Sequence[Stretch]) -> list[SpeechWindow]:
    """The windows as they are before any is joined to its neighbour."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("podinsight.adapters.speech_windows.ALONE", 0)
        return compose(speech, NOISE, 0)


def is_little(pieces: Sequence[Piece]) -> bool:
    return sum(piece.until - piece.since for piece in pieces) < ALONE


def test_where_nobody_pauses_for_long_a_window_ends_in_the_longest_pause_of_its_second_half() -> None:
    speech = [(n * 3.0, n * 3.0 + (2.85 if n == 5 else 2.9)) for n in range(12)]
    windows = compose(speech, NOISE, 0)
    assert [len(window.pieces) for window in windows] == [6, 6]


@FEW
@given(spoken())
def test_quiet_pieces_are_made_louder_within_bounds_and_nothing_else_changes(speech: tuple[Stretch, ...]) -> None:
    quieter = NOISE.copy()
    for since, until in samples_of(speech)[::2]:
        quieter[since:until] *= 0.1
    before = quieter.copy()
    windows = compose(speech, quieter, 0)
    found = levelled(windows, quieter, 0)
    assert np.array_equal(quieter, before), "what it was given stays as it was"
    inside = np.zeros(len(NOISE), bool)
    for piece in all_pieces(windows):
        inside[piece.first : piece.last] = True
    assert np.array_equal(found[~inside], quieter[~inside])
    assert np.all(np.abs(found) >= np.abs(quieter) - 1e-9)
    assert np.all(np.abs(found) <= np.minimum(np.abs(quieter) * LOUDER + 1e-6, 1))


def test_a_quiet_voice_next_to_a_loud_one_is_made_louder() -> None:
    quieter = NOISE.copy()
    quieter[4 * RATE : 6 * RATE] *= 0.6
    windows = compose([(1.0, 3.0), (4.2, 5.8)], quieter, 0)
    found = levelled(windows, quieter, 0)
    level = [float(np.sqrt(np.mean(np.square(found[a * RATE : b * RATE])))) for a, b in ((1, 3), (4, 6))]
    assert level[1] == pytest.approx(level[0], rel=0.1)
    assert np.array_equal(levelled(windows[:0], quieter, 0), quieter)


@FEW
@given(spoken(), st.integers(1, 90))
def test_composing_depends_on_speech_and_its_samples_alone(speech: tuple[Stretch, ...], shift: int) -> None:
    windows = compose(speech, NOISE, 0)
    other = np.zeros_like(NOISE)
    for since, until in samples_of(speech):
        other[since:until] = NOISE[since:until]
    assert compose(list(speech), other, 0) == windows, "what nobody says does not matter"

    later = compose([(since + shift, until + shift) for since, until in speech], NOISE, shift * RATE)
    moved = [
        tuple(
            (p.first - shift * RATE, p.last - shift * RATE, p.since - shift * RATE, p.until - shift * RATE)
            for p in w.pieces
        )
        for w in later
    ]
    assert moved == [tuple((p.first, p.last, p.since, p.until) for p in w.pieces) for w in windows]


@pytest.mark.parametrize(
    ("speech", "end"),
    [
        ([(0.0, 9.0), (9.5, 20.0), (20.8, 30.0)], 20.4),
        ([(0.0, 19.0), (25.0, 30.0), (30.5, 41.0), (42.0, 50.0)], 41.5),  # a pause before 20 s is too early
        ([(0.0, 24.0), (24.6, 60.0)], None),
        ([(0.0, 60.0)], None),
        ([], None),
    ],
)
def test_a_chunk_is_led_by_what_comes_before_a_long_pause(speech: list[Stretch], end: float | None) -> None:
    assert lead(speech, 0.0) == (pytest.approx(end) if end else None)
    later = lead([(since + 1000.0, until + 1000.0) for since, until in speech], 1000.0)
    assert later == (pytest.approx(end + 1000.0) if end else None)


def test_nobody_speaks() -> None:
    assert compose((), NOISE, 0) == []
    assert compose([(SECONDS + 1.0, SECONDS + 2.0)], NOISE, 0) == [], "that is in another piece of audio"


def test_what_lies_outside_the_audio_is_left_out() -> None:
    (window,) = compose([(0.0, 12.0)], NOISE[: 5 * RATE], 10 * RATE)
    assert window.pieces == (Piece(10 * RATE, 12 * RATE + REACH, 10 * RATE, 12 * RATE),)


def test_of_a_pause_only_what_is_near_the_speech_is_taken() -> None:
    (window,) = compose([(1.0, 2.0), (4.0, 5.0)], NOISE, 0)
    assert window.size == 2 * RATE + 4 * REACH
    assert window.pauses() == ((2.0, 4.0),)
    assert window.speech == ((1.0, 2.0), (4.0, 5.0))
    assert window.speech_seconds == 2.0
    assert np.array_equal(
        window.samples(NOISE[RATE // 2 :], RATE // 2),
        np.concatenate([NOISE[piece.first : piece.last] for piece in window.pieces]),
    )


def test_a_stretch_longer_than_a_window_is_cut_where_it_is_quietest() -> None:
    length = UNCUT * 1.5
    quiet = round(length / 2 + 1)
    held = NOISE.copy()
    held[quiet * RATE : quiet * RATE + RATE // 4] = 0
    one, other = compose([(0.0, length)], held, 0)
    (left,), (right,) = one.pieces, other.pieces
    assert quiet * RATE < left.until < quiet * RATE + RATE // 4
    assert left.until == left.last == right.first == right.since


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_stretch_of_whole_windows_is_cut_too(times: int) -> None:
    longest = LONGEST - 2 * REACH
    windows = compose([(0.0, times * longest / RATE)], NOISE, 0)
    assert joined(all_pieces(windows)) == [(0, times * longest)]
    assert all(window.size <= LONGEST for window in windows)
    assert (len(windows) == 1) == (times == 1)


@given(st.integers(0, 9 * RATE), st.integers(1, 3 * RATE), st.integers(0, 5 * RATE))
@settings(deadline=None)
def test_the_quietest_place_is_inside(since: int, length: int, first: int) -> None:
    found = quietest(NOISE[: 20 * RATE], first, first + since, first + since + length)
    assert first + since <= found <= first + since + max(length, RATE // 50)


# --- times ---


@FEW
@given(spoken(), st.lists(st.integers(0, LONGEST), min_size=2, max_size=12))
def test_episode_times_never_go_back_and_are_inside_the_pieces(speech: tuple[Stretch, ...], samples: list[int]) -> None:
    for window in compose(speech, NOISE, 0)[:3]:
        marks = sorted(min(sample, window.size) / RATE for sample in samples)
        found = [window.episode_times(start, end) for start, end in pairwise(marks)]
        assert all(since <= until for since, until in found)
        assert all(left[1] <= right[0] for left, right in pairwise(found))
        for since, until in found:
            assert any(piece.first / RATE <= since <= until <= piece.last / RATE for piece in window.pieces)


@FEW
@given(spoken(), st.data())
def test_a_sample_of_a_window_is_found_again_in_the_episode(speech: tuple[Stretch, ...], data: st.DataObject) -> None:
    numbers = np.arange(len(NOISE), dtype=np.float32)  # exact below 2**24
    for window in compose(speech, NOISE, 0)[:3]:
        place = data.draw(st.integers(0, window.size - 1))
        number = int(window.samples(numbers, 0)[place])
        assert window.episode_times(place / RATE, place / RATE)[0] * RATE == pytest.approx(number, abs=0.01)


def test_a_word_over_a_shortened_pause_lies_where_its_middle_is() -> None:
    window = SpeechWindow((Piece(0, RATE, 0, RATE), Piece(5 * RATE, 6 * RATE, 5 * RATE, 6 * RATE)))
    assert window.episode_times(0.5, 1.2) == (0.5, 1.0)
    assert window.episode_times(0.9, 1.6) == (5.0, 5.6)
    assert window.episode_times(1.9, 2.5) == (5.9, 6.0), "alignment goes beyond the end"


# --- splitting ---


@FEW
@given(spoken(), st.integers(0, SECONDS * RATE))
def test_splitting_shares_out_all_speech(speech: tuple[Stretch, ...], at: int) -> None:
    for window in compose(speech, NOISE, 0)[:3]:
        inside = window.pieces[0].first + at % (window.pieces[-1].last - window.pieces[0].first)
        for place in (inside, at):
            before, after = window.split(place)
            left, right = (side.pieces if side else () for side in (before, after))
            assert joined([*left, *right]) == joined(window.pieces)
            assert all(piece.first <= piece.since < piece.until <= piece.last <= place for piece in left)
            assert all(place <= piece.first <= piece.since < piece.until <= piece.last for piece in right)


def test_a_side_without_speech_is_nothing() -> None:
    window = SpeechWindow((Piece(RATE - REACH, 2 * RATE + REACH, RATE, 2 * RATE),))
    assert window.split(RATE) == (None, SpeechWindow((Piece(RATE, 2 * RATE + REACH, RATE, 2 * RATE),)))
    assert window.split(2 * RATE) == (SpeechWindow((Piece(RATE - REACH, 2 * RATE, RATE, 2 * RATE),)), None)
    assert window.split(0) == (None, window)
    assert window.split(9 * RATE) == (window, None)
