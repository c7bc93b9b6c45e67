"""How fast the machine is at each moment: the same piece of decoding, timed again and again beside what is measured.

What a benchmark finds to have changed may be the machine's doing: shared machines differ by a quarter from one half
minute to the next. Beside it, this tells which.
"""

import statistics
import threading
import time
from types import TracebackType
from typing import Final, Self

import numpy as np

EVERY: Final = 1.5  # seconds
_WINDOW: Final = (80, 3000)  # mel bands × frames of a window of 30 s, as Whisper hears it


class Machine:
    """Encodes one fixed window of noise on one core every 1.5 s, as a context manager.

    On a core of its own it takes a tenth of that core or so; the same all the time, so what it takes from what is
    measured is the same too.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._looks: list[tuple[float, float]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="machine", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def pace(self, since: float, until: float) -> float:
        """Mean seconds that a look took, of those begun between two moments (epoch seconds).

        Raises:
            SystemExit: there was none.
        """
        found = [seconds for at, seconds in list(self._looks) if since <= at <= until]
        if not found:
            raise SystemExit("the machine was not looked at: what is measured was too short")
        return statistics.fmean(found)

    def _look(self) -> None:
        from faster_whisper import WhisperModel

        from podinsight.adapters.whisper_models import WhisperOptions, find

        path = find(self._model, WhisperOptions(device="cpu"))
        model = WhisperModel(str(path), device="cpu", compute_type="int8", cpu_threads=1)
        window = np.random.default_rng(0).standard_normal(_WINDOW, dtype=np.float32)
        while not self._ended.wait(EVERY):
            at, began = time.time(), time.perf_counter()
            model.encode(window)
            self._looks.append((at, time.perf_counter() - began))
