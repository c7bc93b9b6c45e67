"""The Transcriber port without a model: for the demo of everything else, for tests and for load."""

import hashlib
import io
import time
from collections.abc import Callable
from typing import BinaryIO, Final

from podinsight.domain.transcript import Part, Segment
from podinsight.errors import Permanent
from podinsight.ports import SpeechRequest

BYTES_PER_SECOND: Final = 8000  # as if all audio had 64 kbit/s
SEGMENT_SECONDS: Final = 5.0
WORDS: Final = (
    "archive", "audio", "chapter", "culture", "episode", "evening", "garden", "guest", "history", "host", "island",
    "letter", "library", "market", "memory", "minute", "morning", "music", "night", "number", "ocean", "paper",
    "people", "question", "radio", "river", "season", "signal", "silence", "story", "voice", "winter",
)  # fmt: skip


class ScriptedTranscriber:
    """Words that follow from the bytes of the audio and the moment alone, as long as it would last at 64 kbit/s.

    Args:
        delay: seconds to wait per second of audio.
        device: what it says it ran on.

    Bytes that are empty, or that start with `unreadable`, are not readable audio; zeros alone are silence.
    """

    def __init__(self, delay: float = 0.0, device: str = "cpu") -> None:
        self._delay = delay
        self._device = device

    def transcribe(self, audio: BinaryIO, request: SpeechRequest, beat: Callable[[float], None]) -> Part:
        began = time.perf_counter()
        beat(0.0)
        digest, size, silent = _read(audio, beat)
        duration = round(size / BYTES_PER_SECOND, 3)
        end = duration if request.end is None else min(request.end, duration)
        if request.start >= end:
            raise Permanent(f"the audio ends at {duration} s, before the chunk that starts at {request.start} s")
        segments: list[Segment] = []
        at = request.start
        while at < end:
            until = min(round(at + SEGMENT_SECONDS, 3), end)
            if self._delay:
                time.sleep(self._delay * (until - at))
            if not silent:
                segments.append(Segment(at, until, _sentence(digest, at), -0.25, 0.01, 1.2))
            beat(until - request.start)
            at = until
        spent = time.perf_counter() - began
        language = "en" if request.model.endswith(".en") else (request.language or "en")
        speech = 0.0 if silent else round(end - request.start, 3)
        return Part(
            request.n, request.start, end, language, 1.0, tuple(segments), speech, spent, spent, self._device, "none"
        )

    def profile(self, model: str) -> tuple[tuple[str, str], ...]:
        return (("engine", "scripted 1"), ("device", self._device), ("compute_type", "none"), ("model", model))


def _read(audio: BinaryIO, beat: Callable[[float], None]) -> tuple[bytes, int, bool]:
    """Hash, size, and whether it is silence, in bounded memory."""
    digest, size, silent = hashlib.sha256(), audio.seek(0, io.SEEK_END), True
    audio.seek(0)
    first = True
    while data := audio.read(2**20):
        if first and data.startswith(b"unreadable"):
            raise Permanent("unreadable audio: it says so itself")
        first = False
        silent = silent and not any(data)
        digest.update(data)
        beat(0.0)
    if not size:
        raise Permanent("unreadable audio: nothing in it could be decoded")
    return digest.digest(), size, silent


def _sentence(digest: bytes, at: float) -> str:
    picks = hashlib.sha256(digest + f"{at:.3f}".encode()).digest()[:8]
    words = [WORDS[pick % len(WORDS)] for pick in picks]
    return f"{words[0].capitalize()} {' '.join(words[1:])}."
