"""What a host allows, as the doorkeeper asks for it before every request: read from the database every few seconds."""

import threading
import time
from datetime import UTC, datetime

from podinsight.domain.hosts import HostLimits, HostRule
from podinsight.errors import Unavailable
from podinsight.ports import Clock, Hosts

KEPT_SECONDS = 5.0
MOST_HOSTS = 10_000


class HostRules:
    """Hostname → (host key, rule). What was read lately is used while the database does not answer.

    Raises Unavailable when it does not answer and nothing was read.
    """

    def __init__(self, hosts: Hosts, clock: Clock) -> None:
        self._hosts = hosts
        self._clock = clock
        self._lock = threading.Lock()
        self._limits: tuple[float, HostLimits] | None = None
        self._cooling: dict[str, tuple[float, float | None]] = {}

    def __call__(self, host: str) -> tuple[str, HostRule]:
        limits = self._read_limits()
        key = limits.key(host)
        return key, HostRule(limits.limit(key), limits.rate(key), self._read_cooling(key))

    def _read_limits(self) -> HostLimits:
        known = self._limits
        if known is not None and time.monotonic() - known[0] < KEPT_SECONDS:
            return known[1]
        try:
            limits = self._hosts.limits()
        except Unavailable:
            if known is None:
                raise
            limits = known[1]
        self._limits = (time.monotonic(), limits)
        return limits

    def _read_cooling(self, key: str) -> float | None:
        known = self._cooling.get(key)
        if known is not None and time.monotonic() - known[0] < KEPT_SECONDS:
            return known[1]
        day = datetime.fromtimestamp(self._clock.now(), UTC).date().isoformat()
        try:
            until = self._hosts.row(key, day).cooling_until
        except Unavailable:
            if known is None:
                raise
            until = known[1]
        with self._lock:
            if len(self._cooling) >= MOST_HOSTS:
                self._cooling.clear()
            self._cooling[key] = (time.monotonic(), until)
        return until
