"""One request under way: windows go to threads that decode, and the calling thread beats."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO, Final

from podinsight.adapters.speech_ahead import POLL, Ahead, SpokenPiece, Stopped
from podinsight.adapters.speech_decoding import Decoder, Hint
from podinsight.adapters.speech_hearing import Heard, Listener
from podinsight.adapters.speech_models import translated
from podinsight.errors import OutOfMemory
from podinsight.ports import SpeechRequest

# A native call that takes longer than this counts as hanging: no more beats, and the lease's watchdog takes over.
LONGEST_CALL: Final = 60.0


@dataclass(frozen=True)
class LoadedModel:
    """A faster_whisper.WhisperModel, ready."""

    name: str
    model: Any
    decoder: Decoder


@dataclass
class Busy:
    """Seconds in which the device had something to do, whoever of several threads gave it."""

    seconds: float = 0.0
    _calls: int = 0
    _since: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def working(self) -> Iterator[None]:
        with self._lock:
            self._calls += 1
            if self._calls == 1:
                self._since = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._calls -= 1
                if not self._calls:
                    self.seconds += time.perf_counter() - self._since


class Run:
    """One request under way: pieces of audio come in, batches of windows go to threads that decode, and the calling
    thread beats. The language, when nobody has said it, is that of the first piece of audio with speech."""

    def __init__(
        self,
        loaded: LoadedModel,
        request: SpeechRequest,
        language: str | None,
        batch: int,
        callers: int,
        beat: Callable[[float], None],
    ) -> None:
        self._loaded, self._request, self._beat = loaded, request, beat
        self._batch, self._callers = batch, callers
        self._stop = threading.Event()
        self._todo: deque[tuple[tuple[int, ...], Callable[[], list[Heard]]]] = deque()
        self._waiting: dict[Future[list[Heard]], tuple[int, ...]] = {}
        self._listeners: dict[int, Listener] = {}  # of windows heard once at most
        self._heard: dict[int, Heard] = {}
        self._done = 0.0
        self._called = time.monotonic()
        self._count = 0
        self.busy = Busy()
        self.end = request.start
        self.language, self.probability = (language, 1.0) if language else ("", 0.0)

    def hear(self, audio: BinaryIO) -> None:
        """Decodes it all. What `beat` raises ends it at once; a call that is on the device then ends by itself."""
        ahead = Ahead(audio, self._request, self._stop)
        pool = ThreadPoolExecutor(self._callers, "speech")
        try:
            for piece in ahead.pieces(self._tick):
                self._add(piece)
                self.end = round(piece.audio.end, 3)
                self._work(pool, self._callers)
            self._work(pool, 0)
            self._tick(self.end - self._request.start)
        except OutOfMemory:
            self._stop.set()
            pool.shutdown(cancel_futures=True)  # what is on the device holds memory that the next, smaller try needs
            raise
        finally:
            self._stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            ahead.close()

    def result(self) -> list[Heard]:
        """What was heard in each window, in order."""
        return [self._heard[index] for index in range(self._count)]

    def _add(self, piece: SpokenPiece) -> None:
        """Batches of the windows, the longest first and ever fewer in a batch: the threads end together."""
        if not piece.windows:
            return
        if not self.language:
            with self.busy.working():
                self.language, self.probability = detected(self._loaded, piece)
        numbered = sorted(enumerate(piece.windows, self._count), key=lambda each: (-each[1].size, each[0]))
        self._count += len(numbered)
        listener = Listener(self._loaded.decoder, self._hint(), piece.audio.samples, piece.audio.first, self._step)
        while numbered:
            size = min(self._batch, -(-len(numbered) // (2 * self._callers)))
            part, numbered = numbered[:size], numbered[size:]
            indices = tuple(index for index, _ in part)
            self._listeners.update(dict.fromkeys(indices, listener))
            self._todo.append((indices, partial(listener.hear, [window for _, window in part])))

    def _work(self, pool: ThreadPoolExecutor, leave: int) -> None:
        """Has it done until all is under way, in no more than `leave` calls."""
        self._called = time.monotonic()
        while self._todo or len(self._waiting) > leave:
            while self._todo and len(self._waiting) <= self._callers:  # one more, so that no thread waits for this one
                indices, call = self._todo.popleft()
                self._waiting[pool.submit(self._on_device, call)] = indices
            done = wait(self._waiting, timeout=POLL, return_when=FIRST_COMPLETED).done
            for future in done:
                for index, heard in zip(self._waiting.pop(future), future.result(), strict=True):
                    self._take(index, heard)
            if done or time.monotonic() - self._called < LONGEST_CALL:
                self._tick()

    def _on_device(self, call: Callable[[], list[Heard]]) -> list[Heard]:
        with self.busy.working(), translated(f"transcribing with {self._request.model}"):
            return call()

    def _take(self, index: int, heard: Heard) -> None:
        """What was heard first is checked, and that is done next: decoding a window again takes longest of all."""
        listener = self._listeners.pop(index, None)
        if listener is not None and listener.objects(heard):
            self._todo.appendleft(((index,), lambda: [listener.check(heard)]))
            return
        self._heard[index] = heard
        self._done += heard.window.speech_seconds

    def _step(self) -> None:
        """Called by the decoding threads between calls of the device."""
        self._called = time.monotonic()
        if self._stop.is_set():
            raise Stopped

    def _tick(self, done: float | None = None) -> None:
        self._beat(self._done if done is None else done)

    def _hint(self) -> Hint:
        return Hint(self.language, self._request.prompt, self._request.hotwords)


def detected(loaded: LoadedModel, piece: SpokenPiece) -> tuple[str, float]:
    """The language of the longest window of a piece, and its probability: a greeting alone tells little."""
    with translated(f"detecting the language with {loaded.name}"):
        longest = max(piece.windows, key=lambda window: window.speech_seconds)
        samples = longest.samples(piece.audio.samples, piece.audio.first)
        language, probability = loaded.decoder.language(loaded.decoder.states([samples])[0])
    return language, round(probability, 4)
