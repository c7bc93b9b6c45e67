"""Turns at writing to a SQLite file: a courtesy between threads and processes of one machine.

SQLite lets those who wait for its write lock sleep and try again, up to a tenth of a second at a time and in no order:
with 80 threads that want to write, most of their time went there. Who asks here first wakes within a millisecond or
two, and only one thread a process asks at a time. SQLite's own lock stays the law: who does not get his turn within
`PATIENCE` seconds (its holder may be frozen) goes on without, and waits there; for `FROZEN` seconds after that, a turn
that is not free is not waited for.
"""

import fcntl
import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

PATIENCE: Final = 2.0
FROZEN: Final = 10.0
LEAST_NAP: Final = 0.0005
LONGEST_NAP: Final = 0.004


class WriteTurns:
    """Turns of one process. `file` is made beside the database, and stays empty."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._threads = threading.Lock()
        self._handle: int | None = None
        self._frozen_until = 0.0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Holds the turn for the block, as far as it is to be had."""
        now = time.monotonic()
        mine = self._threads.acquire(timeout=PATIENCE)
        try:
            taken = mine and self._take(now if now < self._frozen_until else now + PATIENCE)
            try:
                yield
            finally:
                if taken and self._handle is not None:
                    with suppress(OSError):
                        fcntl.flock(self._handle, fcntl.LOCK_UN)
        finally:
            if mine:
                self._threads.release()

    def close(self) -> None:
        with self._threads:
            if self._handle is not None:
                os.close(self._handle)
                self._handle = None

    def _take(self, until: float) -> bool:
        nap = LEAST_NAP
        while True:
            try:
                if self._handle is None:
                    self._handle = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600)
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._frozen_until = 0.0
                return True
            except BlockingIOError:
                if time.monotonic() > until:
                    self._frozen_until = self._frozen_until or time.monotonic() + FROZEN
                    return False
            except OSError:  # a file system without such locks, or one that is full
                return False
            time.sleep(nap * random.uniform(0.5, 1.0))  # noqa: S311
            nap = min(2 * nap, LONGEST_NAP)
