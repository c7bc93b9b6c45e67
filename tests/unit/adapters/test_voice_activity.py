from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podinsight.adapters.speech_audio import RATE
from podinsight.adapters.voice_activity import (
    FRAME,
    FRAME_MS,
    PAD_MS,
    QUIET_FRAMES,
    QUIET_THRESHOLD,
    SPEECH_FRAMES,
    THRESHOLD,
    VoiceActivity,
    stretches,
)
from podinsight.ports import Stretch
from tests.support import sound
from tests.support.sound import Sound

# Runs of frames that are loud, quiet or between: what hysteresis is about.
RUN = st.tuples(st.sampled_from([0.0, 0.1, QUIET_THRESHOLD, 0.3, THRESHOLD, 0.9]), st.integers(1, 20))
RUNS = st.lists(RUN, max_size=25).map(lambda runs: [value for value, count in runs for _ in range(count)])


def listen(samples: Sound, step: int = 4_001) -> tuple[Stretch, ...]:
    return stretches(probabilities(samples, step).tolist(), len(samples) / RATE)


def probabilities(samples: Sound, step: int) -> "np.typing.NDArray[np.float32]":
    voice = VoiceActivity()
    for first in range(0, len(samples), step):
        voice.feed(samples[first : first + step])
    return voice.finish()


def length(frames: list[float]) -> float:
    return len(frames) * FRAME_MS / 1000


def share(found: tuple[Stretch, ...], since: float, until: float) -> float:
    """How much of a span is speech."""
    return sum(max(0.0, min(until, end) - max(since, start)) for start, end in found) / (until - since)


@given(RUNS)
def test_stretches_are_in_order_apart_and_inside(frames: list[float]) -> None:
    marks = [mark for stretch in stretches(frames, length(frames)) for mark in stretch]
    assert all(one < two for one, two in pairwise(marks))
    assert marks == [round(mark, 3) for mark in marks]
    assert not marks or 0 <= marks[0] < marks[-1] <= length(frames)


@given(RUNS)
def test_what_is_surely_speech_is_in_a_stretch_with_some_room(frames: list[float]) -> None:
    found = stretches(frames, length(frames))
    loud = [frame >= THRESHOLD for frame in frames]
    for first in range(len(loud) - SPEECH_FRAMES + 1):
        if all(loud[first : first + SPEECH_FRAMES]):
            since, until = first * FRAME_MS / 1000, (first + SPEECH_FRAMES) * FRAME_MS / 1000
            assert any(start <= since and until <= end for start, end in found)


@given(RUNS)
def test_a_pause_between_speech_stays_a_pause_and_a_stretch_holds_no_long_one(frames: list[float]) -> None:
    found = stretches(frames, length(frames))
    least = QUIET_FRAMES * FRAME_MS / 1000 / 3
    assert all(two[0] - one[1] >= least - 0.001 for one, two in pairwise(found))
    quiet = [frame < QUIET_THRESHOLD for frame in frames]
    for first in range(len(quiet) - QUIET_FRAMES + 1):
        if all(quiet[first : first + QUIET_FRAMES]):
            middle = (first + QUIET_FRAMES / 2) * FRAME_MS / 1000
            assert not any(start < middle - PAD_MS / 1000 and middle + PAD_MS / 1000 < end for start, end in found)


@given(RUNS)
def test_there_is_no_speech_far_from_frames_that_may_be(frames: list[float]) -> None:
    for start, end in stretches(frames, length(frames)):
        since, until = round(start * 1000), round(end * 1000)
        inside = range(since // FRAME_MS, min(until // FRAME_MS + 1, len(frames)))
        loud = [n for n in inside if frames[n] >= THRESHOLD]
        maybe = [n for n in inside if frames[n] >= QUIET_THRESHOLD]
        assert loud
        assert since >= loud[0] * FRAME_MS - PAD_MS
        assert until <= (maybe[-1] + 1) * FRAME_MS + PAD_MS


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ([], ()),
        ([0.9] * (SPEECH_FRAMES - 1), ()),
        ([0.34] * 50, ()),
        ([0.9] * 10, ((0.0, 0.32),)),
        ([0.0] * 10 + [0.9] * 10 + [0.0] * 10, ((0.12, 0.84),)),
        ([0.9] * 10 + [0.0] * 5 + [0.9] * 10, ((0.0, 0.8),)),
        ([0.9] * 10 + [0.0] * 6 + [0.9] * 10, ((0.0, 0.384), (0.448, 0.832))),
        ([0.9] * 10 + [0.25] * 6 + [0.9] * 10, ((0.0, 0.832),)),
        ([0.9] * 10 + [0.0] * 5 + [0.25] * 3 + [0.9] * 10, ((0.0, 0.405), (0.491, 0.896))),
    ],
)
def test_worked_examples(frames: list[float], expected: tuple[Stretch, ...]) -> None:
    assert stretches(frames, length(frames)) == expected


def test_the_last_frame_reaches_no_further_than_the_audio() -> None:
    assert stretches([0.9] * 10, 0.301) == ((0.0, 0.301),)


def test_it_finds_in_batches_what_the_model_finds_in_the_whole() -> None:
    """T3: bounded memory and several threads cost nothing. 104 s are four batches."""
    from faster_whisper.vad import get_vad_model

    samples = np.tile(sound.speech("episode-1.mp3"), 3)
    samples = samples[: len(samples) // FRAME * FRAME]
    whole = get_vad_model()(samples.astype(np.float32) / 32768).ravel()
    found = probabilities(samples, 4_001)
    assert len(found) == len(whole) == len(samples) // FRAME
    assert np.mean((whole >= THRESHOLD) == (found >= THRESHOLD)) > 0.98
    assert np.mean(found[whole >= THRESHOLD] >= THRESHOLD) > 0.99


def test_neither_threads_nor_pieces_change_what_it_finds() -> None:
    samples = np.tile(sound.speech("episode-1.mp3"), 3)
    found = probabilities(samples, 4_001)
    assert np.array_equal(probabilities(samples, 999_999), found)
    for threads in (1, 3):
        voice = VoiceActivity(threads)
        voice.feed(samples)
        assert np.array_equal(voice.finish(), found)


@pytest.mark.parametrize("pause", [0.3, 0.5])
def test_pauses_are_seen_and_what_is_around_them_is_kept(pause: float) -> None:
    """Where a sentence ends in the sample, its own pause is taken out and one of a known length put in."""
    spoken = sound.speech()
    gaps = [(one[1], two[0]) for one, two in pairwise(listen(spoken)) if two[0] - one[1] > 0.1]
    cuts = [round((one + two) / 2 * RATE) for one, two in gaps]
    assert len(cuts) >= 3
    pieces = [spoken[one:two] for one, two in pairwise([0, *cuts, len(spoken)])]
    for left, right in pairwise(pieces):
        found = listen(np.concatenate([left, sound.silence(pause), right]))
        since = len(left) / RATE
        assert share(found, since, since + pause) < 1


def test_speech_is_heard_at_a_tenth_of_its_level_and_music_and_silence_are_not() -> None:
    spoken = sound.speech()
    seconds = len(spoken) / RATE
    quiet = (spoken / 10).astype(np.int16)
    found = listen(np.concatenate([spoken, sound.silence(60), sound.music(30), quiet]))
    assert share(found, 0, seconds) > 0.85
    assert share(found, seconds + 1, seconds + 89) == 0
    assert share(found, seconds + 90, 2 * seconds + 90) > 0.85


@pytest.mark.parametrize(
    ("loud", "quiet", "decibels"),
    [
        ("episode-1.mp3", "episode-2.mp3", 40),
        ("episode-2.mp3", "episode-3.m4a", 45),
        ("episode-3.m4a", "episode-1.mp3", 45),
    ],
)
def test_a_quiet_voice_between_loud_ones_is_heard(loud: str, quiet: str, decibels: int) -> None:
    """T3, as when a caller is far from the microphone. Heard once, in one run with what is loud, the model takes less
    than half of the quiet voice for speech at -40 dB, and none of it at -45 dB; alone it is heard."""
    voice = sound.speech(loud)[2 * RATE : 12 * RATE]
    caller = (sound.speech(quiet)[5 * RATE : 9 * RATE] / 10 ** (decibels / 20)).astype(np.int16)
    found = listen(np.concatenate([voice, sound.silence(0.3), caller, sound.silence(0.3), voice]))
    since = len(voice) / RATE + 0.3
    assert share(found, since, since + 4) > 0.75


def test_half_a_second_of_nothing_and_none_at_all() -> None:
    assert listen(sound.silence(0.5)) == ()
    assert VoiceActivity().finish().tolist() == []
