"""Hosts: how many requests they allow, and what the gate says and sees. Pure; standard library only."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from podinsight.domain.identity import bare_host


@dataclass(frozen=True)
class HostLimits:
    """What hosts allow. `limits` maps domain suffixes (`megaphone.fm`) to requests in flight, `rates` to requests a
    second; the defaults hold for all others."""

    limits: Mapping[str, int]
    default: int
    rates: Mapping[str, float] = field(default_factory=dict)
    default_rate: float = 10.0

    def __post_init__(self) -> None:
        for name in ("limits", "rates"):
            plain = {bare_host(suffix).lstrip("."): value for suffix, value in getattr(self, name).items()}
            object.__setattr__(self, name, plain)

    def key(self, host: str) -> str:
        """The longest configured suffix that matches on label boundaries, else the exact lower-case hostname.

        The port does not count: `traffic.megaphone.fm:443` → `megaphone.fm`.
        """
        name = bare_host(host)
        labels = name.split(".")
        for start in range(len(labels)):
            suffix = ".".join(labels[start:])
            if suffix in self.limits or suffix in self.rates:
                return suffix
        return name

    def limit(self, key: str) -> int:
        """The limit of a key or of any host under it."""
        return self.limits.get(self.key(key), self.default)

    def rate(self, key: str) -> float:
        """Requests a second of a key or of any host under it."""
        return self.rates.get(self.key(key), self.default_rate)


@dataclass(frozen=True)
class HostRule:
    """What a host allows now: requests at a time, requests a second, and since when (epoch seconds, None: at once)."""

    limit: int
    rate: float
    cooling_until: float | None = None


@dataclass(frozen=True)
class GateAnswer:
    """granted_at: the gate's clock (epoch seconds) when it granted, else None. wait: seconds after which it is worth
    asking again. reason: "" when granted, else `busy`, `rate`, `cooling` or `recovering`."""

    granted_at: float | None
    wait: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class GateState:
    """What the gate holds of a host: the limit now, leases in flight, until when nothing is asked (epoch seconds)."""

    limit: int
    in_flight: int
    cooling_until: float | None = None


@dataclass(frozen=True)
class HostNote:
    """What was observed at a host key since the last note: counts to add, and what the gate says when it said so.

    limit_now: a lowered limit; 0 means that the full limit holds again; None: nothing new.
    """

    host: str
    requests: int = 0
    throttled: int = 0
    failed: int = 0
    received: int = 0
    limit_now: int | None = None
    cooling_until: float | None = None
