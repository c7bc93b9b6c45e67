"""A transcriber on a device without enough memory, around another one."""

from collections.abc import Callable, Mapping
from typing import BinaryIO

from podinsight.domain.transcript import Part
from podinsight.errors import OutOfMemory
from podinsight.ports import SpeechRequest, Transcriber


class CrampedTranscriber:
    """ports.Transcriber.

    Args:
        inner: does the work when there is room.
        room: model → the largest batch that fits it; 0: it does not fit at all. A model that is not named fits.
        usual: the batch when nobody says otherwise.
    """

    def __init__(self, inner: Transcriber, room: Mapping[str, int], usual: int = 8) -> None:
        self._inner, self._room, self._usual = inner, room, usual
        self.tried: list[tuple[str, int]] = []

    def transcribe(self, audio: BinaryIO, request: SpeechRequest, beat: Callable[[float], None]) -> Part:
        self._fit(request.model, request.batch)
        return self._inner.transcribe(audio, request, beat)

    def detect(self, audio: BinaryIO, model: str, beat: Callable[[float], None]) -> tuple[str, float]:
        self._fit(model, 1)
        return self._inner.detect(audio, model, beat)

    def profile(self, model: str) -> tuple[tuple[str, str], ...]:
        return self._inner.profile(model)

    def batch(self, model: str) -> int:
        return self._usual

    def device(self) -> tuple[str, str]:
        return self._inner.device()

    def _fit(self, model: str, batch: int) -> None:
        self.tried.append((model, batch))
        if batch > self._room.get(model, batch):
            raise OutOfMemory(f"transcribing with {model}: out of memory")
