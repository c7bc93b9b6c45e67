"""What one decision about a fleet leaves to the next: the brain's memory, and since when each machine is as it is.

Pure; standard library. It is kept as JSON, which may be missing, old, or written by another podinsight: whatever cannot
be read counts as never seen. What is measured from there begins anew, so nothing is stopped or reported too early.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Final

from podinsight.domain.brain import Memory
from podinsight.domain.findings import Finding
from podinsight.domain.fleet import Instance, InstanceState
from podinsight.domain.pool import Machine

NAME: Final = "brain"  # under which it is remembered
OLD_SECONDS: Final = 900.0  # what was seen longer ago says nothing of the time between


@dataclass(frozen=True)
class Sight:
    """A machine as it was last seen. since: when it came into its state, or lost its last lease. progress_at: when it
    last began or finished a chunk, None before its first. Epoch seconds."""

    state: InstanceState
    since: float
    leases: int = 0
    progress_at: float | None = None


@dataclass(frozen=True)
class Observed:
    """at: when the decision was made, epoch seconds; 0: there was none. why, desired, findings: what it said."""

    memory: Memory = field(default_factory=Memory)
    sights: Mapping[str, Sight] = field(default_factory=dict)
    at: float = 0.0
    why: str = ""
    desired: int = 0
    findings: tuple[Finding, ...] = ()

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def observed(kept: Mapping[str, object] | None, now: float) -> Observed:
    """What was kept, as far as it can be used at `now`. Never raises."""
    try:
        at, why, desired = _number(kept or {}, "at"), str((kept or {}).get("why", "")), _count(kept or {}, "desired")
    except (KeyError, TypeError, ValueError):
        return Observed()
    found = tuple(_findings(kept or {}))
    if is_old(at, now):
        return Observed(at=at, why=why, desired=desired, findings=found)
    return Observed(_memory(kept or {}, now), _sights(kept or {}, now), at, why, desired, found)


def is_old(at: float, now: float) -> bool:
    """Whether what was seen at `at` says nothing of the time until now."""
    return not 0 <= now - at <= OLD_SECONDS


def look(
    now: float, instances: Iterable[Instance], leases: Mapping[str, tuple[int, float]], before: Mapping[str, Sight]
) -> dict[str, Sight]:
    """How each instance that is not gone is seen now.

    Args:
        leases: id → how many leases the worker there holds, and since when the newest; where nobody says how many, the
            instance itself does.
    """
    found: dict[str, Sight] = {}
    for each in instances:
        if each.state is not InstanceState.GONE:
            count, newest = leases.get(each.id, (int(each.leased), None))
            found[each.id] = _seen(now, each, count, newest, before.get(each.id))
    return found


def machines(instances: Iterable[Instance], sights: Mapping[str, Sight]) -> list[Machine]:
    """The instances as the brain takes them."""
    return [
        Machine(each.id, each.state, each.rate.micros, sight.since, sight.leases, sight.progress_at)
        for each in instances
        if (sight := sights.get(each.id)) is not None
    ]


def _seen(now: float, each: Instance, leases: int, newest: float | None, before: Sight | None) -> Sight:
    if before is None:
        since = min(each.started, now) if each.state is InstanceState.STARTING else now
        return Sight(each.state, since, leases, (newest or now) if leases else None)
    same = each.state is before.state and (leases > 0 or before.leases == 0)
    ended = before.leases > 0 and leases == 0
    begun = leases > 0 and before.leases == 0
    progress = now if ended or (begun and newest is None) else before.progress_at
    if leases and newest is not None:
        progress = max(newest, progress or newest)
    return Sight(each.state, before.since if same else now, leases, progress)


def _memory(kept: Mapping[str, object], now: float) -> Memory:
    stored = kept.get("memory")
    if not isinstance(stored, Mapping):
        return Memory()
    try:
        counts = {name: _count(stored, name) for name in ("desired", "lower_peak")}
        times = {
            each.name: _time(stored, each.name, now)
            for each in fields(Memory)
            if each.name not in counts and stored.get(each.name) is not None
        }
        return Memory(**counts, **times)  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError):
        return Memory()


def _sights(kept: Mapping[str, object], now: float) -> dict[str, Sight]:
    stored = kept.get("sights")
    found: dict[str, Sight] = {}
    for name, each in stored.items() if isinstance(stored, Mapping) else ():
        try:
            progress = _time(each, "progress_at", now) if each["progress_at"] is not None else None
            state = InstanceState(each["state"])
            found[str(name)] = Sight(state, _time(each, "since", now), _count(each, "leases"), progress)
        except (KeyError, TypeError, ValueError):
            continue
    return found


def _findings(kept: Mapping[str, object]) -> Iterable[Finding]:
    stored = kept.get("findings")
    for each in stored if isinstance(stored, list) else ():
        try:
            yield Finding(str(each["what"]), str(each["subject"]), _count(each, "day_micros"), str(each["fix"]))
        except (KeyError, TypeError, ValueError):
            continue


def _number(stored: Mapping[str, object], name: str) -> float:
    value = stored[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise ValueError(f"{name} is no number")
    return float(value)


def _time(stored: Mapping[str, object], name: str, now: float) -> float:
    """No time lies ahead: the clock may have been put back."""
    return min(_number(stored, name), now)


def _count(stored: Mapping[str, object], name: str) -> int:
    value = _number(stored, name)
    if value < 0 or value != int(value):
        raise ValueError(f"{name} is no count")
    return int(value)
