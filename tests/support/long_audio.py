"""Recordings strung together with pauses to long audio: episodes of several chunks, for tests and benchmarks."""

import io
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

RATE = 16_000
AUDIO_SUFFIXES = {".mp3", ".m4a", ".wav", ".flac", ".ogg", ".opus", ".aac"}
SAMPLES = Path(__file__).parents[2] / "samples"
PAUSES = (0.2, 0.4, 0.6, 0.8, 1.2, 2.0)  # seconds
Samples = NDArray[np.int16]


@cache
def recordings_in(folder: Path) -> dict[str, Samples]:
    """File name → 16 kHz mono, by name. Raises SystemExit when there are none."""
    found = {path.name: _decoded(path) for path in sorted(folder.iterdir()) if path.suffix.lower() in AUDIO_SUFFIXES}
    if not found:
        raise SystemExit(f"no recordings in {folder}")
    return found


def order(names: list[str], seed: int) -> Iterator[tuple[str, float]]:
    """Without end: (name, seconds of pause after it); all names in a new order, again and again."""
    dice = random.Random(seed)
    while True:
        turn = names.copy()
        dice.shuffle(turn)
        for name in turn:
            yield name, dice.choice(PAUSES)


def strung(seconds: float, seed: int, folder: Path = SAMPLES) -> tuple[Samples, list[str]]:
    """At least `seconds` of recordings with pauses, whole ones, and their names in the order in which they come."""
    recordings = recordings_in(folder)
    pieces: list[Samples] = []
    names: list[str] = []
    length = 0
    for name, pause in order(list(recordings), seed):
        if length >= seconds * RATE:
            break
        pieces += [recordings[name], np.zeros(int(pause * RATE), np.int16)]
        length += len(pieces[-2]) + len(pieces[-1])
        names.append(name)
    return np.concatenate(pieces), names


def flac(samples: Samples, title: str = "") -> bytes:
    """As a 16 kHz mono file. Two of different titles are different files of the same sound: neither is the other's
    twin, whose transcript it would take."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="flac") as container:
        container.metadata["title"] = title
        stream = container.add_stream("flac", rate=RATE, layout="mono")
        for start in range(0, len(samples), 4096):
            block = samples[start : start + 4096].reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def _decoded(path: Path) -> Samples:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    with av.open(str(path)) as container:
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])
