"""The Transcriber port without a model: for the demo of everything else, for tests and for load."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, Final

from podinsight.adapters.memory_audio import BYTES_PER_SECOND, Recording, read, within
from podinsight.domain.transcript import Part, Segment, Word
from podinsight.errors import Permanent
from podinsight.ports import SpeechRequest, Stretch

__all__ = ["BYTES_PER_SECOND", "SEGMENT_SECONDS", "WORDS", "ScriptedTranscriber"]

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

    Bytes that are empty, or that start with `unreadable`, are not readable audio; a second of zeros is silent, and
    every 20 s end in a pause. A chunk's file of `ScriptedCutter` gives what the whole episode gives for that span.
    """

    def __init__(self, delay: float = 0.0, device: str = "cpu") -> None:
        self._delay = delay
        self._device = device

    def transcribe(self, audio: BinaryIO, request: SpeechRequest, beat: Callable[[float], None]) -> Part:
        began = time.perf_counter()
        beat(0.0)
        recording = read(audio, lambda: beat(0.0))
        end = _end(recording, request)
        speech = within(recording.speech if request.speech is None else request.speech, request.start, end)
        segments: list[Segment] = []
        for since, until, spoken in _steps(request.start, end, speech):
            if self._delay:
                time.sleep(self._delay * (until - since))
            if spoken:
                segments.append(_segment(recording.digest, since, until, request.words))
            beat(until - request.start)
        spent = time.perf_counter() - began
        seconds = round(sum(until - since for since, until in speech), 3)
        return Part(
            n=request.n,
            start=request.start,
            end=end,
            language="en" if request.model.endswith(".en") else (request.language or "en"),
            language_probability=1.0,
            segments=tuple(segments),
            speech_seconds=seconds,
            wall_seconds=spent,
            device_seconds=spent,
            device=self._device,
            compute_type="none",
            model=request.model,
            profile=self.profile(request.model),
            covered_seconds=seconds,
        )

    def detect(self, audio: BinaryIO, model: str, beat: Callable[[float], None]) -> tuple[str, float]:
        beat(0.0)
        recording = read(audio, lambda: beat(0.0))
        return ("en", 1.0) if recording.speech or model.endswith(".en") else ("", 0.0)

    def profile(self, model: str) -> tuple[tuple[str, str], ...]:
        return (("engine", "scripted 2"), ("device", self._device), ("compute_type", "none"), ("model", model))

    def batch(self, model: str) -> int:
        """One, whatever the model."""
        del model
        return 1

    def device(self) -> tuple[str, str]:
        return self._device, "none"


def _end(recording: Recording, request: SpeechRequest) -> float:
    """The end of the chunk. A chunk's file must hold what is asked for: a wrong offset would go unnoticed otherwise."""
    if request.offset != recording.start:
        raise Permanent(f"this audio starts at {recording.start} s, not at {request.offset} s as the request says")
    end = recording.end if request.end is None else min(request.end, recording.end)
    if not recording.start <= request.start < end:
        raise Permanent(
            f"the audio ends at {recording.end} s, before the chunk that starts at {request.start} s"
            if request.start >= end
            else f"the audio starts at {recording.start} s, after the chunk that starts at {request.start} s"
        )
    return end


def _steps(start: float, end: float, speech: Sequence[Stretch]) -> Iterator[tuple[float, float, bool]]:
    """[start, end) in steps of at most SEGMENT_SECONDS, each spoken or not."""
    at = start
    for since, until in [*speech, (end, end)]:
        for first, last, spoken in ((at, since, False), (since, until, True)):
            while first < last:
                step = min(round(first + SEGMENT_SECONDS, 3), last)
                yield first, step, spoken
                first = step
        at = until


def _segment(digest: bytes, since: float, until: float, timed: bool) -> Segment:
    text = _sentence(digest, since)
    words = text.split()
    marks = [round(since + (until - since) * n / len(words), 3) for n in range(len(words) + 1)] if timed else []
    spoken = tuple(Word(first, last, word, 0.9) for first, last, word in zip(marks, marks[1:], words, strict=False))
    return Segment(since, until, text, -0.25, 0.01, 1.2, words=spoken)


def _sentence(digest: bytes, at: float) -> str:
    picks = hashlib.sha256(digest + f"{at:.3f}".encode()).digest()[:8]
    words = [WORDS[pick % len(WORDS)] for pick in picks]
    return f"{words[0].capitalize()} {' '.join(words[1:])}."
