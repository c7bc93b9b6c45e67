"""The HostGate port in one process: for tests, and the oracle that the script in Redis is compared with."""

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from podinsight.domain.hosts import GateAnswer, GateState, HostRule
from podinsight.domain.work import LONGEST_RETRY_AFTER
from podinsight.errors import Unavailable
from podinsight.ports import Clock

_MICRO = 1_000_000
_DAY = int(LONGEST_RETRY_AFTER) * _MICRO
_LEAST_COOLING = 3 * _MICRO
_POLL_SECONDS = 0.25


@dataclass
class _Host:
    """What is held of a host; microseconds, expiries by the gate's own clock, all else by the wall's."""

    leases: dict[str, int] = field(default_factory=dict)
    tat: int = 0
    limit: int | None = None
    changed: int = 0
    cooling: int = 0
    halved: int = 0


class MemoryGate:
    """ports.HostGate; `clock` stands for the server's TIME, and may be stepped.

    down: makes it raise Unavailable, as a server that is away does.
    """

    def __init__(self, clock: Clock, lease_seconds: float, quiet_seconds: float) -> None:
        self.down = False
        self._wall_clock = clock
        self._lease_seconds = lease_seconds
        self._quiet = _micro(quiet_seconds)
        self._margin = _micro(lease_seconds) // 4
        self._hold = _micro(lease_seconds) + self._margin
        self._lock = threading.Lock()
        self._hosts: dict[str, _Host] = {}
        self._begin: int | None = None
        self._wall: int | None = None
        self._clock: int | None = None

    @property
    def lease_seconds(self) -> float:
        return self._lease_seconds

    def forget(self) -> None:
        """Loses everything, as a flushed server does."""
        with self._lock:
            self._hosts.clear()
            self._begin = self._wall = self._clock = None

    def restart(self) -> None:
        """Comes back with all that was held, and distrusts it: the last moments before may be missing."""
        with self._lock:
            self._begin = None

    def acquire(self, host: str, lease: str, rule: HostRule) -> GateAnswer:
        with self._lock:
            now, clock, begin = self._times()
            held = self._hosts.setdefault(host, _Host())
            if held.leases.get(lease, clock) > clock:
                held.leases[lease] = clock + self._hold
                return GateAnswer(now / _MICRO)
            _set_right(held, now)
            asked = min(_micro(rule.cooling_until or 0.0), now + _DAY)
            if asked > max(held.cooling, now):
                held.cooling = asked
            if clock < begin:
                return GateAnswer(None, (begin - clock) / _MICRO, "recovering")
            if held.cooling > now:
                return GateAnswer(None, (held.cooling - now) / _MICRO, "cooling")
            held.leases = {id_: expiry for id_, expiry in held.leases.items() if expiry > clock}
            if len(held.leases) >= self._limit_now(held, rule.limit, now):
                return GateAnswer(None, _POLL_SECONDS, "busy")
            interval = max(1, _micro(1 / rule.rate))
            held.tat = min(held.tat, now + rule.limit * interval)
            tat = max(now, held.tat)
            early = tat - (rule.limit - 1) * interval - now
            if early > 0:
                return GateAnswer(None, early / _MICRO, "rate")
            held.tat = tat + interval
            held.leases[lease] = clock + self._hold
            return GateAnswer(now / _MICRO)

    def renew(self, leases: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        if not leases:
            return []
        with self._lock:
            _, clock, begin = self._times()
            lost = []
            for host, lease in leases:
                held = self._hosts.setdefault(host, _Host())
                if clock < begin or held.leases.get(lease, clock) > clock:
                    held.leases[lease] = clock + self._hold
                else:
                    lost.append((host, lease))
            return lost

    def release(
        self, host: str, lease: str, rule: HostRule, granted_at: float, throttled: float | None = None
    ) -> GateState:
        with self._lock:
            now, clock, _ = self._times()
            held = self._hosts.setdefault(host, _Host())
            held.leases.pop(lease, None)
            _set_right(held, now)
            if throttled is not None:
                self._throttle(held, rule, now, _micro(granted_at), throttled)
            return self._described(held, rule, now, clock)

    def state(self, host: str, rule: HostRule) -> GateState:
        with self._lock:
            now, clock, _ = self._times()
            held = self._hosts.setdefault(host, _Host())
            _set_right(held, now)
            return self._described(held, rule, now, clock)

    def open(self) -> None:
        with self._lock:
            _, clock, _ = self._times()
            self._clock = self._begin = clock + self._hold  # whatever leases are left have expired

    def _times(self) -> tuple[int, int, int]:
        """Now; the clock that leases are measured on, which never goes back and takes at most the margin at a time
        from the other; and when grants begin on it."""
        if self.down:
            raise Unavailable("the host gate does not answer: it is down")
        now = _micro(self._wall_clock.now())
        passed = 0 if self._wall is None else max(0, min(now - self._wall, self._margin))
        self._clock = (now if self._clock is None else self._clock) + passed
        self._wall = now
        if self._begin is None:
            self._begin = self._clock + self._hold
        return now, self._clock, self._begin

    def _throttle(self, held: _Host, rule: HostRule, now: int, granted_at: int, asked: float) -> None:
        if held.limit is None or granted_at > held.halved:
            held.limit = max(1, self._limit_now(held, rule.limit, now) // 2)
            held.halved = now
        else:
            held.limit = self._adaptive(held, held.limit, now)
        seconds = 0.0 if math.isnan(asked) else asked
        held.cooling = max(held.cooling, now + round(min(_DAY, max(_LEAST_COOLING, seconds * _MICRO))))
        held.changed = held.cooling

    def _adaptive(self, held: _Host, lowered: int, now: int) -> int:
        return lowered + max(0, (now - held.changed) // self._quiet)

    def _limit_now(self, held: _Host, limit: int, now: int) -> int:
        return limit if held.limit is None else min(limit, self._adaptive(held, held.limit, now))

    def _described(self, held: _Host, rule: HostRule, now: int, clock: int) -> GateState:
        return GateState(
            self._limit_now(held, rule.limit, now),
            sum(expiry > clock for expiry in held.leases.values()),
            held.cooling / _MICRO if held.cooling > now else None,
        )


def _set_right(held: _Host, now: int) -> None:
    """What TIME, going back, has left in the future."""
    if held.halved > now or held.cooling > now + _DAY:
        held.halved = min(held.halved, now)
        held.cooling = min(held.cooling, now + _DAY)
        held.changed = min(held.changed, max(now, held.cooling))


def _micro(seconds: float) -> int:
    return round(seconds * _MICRO)
