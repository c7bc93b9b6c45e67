"""The HostGate port on Redis or Valkey: every method is one Lua script, in redis_gate.lua."""

import math
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from podinsight.domain.hosts import GateAnswer, GateState, HostRule
from podinsight.domain.identity import redact_url
from podinsight.domain.work import LONGEST_RETRY_AFTER
from podinsight.errors import Unavailable

EPOCH = "podinsight:gate:epoch"
TIMEOUT_SECONDS = 2.0
_MICRO = 1_000_000


class RedisGate:
    """ports.HostGate. All that share a server must have the same `lease_seconds`.

    quiet_seconds: how long a host must not answer 429 or 503 for each step back up.
    now: epoch seconds in place of the server's TIME, for tests that step it.
    """

    def __init__(
        self, url: str, lease_seconds: float, quiet_seconds: float, now: Callable[[], float] | None = None
    ) -> None:
        self._url = url
        self._lease_seconds = lease_seconds
        self._times = (micro(lease_seconds), micro(quiet_seconds))
        self._now = now
        self._redis = redis.Redis.from_url(
            url,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            decode_responses=True,
            # Once more for a connection that a restarted server has closed; a time-out is not tried again.
            retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
        )
        source = files("podinsight.adapters").joinpath("redis_gate.lua").read_text("utf-8")
        self._script = self._redis.register_script(source)

    @property
    def lease_seconds(self) -> float:
        return self._lease_seconds

    def acquire(self, host: str, lease: str, rule: HostRule) -> GateAnswer:
        interval = max(1, micro(1 / rule.rate))
        keys = (_leases(host), _state(host))
        granted_at, wait, reason = self._run(
            "acquire", keys, lease, rule.limit, interval, micro(rule.cooling_until or 0.0)
        )
        return GateAnswer(granted_at / _MICRO if granted_at else None, wait / _MICRO, reason)

    def renew(self, leases: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        if not leases:
            return []
        kept = self._run("renew", [_leases(host) for host, _ in leases], *(lease for _, lease in leases))
        return [pair for pair, held in zip(leases, kept, strict=True) if not held]

    def release(
        self, host: str, lease: str, rule: HostRule, granted_at: float, throttled: float | None = None
    ) -> GateState:
        asked = "" if throttled is None else micro(sane(throttled))
        return self._described(
            self._run("release", (_leases(host), _state(host)), lease, rule.limit, micro(granted_at), asked)
        )

    def state(self, host: str, rule: HostRule) -> GateState:
        return self._described(self._run("state", (_leases(host), _state(host)), rule.limit))

    def open(self) -> None:
        self._run("open", ())

    def _described(self, reply: Sequence[int]) -> GateState:
        limit, in_flight, cooling = reply
        return GateState(limit, in_flight, cooling / _MICRO if cooling else None)

    def _run(self, operation: str, keys: Sequence[str], *arguments: str | int) -> Any:
        now = "" if self._now is None else micro(self._now())
        try:
            return self._script(keys=[EPOCH, *keys], args=[operation, now, *self._times, *arguments])
        except (redis.RedisError, OSError) as error:
            why = str(error) or type(error).__name__
            raise Unavailable(f"the host gate does not answer ({redact_url(self._url)}): {why}") from error


def micro(seconds: float) -> int:
    """Microseconds, which the gate counts in."""
    return round(seconds * _MICRO)


def sane(seconds: float) -> float:
    """What a server asked for, within a day; 0 for what is no number."""
    return 0.0 if math.isnan(seconds) else min(max(seconds, 0.0), LONGEST_RETRY_AFTER)


def _leases(host: str) -> str:
    return f"podinsight:gate:{{{host}}}:leases"


def _state(host: str) -> str:
    return f"podinsight:gate:{{{host}}}:state"
