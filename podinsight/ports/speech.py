"""Speech: where somebody speaks, chunks of audio, and speech to text."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from podinsight.domain.transcript import Part

Stretch = tuple[float, float]  # from, to: seconds of episode time


@dataclass(frozen=True)
class SpeechRequest:
    """One chunk to transcribe: [start, end) in seconds of episode time; `end` None means to the end of the audio.

    offset: episode time of the first sample of the audio that is handed over (a chunk's own file starts with it).
    speech: where somebody speaks, in episode time; None: find it. language None: detect it in this audio.
    prompt, hotwords: names and spellings to expect, as faster-whisper takes them. words: times of each word are wanted.
    batch: windows decoded at a time, 0: what fits the device. What is found does not depend on it.
    """

    n: int
    start: float
    end: float | None
    model: str
    language: str | None
    offset: float = 0.0
    speech: tuple[Stretch, ...] | None = None
    prompt: str | None = None
    hotwords: str | None = None
    words: bool = False
    batch: int = 0


class Transcriber(Protocol):
    """Speech to text on the device that is there (CUDA, else CPU).

    - `beat()` is called whenever there is progress; it may raise (`Abandoned`, `LeaseLost`) and the call ends at once;
    - the same samples, request and profile give the same segments, whatever the thread count and the batch;
    - unreadable audio raises `Permanent`; a model that is not there raises `Permanent` naming all three ways to get it;
    - a device without enough memory raises `OutOfMemory`, and the next call with a smaller batch or model may do.
    """

    def transcribe(self, audio: BinaryIO, request: SpeechRequest, beat: Callable[[float], None]) -> Part:
        """`beat` gets the seconds of audio done so far. The part says its model, its profile and its coverage."""
        ...

    def detect(self, audio: BinaryIO, model: str, beat: Callable[[float], None]) -> tuple[str, float]:
        """The language of the first half minute of speech in `audio` and its probability; ("", 0.0) for silence.
        A model of one language says that one."""
        ...

    def profile(self, model: str) -> tuple[tuple[str, str], ...]:
        """What byte equality is promised within: engine version, device, compute type, model, settings."""
        ...

    def batch(self, model: str) -> int:
        """How many windows it decodes at a time on this device when nobody says otherwise; at least 1."""
        ...

    def device(self) -> tuple[str, str]:
        """Device (`cpu`, `cuda`) and compute type. Raises ConfigError when the settings ask for what is not there."""
        ...


@dataclass(frozen=True)
class Heard:
    """What voice activity found in an episode: its length, and where somebody speaks, in order, not overlapping."""

    seconds: float
    speech: tuple[Stretch, ...]


class Cutter(Protocol):
    """Audio of any length as 16 kHz mono, streamed in bounded memory: what is in it, and chunks of it.

    - unreadable audio raises `Permanent`; `beat` is called at least with every minute of audio and may raise;
    - chunks hold exactly the samples that `Transcriber` would take from the whole file (FLAC loses nothing).
    """

    def listen(self, audio: BinaryIO, beat: Callable[[], None]) -> Heard: ...

    def profile(self) -> tuple[tuple[str, str], ...]:
        """What `listen` depends on besides the samples: what finds speech, its version and thresholds."""
        ...

    def cut(
        self,
        audio: BinaryIO,
        stretches: Sequence[Stretch],
        sink: Callable[[int], AbstractContextManager[BinaryIO]],
        beat: Callable[[], None],
    ) -> None:
        """Writes each stretch (in order, not overlapping) as 16 kHz mono FLAC to `sink(index)`, which is entered when
        the stretch begins and left when it is whole; left with an error when the cut fails."""
        ...
