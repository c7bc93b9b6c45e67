"""Pieces of audio with their windows, read and composed in a thread of its own, ahead of the device."""

import queue
import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO, Final

from podinsight.adapters.speech_audio import Window, windows
from podinsight.adapters.speech_windows import SpeechWindow, compose, lead, levelled
from podinsight.adapters.voice_activity import VoiceActivity, stretches
from podinsight.errors import OutOfMemory
from podinsight.ports import SpeechRequest, Stretch

if TYPE_CHECKING:
    from podinsight.adapters.speech_audio import Samples

POLL: Final = 0.5  # seconds between two looks at whether to stop


class Stopped(Exception):
    """Nobody wants the result any more."""


@dataclass(frozen=True)
class SpokenPiece:
    """A piece of audio of some minutes and the windows of speech in it."""

    audio: Window
    windows: tuple[SpeechWindow, ...]


class Ahead:
    """Reads a request's audio; at most one piece waits to be taken. A context: leaving it ends the thread.

    Args:
        stop: set when nobody wants the result any more.
    """

    def __init__(self, audio: BinaryIO, request: SpeechRequest, stop: threading.Event) -> None:
        self._audio, self._request, self._stop = audio, request, stop
        self._ready: queue.Queue[SpokenPiece | BaseException | None] = queue.Queue(maxsize=1)
        self._read = 0
        self._thread = threading.Thread(target=self._run, name="speech-ahead", daemon=True)

    def pieces(self, beat: Callable[[], None]) -> Iterator[SpokenPiece]:
        """The pieces in order. `beat` is called while the next one is waited for, as long as audio comes in. What
        reading raised is raised here."""
        self._thread.start()
        seen = -1
        while True:
            try:
                ready = self._ready.get(timeout=POLL)
            except queue.Empty:
                if self._read != seen:
                    seen = self._read
                    beat()
                continue
            if ready is None:
                return
            if isinstance(ready, BaseException):
                raise ready
            yield ready

    def close(self) -> None:
        """Ends the thread; whoever owns the audio may close it afterwards."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        last: BaseException | None = None
        try:
            request = self._request
            first = lead(request.speech, request.start) if request.speech is not None else None
            for piece in windows(self._audio, request.start, request.end, self._tick, request.offset, first):
                composed = tuple(compose(self._speech(piece), piece.samples, piece.first))
                self._put(SpokenPiece(replace(piece, samples=levelled(composed, piece.samples, piece.first)), composed))
        except Stopped:
            return
        except MemoryError as error:
            last = OutOfMemory("preparing audio: out of memory")
            last.__cause__ = error
        except BaseException as error:  # raised again in the thread that waits for the pieces
            last = error
        self._put_last(last)

    def _tick(self) -> None:
        self._read += 1
        if self._stop.is_set():
            raise Stopped

    def _put(self, piece: SpokenPiece) -> None:
        while True:
            self._tick()
            try:
                self._ready.put(piece, timeout=POLL)
            except queue.Full:
                continue
            return

    def _put_last(self, last: BaseException | None) -> None:
        while not self._stop.is_set():
            try:
                self._ready.put(last, timeout=POLL)
            except queue.Full:
                continue
            return

    def _speech(self, piece: Window) -> Sequence[Stretch]:
        given = self._request.speech
        if given is not None:
            clipped = ((max(since, piece.start), min(until, piece.end)) for since, until in given)
            return tuple((since, until) for since, until in clipped if since < until)
        return tuple((since + piece.start, until + piece.start) for since, until in speech_in(piece.samples))


def speech_in(samples: "Samples") -> tuple[Stretch, ...]:
    """Where somebody speaks in a piece of audio, in seconds from its beginning."""
    import numpy as np

    from podinsight.adapters.speech_audio import RATE

    voice = VoiceActivity()
    voice.feed(np.round(samples * 32768).astype(np.int16))
    return stretches(array("f", voice.finish().tobytes()), len(samples) / RATE)
