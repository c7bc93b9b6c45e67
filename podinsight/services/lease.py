"""Keeping a lease while there is progress, and noticing when to stop."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from podinsight.domain.work import Lease
from podinsight.errors import Abandoned, LeaseLost, Unavailable
from podinsight.ports import WorkRows

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LeaseTimes:
    """Seconds: a lease's length, how often it is renewed, and for how long it is renewed without progress."""

    lease: float
    renew: float
    progress: float


class Heart:
    """Renews leases from a thread of its own, only while their work makes progress.

    `beat` is called by the work whenever it gets on; it raises Abandoned when the process stops and LeaseLost when
    the lease was taken back, so the work ends at its next beat.
    """

    def __init__(self, rows: WorkRows, lease: Lease, times: LeaseTimes, stopping: Callable[[], bool]) -> None:
        self._rows, self._lease, self._times, self._stopping = rows, lease, times, stopping
        self._last = time.monotonic()
        self._renewed = time.monotonic()
        self._lost: str | None = None
        self._odd = False
        self._ended = threading.Event()

    def beat(self, _done: float = 0.0) -> None:
        self._last = time.monotonic()
        if self._last - self._renewed > self._times.lease:  # frozen for so long that the thread had no turn either
            self._lost = self._lost or "it was not renewed in time"
        if self._lost:
            raise LeaseLost(self._lost)
        if self._stopping():
            raise Abandoned("the process was asked to stop")

    @property
    def silent_seconds(self) -> float:
        return time.monotonic() - self._last

    def run(self, on_hang: Callable[[], None] | None) -> None:
        """The thread's body. A lease that cannot be renewed in time counts as lost."""
        while not self._ended.wait(self._times.renew):
            if self.silent_seconds > self._times.progress:
                self._lost = f"no progress for {self._times.progress:.0f} s"
                if on_hang is not None and not self._ended.is_set():
                    on_hang()
                return
            try:
                self._rows.renew(self._lease, self._times.lease)
                self._renewed = time.monotonic()
            except LeaseLost as error:
                self._lost = str(error)
                return
            except Exception as error:  # a thread that ended silently would leave its work running without a lease
                if not isinstance(error, Unavailable) and not self._odd:
                    self._odd = True
                    _log.exception("the lease on %s cannot be renewed", self._lease.unit_id)
                if time.monotonic() - self._renewed > self._times.lease:
                    self._lost = "the database was away for longer than the lease"
                    return

    def end(self) -> None:
        self._ended.set()


@contextmanager
def kept(
    rows: WorkRows,
    lease: Lease,
    times: LeaseTimes,
    stopping: Callable[[], bool],
    on_hang: Callable[[], None] | None = None,
) -> Iterator[Heart]:
    """Renews `lease` in the background while the block runs.

    on_hang: called when there was no progress for `times.progress` seconds; a process whose native call hangs ends
    itself there (DESIGN.md, idea 1).
    """
    heart = Heart(rows, lease, times, stopping)
    thread = threading.Thread(target=heart.run, args=(on_hang,), name=f"lease-{lease.unit_id}", daemon=True)
    thread.start()
    try:
        yield heart
    finally:
        heart.end()
        thread.join(timeout=5)
