"""The Cutter port without decoding, for what the scripted transcriber takes for audio."""

import io
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import BinaryIO

from podinsight.adapters.memory_audio import BYTES_PER_SECOND, MINUTE, label, read
from podinsight.errors import Permanent
from podinsight.ports import Heard, Stretch


class ScriptedCutter:
    """Chunks are bytes of the episode with a label from which `ScriptedTranscriber` says what it says of the whole.

    `beat` is called with every minute, and with every chunk.
    """

    def listen(self, audio: BinaryIO, beat: Callable[[], None]) -> Heard:
        beat()
        whole = read(audio, beat)
        return Heard(whole.end, whole.speech)

    def profile(self) -> tuple[tuple[str, str], ...]:
        return (("engine", "scripted 1"),)

    def cut(
        self,
        audio: BinaryIO,
        stretches: Sequence[Stretch],
        sink: Callable[[int], AbstractContextManager[BinaryIO]],
        beat: Callable[[], None],
    ) -> None:
        whole = read(audio, beat)
        for index, (start, end) in enumerate(stretches):
            beat()
            if start >= whole.end:
                raise Permanent(f"the audio ends at {whole.end} s, before the chunk that starts at {start} s")
            first, last = (round(moment * BYTES_PER_SECOND) for moment in (start, end))
            with sink(index) as out:
                out.write(label(whole, start, end))
                audio.seek(whole.skip + first, io.SEEK_SET)
                _copy(audio, out, last - first, beat)


def _copy(audio: BinaryIO, out: BinaryIO, size: int, beat: Callable[[], None]) -> None:
    while size and (data := audio.read(min(size, MINUTE))):
        out.write(data)
        size -= len(data)
        beat()
