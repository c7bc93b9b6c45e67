"""The Cutter port with PyAV: voice activity, and chunks as FLAC, each in one pass through the file."""

from array import array
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, BinaryIO

from podinsight.adapters.speech_audio import RATE, Tape, ends_before
from podinsight.adapters.voice_activity import VoiceActivity, profile, stretches
from podinsight.errors import Permanent
from podinsight.ports import Heard, Stretch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SAMPLES_AT_ONCE = 10 * RATE
_FRAME = 4608  # samples: the longest of FLAC's subset that all decoders read; fewer frames are read in less time


class AudioCutter:
    """See ports.Cutter. Holds seconds of sound at a time (of probabilities, four megabytes for eight hours).

    Sample n of a file is at n / 16000 s of episode time; a stretch holds samples round(start × 16000) up to, and
    without, round(end × 16000).
    """

    def listen(self, audio: BinaryIO, beat: Callable[[], None]) -> Heard:
        beat()
        tape, voice = Tape(audio, beat), VoiceActivity()
        for block in tape.take(None):
            voice.feed(block)
        seconds = round(tape.position / RATE, 3)
        return Heard(seconds, stretches(array("f", voice.finish().tobytes()), seconds))

    def profile(self) -> tuple[tuple[str, str], ...]:
        return profile()

    def cut(
        self,
        audio: BinaryIO,
        stretches: Sequence[Stretch],
        sink: Callable[[int], AbstractContextManager[BinaryIO]],
        beat: Callable[[], None],
    ) -> None:
        """See the port. Raises `Permanent` when the audio ends before a stretch begins."""
        beat()
        tape = Tape(audio, beat)
        for index, (start, end) in enumerate(stretches):
            if not tape.skip(round(start * RATE)):
                raise Permanent(ends_before(tape.position, start))
            with sink(index) as out:
                flac = _Flac(out)
                for piece in tape.take(round(end * RATE)):
                    flac.write(piece)
                flac.close()


class _Written:
    """What FFmpeg has written and nobody has fetched yet: errors of a store are not to be raised inside FFmpeg.

    It cannot be wound back, so the file's header tells no length, whatever it goes to: the same bytes everywhere.
    """

    name = "chunk.flac"

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes) -> int:
        self._data += data
        return len(data)

    def fetch(self) -> bytes:
        data = bytes(self._data)
        self._data.clear()
        return data


class _Flac:
    """16 kHz mono samples into a FLAC file."""

    def __init__(self, out: BinaryIO) -> None:
        import av

        self._out, self._written = out, _Written()
        self._container: Any = av.open(self._written, "w", format="flac")
        options = {"frame_size": str(_FRAME)}
        self._stream: Any = self._container.add_stream("flac", rate=RATE, layout="mono", format="s16", options=options)
        self._held: list[NDArray[np.int16]] = []
        self._size = 0

    def write(self, samples: "NDArray[np.int16]") -> None:
        self._held.append(samples)
        self._size += len(samples)
        if self._size >= _SAMPLES_AT_ONCE:
            self._encode()

    def close(self) -> None:
        if self._size:
            self._encode()
        self._container.mux(self._stream.encode(None))
        self._container.close()
        self._out.write(self._written.fetch())

    def _encode(self) -> None:
        import av
        import numpy as np

        frame = av.AudioFrame.from_ndarray(np.concatenate(self._held)[None, :], format="s16", layout="mono")
        frame.sample_rate = RATE
        self._held, self._size = [], 0
        self._container.mux(self._stream.encode(frame))
        self._out.write(self._written.fetch())
