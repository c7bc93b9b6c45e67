"""A fleet of a fixed size: when the cost guard takes it to zero, and brings it back (G3, G5). Pure; standard library.

    at its size ──► taken ──► at its size
       │               │
       │               └ what was taken for a stop comes back with the resume, what had no work with the next work
       └ work is stopped, or there was none for the grace; and the machines are paid for: what is free keeps its size

A size that somebody sets meanwhile is his: what was taken is forgotten, and the grace begins anew.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from podinsight.domain.observed import OLD_SECONDS

NAME: Final = "fixed"  # under which it is remembered


@dataclass(frozen=True)
class Held:
    """What one look leaves to the next.

    size: how many were desired when the guard took them; None: it has taken none. left: how many are desired since, for
    a minimum or a refusal. partial: a part of the fleet was unknown, and may come back with its size. idle: taken for
    want of work, not for a stop. why: the reason, for people. idle_since: since when machines that are paid for have no
    work. at: when that was seen. Epoch seconds.
    """

    size: int | None = None
    left: int = 0
    partial: bool = False
    idle: bool = False
    why: str = ""
    idle_since: float | None = None
    at: float = 0.0

    def __str__(self) -> str:
        if self.size is None:
            return "the size is fixed"
        back = "work" if self.idle else "a resume"
        return (
            f"the size was fixed at {self.size}, now {self.left} by the cost guard: {self.why}; {back} brings it back"
        )

    def to_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class Seen:
    """What is seen now. desired, least: over all groups that answer. paid: what runs costs something. work: there is
    some, runnable or under a lease. forbidden: why none may start, or None. unknown: a part does not answer."""

    at: float
    desired: int
    least: int
    paid: bool
    work: bool
    forbidden: str | None = None
    unknown: bool = False


@dataclass(frozen=True)
class Order:
    """What is to be done. desired: the number to set; None: it stays. held: what is remembered once that is done."""

    desired: int | None
    why: str
    held: Held


def decide(held: Held, seen: Seen, grace: float) -> Order:
    """What becomes of the size; below a minimum nothing is asked for. What was carried out in part, or refused, is said
    again by the next look."""
    held = _looked(held, seen)
    if held.size is None:
        return _at_its_size(held, seen, grace)
    if seen.forbidden or (held.idle and not seen.work):
        return Order(0 if seen.desired > seen.least else None, held.why, held)
    why = "there is work again" if held.idle else "nothing stops work any more"
    return Order(held.size, f"{why}: the size that was fixed", Held(at=seen.at))


def _at_its_size(held: Held, seen: Seen, grace: float) -> Order:
    idle = seen.at - (seen.at if held.idle_since is None else held.idle_since)
    ended = held.idle_since is not None and idle >= grace
    if not seen.paid or seen.desired <= seen.least or not (seen.forbidden or ended):
        return Order(None, "", held)
    why = seen.forbidden or f"no work for {idle:.0f} s"
    taken = Held(seen.desired, seen.desired, seen.unknown, not seen.forbidden, why, at=seen.at)
    return Order(0, why, taken)


def _looked(held: Held, seen: Seen) -> Held:
    """Since when nothing is worked at, and whose size it is now."""
    since = None
    if seen.paid and not seen.work:
        fresh = held.idle_since is not None and 0 <= seen.at - held.at <= OLD_SECONDS
        since = held.idle_since if fresh else seen.at
    held = replace(held, idle_since=since, at=seen.at)
    if held.size is None:
        return held
    partial = held.partial or seen.unknown
    more = seen.desired - held.left
    if partial and more > 0:
        held = replace(held, size=held.size + more, left=seen.desired)
    elif not partial and more and seen.desired > seen.least:
        return Held(idle_since=seen.at if since is not None else None, at=seen.at)
    return replace(held, left=held.left if seen.unknown else seen.desired, partial=seen.unknown)


def from_memory(value: Mapping[str, Any] | None) -> Held:
    """Nothing is remembered where it was written otherwise, by another podinsight. Never raises."""
    try:
        held = Held(**(value or {}))
        if min(int(held.size or 0), int(held.left)) < 0:
            return Held()
        return replace(held, idle_since=None if held.idle_since is None else float(held.idle_since), at=float(held.at))
    except (TypeError, ValueError):
        return Held()
