"""Sound for tests: samples as numpy arrays, and files of any format made of them with PyAV."""

import contextlib
import io
import tempfile
import wave
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from numpy.typing import NDArray

from podinsight.adapters.speech_audio import RATE, blocks
from tests.support.audio import CODECS

SAMPLES = Path(__file__).parents[2] / "samples"
Sound = NDArray[np.int16]


def speech(name: str = "episode-2.mp3") -> Sound:
    """A sample episode as 16 kHz mono."""
    with (SAMPLES / name).open("rb") as audio:
        return np.concatenate(list(blocks(audio)))


def silence(seconds: float) -> Sound:
    return np.zeros(round(seconds * RATE), np.int16)


def music(seconds: float) -> Sound:
    """Chords with four voices, a new one every two seconds, and an arpeggio over them, each note struck and fading."""
    chords = ((220.0, 261.6, 329.6, 440.0), (174.6, 220.0, 261.6, 349.2), (196.0, 246.9, 293.7, 392.0))
    at = np.arange(round(seconds * RATE)) / RATE
    out = np.zeros(len(at))
    bar, strike = (at // 2).astype(int) % len(chords), (at * 4).astype(int) % 4
    for voice in range(4):
        pitch = np.array([chord[voice] for chord in chords])[bar]
        for overtone in (1, 2, 3):
            out += np.sin(2 * np.pi * pitch * overtone * at) * np.exp(-(at % 2)) / overtone
        plucked = strike == voice
        out[plucked] += 2 * np.sin(4 * np.pi * pitch[plucked] * at[plucked]) * np.exp(-8 * (at[plucked] % 0.25))
    loudest = float(np.abs(out).max())
    return np.asarray(out / loudest * 12_000, np.int16)


def wav(sound: Sound, rate: int = RATE) -> bytes:
    """A WAV file. Several channels: one row each."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1 if sound.ndim == 1 else len(sound), 2, rate, 0, "NONE", ""))
        file.writeframes(np.ascontiguousarray(sound.T).tobytes())
    return out.getvalue()


def encoded(container: str, sound: Sound, rate: int, channels: int = 1) -> bytes:
    """16 kHz mono samples as a file: a key of CODECS, resampled to `rate`, on one channel or two alike."""
    layout = "stereo" if channels == 2 else "mono"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sound")
        with av.open(str(path), "w", format=container) as out:
            stream = out.add_stream(CODECS[container], rate=rate)
            assert isinstance(stream, av.AudioStream)
            stream.layout = layout
            frame = av.AudioFrame.from_ndarray(sound[None, :], format="s16", layout="mono")
            frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
            resampler = av.AudioResampler(stream.format, layout, rate, stream.frame_size or 1024)
            for piece in [*resampler.resample(frame), *resampler.resample(None)]:
                out.mux(stream.encode(piece))
            out.mux(stream.encode(None))
        return path.read_bytes()


class Shelf:
    """Where a cutter puts its chunks, and in which order it came and went."""

    def __init__(self) -> None:
        self.files: dict[int, bytes] = {}
        self.events: list[str] = []

    @property
    def sink(self) -> Callable[[int], AbstractContextManager[BinaryIO]]:
        return self._sink

    @contextlib.contextmanager
    def _sink(self, index: int) -> Iterator[BinaryIO]:
        self.events.append(f"enter {index}")
        out = io.BytesIO()
        try:
            yield out
        except BaseException as error:
            self.events.append(f"{type(error).__name__} {index}")
            raise
        self.files[index] = out.getvalue()
        self.events.append(f"leave {index}")
