"""Speech to text."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from podinsight.domain.transcript import Part


@dataclass(frozen=True)
class SpeechRequest:
    """One chunk to transcribe. `end` None means to the end of the audio. `language` None: detect."""

    n: int
    start: float
    end: float | None
    model: str
    language: str | None


class Transcriber(Protocol):
    """Speech to text on the device that is there (CUDA, else CPU).

    - `beat()` is called whenever there is progress; it may raise (`Abandoned`, `LeaseLost`) and the call ends at once;
    - the same audio, request and profile give the same segments, whatever the thread count;
    - unreadable audio raises `Permanent`; a model that is not there raises `Permanent` naming all three ways to get it.
    """

    def transcribe(self, audio: BinaryIO, request: SpeechRequest, beat: Callable[[float], None]) -> Part:
        """`beat` gets the seconds of audio done so far."""
        ...

    def profile(self, model: str) -> tuple[tuple[str, str], ...]:
        """What byte equality is promised within: engine version, device, compute type, model, settings."""
        ...
