"""Around every request: waits a little for a place at the host, looks after it, gives it back, and notes what was seen.

with doorkeeper.permit(hostname) as permit:
    permit.on_lost(close_the_socket)
    ... send the request ...
    permit.answered(status, retry_after)
    for piece in body:
        permit.check()
        permit.received(len(piece))
"""

import logging
import math
import random
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from podinsight.adapters.gate_debts import Debt, GateDebts
from podinsight.adapters.host_notes import NoteBook
from podinsight.adapters.lease_keeper import HeldLease, LeaseKeeper, elapsed
from podinsight.domain.hosts import GateAnswer, HostNote, HostRule
from podinsight.domain.work import LONGEST_RETRY_AFTER
from podinsight.errors import Abandoned, Busy, GateAway, PodinsightError, Refused, Transient, Unavailable
from podinsight.ports import HostGate

log = logging.getLogger(__name__)

Rules = Callable[[str], tuple[str, HostRule]]
THROTTLED = frozenset({429, 503})
LEAST_NAP, LONGEST_NAP = 0.02, 0.25  # seconds between two questions; also how soon it is noticed that we are to stop
REPEAT_SECONDS = 60.0
LEAST_COOLING = 3.0  # seconds, as the gate has it
MOST_COOLING_HOSTS = 1000


class Doorkeeper:
    """The only way to a host: one for a process, shared by its threads.

    rules: hostname → host key and what is allowed there now.
    patience_seconds: the longest wait for a place in all; renew_seconds: how often places are renewed.
    note: takes what was observed, from a thread of its own.
    stopping: says that this process is asked to stop.
    clock: seconds that always pass, for tests.
    """

    def __init__(
        self,
        gate: HostGate,
        rules: Rules,
        renew_seconds: float,
        patience_seconds: float,
        note: Callable[[Sequence[HostNote]], None],
        stopping: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = elapsed,
    ) -> None:
        self._gate = gate
        self._rules = rules
        self._patience = patience_seconds
        self._stopping = stopping
        self._clock = clock
        self._keeper = LeaseKeeper(gate, renew_seconds, clock)
        self._debts = GateDebts(gate, clock)
        self._notes = NoteBook(note)
        self._cooling: dict[str, float] = {}
        self._said: dict[str, tuple[int, float]] = {}

    def permit(self, host: str) -> "Permit":
        """A place at `host` (a hostname) for one request, taken on entering the `with` and given back on leaving.

        Entering raises `Busy` when there is none in time, `GateAway` when the gate does not answer, `Abandoned` when
        this process is asked to stop.
        """
        return Permit(self, host)

    def flush(self) -> None:
        """Writes all notes now: before the process ends."""
        self._notes.flush()

    def _enter(self, host: str) -> HeldLease:
        lease = uuid.uuid4().hex
        give_up = self._clock() + self._patience
        while True:
            if self._stopping():
                raise Abandoned(f"asked to stop while waiting for a place at {host}")
            key, rule = self._rule(host)
            began = self._clock()
            answer = self._ask(key, lease, rule)
            if answer.granted_at is not None:
                held = HeldLease(key, lease, rule, answer.granted_at, began + self._gate.lease_seconds)
                self._keeper.hold(held)
                return held
            left = give_up - self._clock()
            if left <= 0 or (answer.wait > left and answer.reason != "busy"):
                raise _busy(key, rule, answer)
            self._nap(min(left, answer.wait * random.uniform(1.0, 1.3)))  # noqa: S311

    def _rule(self, host: str) -> tuple[str, HostRule]:
        """With the cool-down that the gate has not been told, and perhaps the database neither."""
        key, rule = self._rules(host)
        until = self._cooling.get(key, 0.0)
        return key, replace(rule, cooling_until=until) if until > (rule.cooling_until or 0.0) else rule

    def _ask(self, key: str, lease: str, rule: HostRule) -> GateAnswer:
        try:
            return self._gate.acquire(key, lease, rule)
        except Unavailable as error:
            self._debts.owe(Debt(key, lease, rule))  # what timed out may have been granted
            seconds = random.uniform(2.0, 5.0)  # noqa: S311
            raise GateAway(f"nothing is requested from {key}: {error}", seconds) from error

    def _nap(self, seconds: float) -> None:
        until = self._clock() + max(LEAST_NAP, seconds)
        while (left := until - self._clock()) > 0 and not self._stopping():
            time.sleep(min(left, LONGEST_NAP))

    def _leave(self, held: HeldLease, seen: HostNote, throttled: float | None) -> None:
        self._keeper.drop(held)
        limit_now, cooling_until = None, None
        try:
            state = self._gate.release(held.host, held.id, held.rule, held.granted_at, throttled)
        except PodinsightError as error:
            log.debug("a place at %s cannot be given back yet: %s", held.host, error)
            cooling_until = self._owe(held, throttled)
        else:
            limit_now = self._news(held.host, state.limit if state.limit < held.rule.limit else 0)
            cooling_until = state.cooling_until if throttled is not None else None
        self._notes.add(
            HostNote(held.host, seen.requests, seen.throttled, seen.failed, seen.received, limit_now, cooling_until),
            at_once=throttled is not None,
        )

    def _owe(self, held: HeldLease, throttled: float | None) -> float | None:
        """The gate could not be told. Returns until when (epoch seconds) the host is left alone, if it asked for it."""
        if throttled is None:
            self._debts.owe(Debt(held.host, held.id, held.rule, held.granted_at))
            return None
        asked = 0.0 if math.isnan(throttled) else throttled
        seconds = min(max(asked, LEAST_COOLING), LONGEST_RETRY_AFTER)
        now = time.time()
        if len(self._cooling) >= MOST_COOLING_HOSTS:
            self._cooling = {host: until for host, until in self._cooling.copy().items() if until > now}
        self._cooling[held.host] = until = max(self._cooling.get(held.host, 0.0), now + seconds)
        self._debts.owe(Debt(held.host, held.id, held.rule, held.granted_at, self._clock() + seconds))
        return until

    def _news(self, key: str, limit_now: int) -> int | None:
        """What to note of the limit: said when it is another, and now and then, since other processes note it too."""
        said, when = self._said.get(key, (-1, 0.0))
        if said == limit_now and self._clock() - when < REPEAT_SECONDS:
            return None
        self._said[key] = (limit_now, self._clock())
        return limit_now


class Permit:
    """A place at a host, for one request and one thread. `host` is the host key, once it is entered."""

    def __init__(self, doorkeeper: Doorkeeper, host: str) -> None:
        self.host = host
        self._doorkeeper = doorkeeper
        self._held: HeldLease | None = None
        self._status: int | None = None
        self._retry_after: float | None = None
        self._received = 0

    def __enter__(self) -> Self:
        self._held = self._doorkeeper._enter(self.host)
        self.host = self._held.host
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        held, self._held = self._held, None
        if held is None:
            return
        throttled = (self._retry_after or 0.0) if self._status in THROTTLED else None
        failed = throttled is None and ((self._status or 0) >= 500 or (_is_failure(error) and not held.lost))
        asked = not (self._status is None and isinstance(error, Refused))  # an address that is refused is never asked
        seen = HostNote(held.host, int(asked), int(throttled is not None), int(failed), self._received)
        self._doorkeeper._leave(held, seen, throttled)

    def answered(self, status: int, retry_after: float | None = None) -> None:
        """The status line has come. retry_after: seconds that were asked for."""
        self._status, self._retry_after = status, retry_after

    def received(self, count: int) -> None:
        """So many more bytes of the body have come."""
        self._received += count

    def on_lost(self, callback: Callable[[], None]) -> None:
        """Called from another thread as soon as the place is lost: to shut the socket. At once when it is already."""
        if self._held is not None:
            self._doorkeeper._keeper.on_lost(self._held, callback)

    def check(self) -> None:
        """Raises Transient (ours) when the place is lost: the request must end at once."""
        if self._held is None:
            return
        self._doorkeeper._keeper.look(self._held)
        if self._held.lost:
            raise Transient(f"the request to {self.host} was broken off: {self._held.lost}", ours=True)


def _is_failure(error: BaseException | None) -> bool:
    """Whether it is the host's: of a connection, or of what came over it."""
    return isinstance(error, OSError) or (isinstance(error, Transient) and not error.ours)


def _busy(key: str, rule: HostRule, answer: GateAnswer) -> Busy:
    """In words for a person; `seconds` never undercuts what the gate says."""
    wait = max(1.0, answer.wait)
    match answer.reason:
        case "busy":
            text = f"all {rule.limit} places at {key} are taken" if rule.limit > 1 else f"the place at {key} is taken"
            return Busy(text, random.uniform(1.0, 3.0))  # noqa: S311
        case "rate":
            text = f"{key} is asked {rule.rate:g} times a second already"
        case "cooling":
            text = f"{key} wants to be left alone for another {wait:.0f} s"
        case _:
            text = f"the host gate has lost its memory and grants nothing for another {wait:.0f} s: {key} must wait"
    return Busy(text, wait * random.uniform(1.0, 1.1) + random.uniform(0.0, 1.0))  # noqa: S311
