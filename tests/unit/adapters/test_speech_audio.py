import io
import wave as wave_file
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from podinsight.adapters.speech_audio import CUT_WITHIN, RATE, WINDOW, samples, windows
from podinsight.errors import OutOfMemory, Permanent

SAMPLES = Path(__file__).parents[3] / "samples"


def ignore() -> None:
    """A tick that nobody listens to."""


def decode(audio: io.BytesIO, start: float, end: float | None, tick: Callable[[], None]) -> tuple[Any, float]:
    """The windows put together again, and where they end."""
    found = list(windows(audio, start, end, tick))
    assert [each.first for each in found[1:]] == [each.first + len(each.samples) for each in found[:-1]]
    assert found[0].start == pytest.approx(start, abs=1 / RATE)
    return np.concatenate([each.samples for each in found]), round(found[-1].end, 3)


def tone(seconds: float, rate: int = 44_100, channels: int = 2, codec: str = "mp3", hertz: float = 440) -> bytes:
    out = io.BytesIO()
    wave = (np.sin(np.arange(round(seconds * rate)) * hertz * 2 * np.pi / rate) * 16_000).astype(np.int16)
    with av.open(out, "w", format="mp3" if codec == "mp3" else codec) as container:
        stream = container.add_stream("libmp3lame" if codec == "mp3" else codec, rate=rate)
        assert isinstance(stream, av.AudioStream)
        stream.layout = "stereo" if channels == 2 else "mono"
        data = np.repeat(wave, channels).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(data, format="s16", layout=stream.layout.name)
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return out.getvalue()


@pytest.mark.parametrize(("start", "lead"), [(0.0, 2.5), (3.0, 8.0), (3.0, 3.001), (0.0, 99.0), (0.0, 400.0)])
def test_a_first_window_that_ends_early_leaves_nothing_out(start: float, lead: float) -> None:
    data = tone(12.0, rate=16_000, channels=1, codec="flac")
    whole, end = decode(io.BytesIO(data), start, None, ignore)
    found = list(windows(io.BytesIO(data), start, None, ignore, lead=lead))
    assert np.array_equal(np.concatenate([each.samples for each in found]), whole)
    assert round(found[-1].end, 3) == end
    assert [round(each.end, 3) for each in found[:-1]] == ([lead] if lead < end else [])


def test_it_is_what_faster_whisper_decodes() -> None:
    from faster_whisper import decode_audio

    for name in ("episode-1.mp3", "episode-3.m4a"):
        data = (SAMPLES / name).read_bytes()
        samples, end = decode(io.BytesIO(data), 0.0, None, ignore)
        theirs = decode_audio(io.BytesIO(data))
        assert samples.dtype == np.float32
        # theirs resamples in larger blocks: the same sound up to the rounding of 16 bits
        assert abs(len(samples) - len(theirs)) <= 32
        length = min(len(samples), len(theirs))
        assert float(np.abs(samples[:length] - theirs[:length]).max()) < 3 / 32768
        assert end == round(len(samples) / RATE, 3)


def test_spans_are_cut_exactly_and_fit_together() -> None:
    audio = (SAMPLES / "episode-2.mp3").read_bytes()
    whole, end = decode(io.BytesIO(audio), 0.0, None, ignore)
    marks = [0.0, 0.5, 10.0001, 20.0, None]
    parts = [decode(io.BytesIO(audio), a or 0.0, b, ignore) for a, b in pairwise(marks)]
    assert [each[1] for each in parts] == [0.5, 10.0, 20.0, end]
    assert np.array_equal(np.concatenate([each[0] for each in parts]), whole)


def test_broken_bytes_in_the_middle_lose_only_themselves() -> None:
    audio = bytearray(tone(20))
    whole, _ = decode(io.BytesIO(bytes(audio)), 0.0, None, ignore)
    audio[100_000:110_000] = b"\xff" * 10_000
    samples, end = decode(io.BytesIO(bytes(audio)), 0.0, None, ignore)
    assert 18 < end <= 20.1
    assert float(np.abs(samples[-RATE:]).mean()) == pytest.approx(float(np.abs(whole[-RATE:]).mean()), rel=0.2)


def test_a_format_that_changes_in_the_middle_is_followed() -> None:
    samples, end = decode(io.BytesIO(tone(3, 44_100, 2) + tone(3, 22_050, 1) + tone(3, 44_100, 1)), 0.0, None, ignore)
    assert end == pytest.approx(9, abs=0.4)
    for second in (1, 4, 7):
        spectrum = np.abs(np.fft.rfft(samples[second * RATE : (second + 1) * RATE]))
        assert int(spectrum.argmax()) == pytest.approx(440, abs=2)


def test_it_ticks_every_minute() -> None:
    ticks: list[None] = []
    decode(io.BytesIO(tone(150, 16_000, 1)), 0.0, None, lambda: ticks.append(None))
    assert len(ticks) == 2


def test_long_audio_is_cut_where_it_is_quiet_and_nothing_is_lost() -> None:
    seconds = 12 * 60
    wave = (np.sin(np.arange(seconds * RATE) * 0.2) * 16_000).astype(np.int16)
    wave[280 * RATE : 281 * RATE] = 0  # a pause that the first window can be cut in; the next one finds none
    out = io.BytesIO()
    with wave_file.open(out, "wb") as sound:
        sound.setparams((1, 2, RATE, 0, "NONE", ""))
        sound.writeframes(wave.tobytes())
    found = list(windows(io.BytesIO(out.getvalue()), 0.0, None, ignore))
    assert len(found) == 3
    assert 280 < found[0].end < 281
    assert all(len(each.samples) <= WINDOW for each in found)
    assert all(len(each.samples) > WINDOW - CUT_WITHIN for each in found[:-1])
    assert np.array_equal(np.concatenate([each.samples for each in found]) * 32768, wave)


@pytest.mark.parametrize("audio", [b"", b"<html>", bytes(100_000), (SAMPLES / "cover.png").read_bytes()])
def test_what_is_no_audio_is_permanent(audio: bytes) -> None:
    with pytest.raises(Permanent, match="unreadable audio"):
        decode(io.BytesIO(audio), 0.0, None, ignore)


def test_a_span_after_the_end_is_permanent() -> None:
    with pytest.raises(Permanent, match=r"ends at 2\.\d+ s"):
        decode(io.BytesIO(tone(2)), 3.0, None, ignore)


def test_samples_of_a_span_are_those_of_the_windows_also_from_a_chunk_of_its_own() -> None:
    audio = (SAMPLES / "episode-2.mp3").read_bytes()
    whole, end = decode(io.BytesIO(audio), 0.0, None, ignore)
    assert np.array_equal(samples(io.BytesIO(audio), 0.0, None, 0.0, ignore), whole)
    assert np.array_equal(samples(io.BytesIO(audio), 3.001, 9.5, 0.0, ignore), whole[48_016:152_000])
    out = io.BytesIO()
    with wave_file.open(out, "wb") as sound:
        sound.setparams((1, 2, RATE, 0, "NONE", ""))
        sound.writeframes((whole[48_016:] * 32768).astype(np.int16).tobytes())
    chunk = out.getvalue()
    assert np.array_equal(samples(io.BytesIO(chunk), 3.001, 9.5, 3.001, ignore), whole[48_016:152_000])
    assert np.array_equal(samples(io.BytesIO(chunk), 9.5, None, 3.001, ignore), whole[152_000:])
    found = list(windows(io.BytesIO(chunk), 4.0, 6.0, ignore, offset=3.001))
    assert [(each.start, each.end) for each in found] == [(4.0, 6.0)]
    assert np.array_equal(found[0].samples, whole[64_000:96_000])
    with pytest.raises(Permanent, match=f"ends at {end:.3f} s, before"):
        samples(io.BytesIO(chunk), 60.0, None, 3.001, ignore)
    with pytest.raises(Permanent, match=r"starts at 3\.001 s, after the chunk that starts at 3\.000 s"):
        samples(io.BytesIO(chunk), 3.0, None, 3.001, ignore)


@pytest.mark.parametrize("right", [1.0, 0.0, -1.0, -0.97])
def test_two_channels_are_heard_even_if_one_is_empty_or_the_other_turned_over(right: float) -> None:
    """T8: their middle is silence where one is the other turned over."""
    sound = np.random.default_rng(2).uniform(-0.4, 0.4, RATE)
    out = io.BytesIO()
    with wave_file.open(out, "wb") as file:
        file.setparams((2, 2, RATE, 0, "NONE", ""))
        file.writeframes((np.stack([sound, right * sound], axis=1) * 32768).astype("<i2").tobytes())
    heard, end = decode(io.BytesIO(out.getvalue()), 0.0, None, ignore)
    assert end == 1.0
    assert np.allclose(heard, sound * (1 + abs(right)) / 2, atol=2 / 32768)


class Starved(io.BytesIO):
    """As a file is to a decoder that no memory is left for: FFmpeg's ENOMEM and Python's own are both MemoryError."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size == 1:
            return super().read(size)
        raise MemoryError


def test_no_memory_left_says_nothing_about_the_audio() -> None:
    """T8: `unreadable audio` would be for good."""
    assert issubclass(av.error.MemoryError, MemoryError)
    with pytest.raises(OutOfMemory, match="reading audio: out of memory"):
        list(windows(Starved(tone(1.0)), 0.0, None, ignore))
