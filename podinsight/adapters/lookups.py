"""Host names are looked up aside, because nothing ends a system's resolver that hangs."""

import errno
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Final

LOOK_SECONDS: Final = 0.2


class TooSlow(Exception):
    """The look-up was given up."""


class Lookups:
    """At most `most` look-ups at once, each in a daemon thread of its own.

    One that is given up goes on until the resolver answers, counts until then, and keeps no process from its end.
    """

    def __init__(self, most: int) -> None:
        self._free = threading.Semaphore(most)

    def result(self, look_up: Callable[[], list[str]], seconds: float, stopped: Callable[[], bool]) -> list[str]:
        """What `look_up` returns or raises.

        Raises:
            TooSlow: it takes longer than `seconds`, or until `stopped` says so.
            BlockingIOError: as many as may be are under way.
        """
        if not self._free.acquire(blocking=False):
            raise BlockingIOError(errno.EAGAIN, "too many host names do not resolve in time")
        future: Future[list[str]] = Future()
        try:
            threading.Thread(target=self._run, args=(look_up, future), name="lookup", daemon=True).start()
        except BaseException:
            self._free.release()
            raise
        until = time.monotonic() + seconds
        while not future.done():
            left = until - time.monotonic()
            if left <= 0 or stopped():
                raise TooSlow
            wait([future], min(left, LOOK_SECONDS))
        return future.result()

    def _run(self, look_up: Callable[[], list[str]], future: "Future[list[str]]") -> None:
        try:
            found = look_up()
        except BaseException as error:
            self._free.release()
            future.set_exception(error)
        else:
            self._free.release()
            future.set_result(found)
