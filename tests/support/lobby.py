"""A doorkeeper on a gate in memory, for the tests of what it does around requests."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from podinsight.adapters.clock import SystemClock
from podinsight.adapters.doorkeeper import Doorkeeper
from podinsight.adapters.lease_keeper import elapsed
from podinsight.adapters.memory_gate import MemoryGate
from podinsight.domain.hosts import GateAnswer, GateState, HostNote, HostRule
from podinsight.errors import Unavailable

HOST = "traffic.libsyn.com"
KEY = "libsyn.com"


@dataclass
class SuspendedClock:
    """`elapsed` and what a test adds: what a frozen process sees when it wakes."""

    ahead: float = 0.0

    def __call__(self) -> float:
        return elapsed() + self.ahead


@dataclass
class Lobby:
    """A doorkeeper on a gate in memory, and what it does."""

    limit: int = 2
    rate: float = 1000.0
    lease: float = 1.0
    renew: float = 0.1
    patience: float = 0.3
    stopping: bool = False
    notes: list[HostNote] = field(default_factory=list)
    clock: SuspendedClock = field(default_factory=SuspendedClock)

    def __post_init__(self) -> None:
        self.gate = MemoryGate(SystemClock(), self.lease, 60.0)
        self.gate.open()
        self.door = Doorkeeper(
            self.gate,
            lambda host: (KEY if host.endswith(KEY) else host, self.rule),
            self.renew,
            self.patience,
            self.notes.extend,
            lambda: self.stopping,
            self.clock,
        )

    @property
    def rule(self) -> HostRule:
        return HostRule(self.limit, self.rate)

    @property
    def in_flight(self) -> int:
        return self.gate.state(KEY, self.rule).in_flight

    def noted(self) -> HostNote:
        """All notes so far, which are of one host."""
        self.door.flush()
        (note,) = self.notes
        return note


_strangers: set[threading.Thread] = set()


class ForgetfulGate(MemoryGate):
    """Answers are lost while `deaf`: acquire has been executed, release has not."""

    def __init__(self) -> None:
        super().__init__(SystemClock(), 5.0, 60.0)
        self.deaf = False
        self.open()

    def acquire(self, host: str, lease: str, rule: HostRule) -> GateAnswer:
        answer = super().acquire(host, lease, rule)
        self._hear()
        return answer

    def release(
        self, host: str, lease: str, rule: HostRule, granted_at: float, throttled: float | None = None
    ) -> GateState:
        self._hear()
        return super().release(host, lease, rule, granted_at, throttled)

    def _hear(self) -> None:
        if self.deaf:
            raise Unavailable("timed out")


@pytest.fixture(autouse=True)
def strangers() -> None:
    """Threads from before: a stack that an earlier test looked at may still have debts with a gate that is gone."""
    _strangers.clear()
    _strangers.update(threading.enumerate())


def own_threads(word: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if word in thread.name and thread not in _strangers]


@pytest.fixture
def lobby() -> Iterator[Lobby]:
    yield Lobby()
    wait_for(lambda: not own_threads("host gate"))


def wait_for(condition: Callable[[], object], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.01)
