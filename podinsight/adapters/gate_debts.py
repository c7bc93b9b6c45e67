"""Places at hosts that should have been given back while the host gate did not answer: given back as soon as it does.

A call that timed out may have been executed all the same. Without this its place would be nobody's until it expires.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from podinsight.domain.hosts import HostRule
from podinsight.errors import PodinsightError
from podinsight.ports import HostGate

log = logging.getLogger(__name__)

TRY_SECONDS = 1.0
MOST_DEBTS = 1000


@dataclass(frozen=True)
class Debt:
    """A release that is owed. cooling_until: when the host answered 429 or 503, when it may be asked again, by the
    clock of the debts."""

    host: str
    id: str
    rule: HostRule
    granted_at: float = 0.0
    cooling_until: float | None = None


class GateDebts:
    """A daemon thread while anything is owed. What is owed for longer than a lease lasts has expired by itself."""

    def __init__(self, gate: HostGate, clock: Callable[[], float]) -> None:
        self._gate = gate
        self._clock = clock
        self._owed: dict[Debt, float] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def owe(self, debt: Debt) -> None:
        """It is given back by the thread. Of too many the oldest is left to expire."""
        with self._lock:
            while len(self._owed) >= MOST_DEBTS:
                del self._owed[next(iter(self._owed))]
            self._owed[debt] = self._clock() + 1.25 * self._gate.lease_seconds
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="host gate, settling", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        pause = threading.Event()
        while self._settle():
            pause.wait(TRY_SECONDS)

    def _settle(self) -> bool:
        """Gives back what it can; False when nothing is owed any more (and then the thread ends)."""
        with self._lock:
            owed = list(self._owed.items())
        for debt, until in owed:
            if self._clock() < until and not self._repaid(debt):
                break
            with self._lock:
                self._owed.pop(debt, None)
        with self._lock:
            if not self._owed:
                self._thread = None
                return False
        return True

    def _repaid(self, debt: Debt) -> bool:
        left = (debt.cooling_until or 0.0) - self._clock()
        try:
            self._gate.release(debt.host, debt.id, debt.rule, debt.granted_at, left if left > 0 else None)
        except PodinsightError as error:
            log.debug("a place at %s cannot be given back yet: %s", debt.host, error)
            return False
        return True
