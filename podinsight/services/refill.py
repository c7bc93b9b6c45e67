"""Filling slots in line when work ends: ten threads that end together need not dispatch ten times."""

import threading
from collections.abc import Callable


class Refill:
    """Calls `fill` in the thread that asks first, and once more for all that ask meanwhile.

    fill: dispatches one stage (None: every stage). Who asks while another fills returns at once: what he freed is seen
    by the call that follows, in the other's thread.
    """

    def __init__(self, fill: Callable[[str | None], None]) -> None:
        self._fill = fill
        self._lock = threading.Lock()
        self._asked: set[str | None] = set()
        self._busy = False

    def ask(self, stage: str | None = None) -> None:
        """Raises what `fill` raises; whoever asks next fills for all who asked before."""
        with self._lock:
            self._asked.add(stage)
            if self._busy:
                return
            self._busy = True
        try:
            while stages := self._next():
                for each in stages:
                    self._fill(each)
        except BaseException:
            with self._lock:
                self._busy = False
            raise

    def _next(self) -> tuple[str | None, ...]:
        with self._lock:
            asked, self._asked = self._asked, set()
            self._busy = bool(asked)
        return (None,) if None in asked else tuple(asked)
