"""Emergency shutdown: no gpu worker is left, and that is proven (G9, G10).

The order matters. First the freeze, in the database: it holds over restarts, and no claim gets past it. Then the fleet
to zero, those that hold leases too (they hand back). Then looking, until two reads in a row are clean: everybody
answered, nothing lives, nothing will be started. What is not known is never zero. Cut off anywhere, it is said again
and does the rest; said twice, or twice at once, it changes nothing more and keeps the first sizes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from podinsight.domain.alerts import Alert, Severity
from podinsight.domain.control import RESUME, Control
from podinsight.domain.fleet import FleetState, Group, Instance, Snapshot
from podinsight.errors import PodinsightError
from podinsight.ports import Clock, Fleet, StatusStore

LIMIT_SECONDS: Final = 300.0
CLEAN_READS: Final = 2


@dataclass(frozen=True)
class EmergencyPorts:
    """left: what of the fleet is seen to live by other eyes than the provider's (processes of this machine), a line
    each; it may end what nobody else will. pause: waits between two reads."""

    store: StatusStore
    fleet: Fleet
    clock: Clock
    left: Callable[[], Sequence[str]]
    pause: Callable[[], None]


@dataclass(frozen=True)
class Read:
    """What was seen at one moment. error: why the order to go to zero could not be given at it, else empty."""

    at: float
    instances: tuple[str, ...]
    groups: tuple[Group, ...]
    unknown: tuple[str, ...]
    left: tuple[str, ...]
    is_clean: bool
    error: str = ""


@dataclass(frozen=True)
class Shutdown:
    """What a shutdown came to. froze: False when GPU work was frozen before; frozen: by whom and why. instances: those
    that lived when it began. unproven: what speaks against zero, a line each; empty when it is proven."""

    by: str
    why: str
    began: float
    ended: float
    froze: bool
    snapshot: Snapshot | None
    instances: tuple[Instance, ...]
    reads: tuple[Read, ...]
    unproven: tuple[str, ...]
    frozen: str = ""

    @property
    def is_proven(self) -> bool:
        return not self.unproven


def shut_down(ports: EmergencyPorts, by: str, why: str, limit_seconds: float = LIMIT_SECONDS) -> Shutdown:
    """Freezes, sets to zero, and looks until zero is proven or the time is up.

    Raises:
        Unavailable: the freeze could not be written. Nothing was stopped.
    """
    began = ports.clock.now()
    froze = _freeze(ports, by, why, began)
    now = ports.store.control.read()
    before = ports.fleet.state()
    reads: list[Read] = []
    snapshot: Snapshot | None = None
    while True:
        kept, error = _order(ports.fleet, f"emergency shutdown by {by}: {why}")
        snapshot = kept or snapshot
        reads.append(_look(ports, error))
        if all(each.is_clean for each in reads[-CLEAN_READS:]) and len(reads) >= CLEAN_READS:
            unproven: tuple[str, ...] = ()
            break
        if ports.clock.now() - began > limit_seconds:
            unproven = _doubts(reads[-1])
            break
        ports.pause()
    seen, frozen = (reads[0], *reads[1:][-20:]), f"by {now.by}: {now.why}"
    return Shutdown(by, why, began, ports.clock.now(), froze, snapshot, before.living, seen, unproven, frozen)


def _freeze(ports: EmergencyPorts, by: str, why: str, now: float) -> bool:
    """Whether GPU work was not frozen before."""
    froze = False

    def rule(history: Sequence[Control]) -> Sequence[Control]:
        nonlocal froze
        before = history[0] if history else Control()
        froze = not before.gpu_frozen
        frozen = replace(before, gpu_frozen=True, by=by, why=f"emergency shutdown: {why}", at=0.0)
        return (frozen,) if froze else ()

    title = f"emergency shutdown of GPU work by {by}: {why}"
    alert = Alert(f"emergency:{now:.3f}", Severity.CRITICAL, title, f"`{RESUME}` gives back what was.")
    ports.store.control.revise(rule, lambda _was, _now: alert)
    return froze


def _order(fleet: Fleet, reason: str) -> tuple[Snapshot | None, str]:
    try:
        return fleet.zero(reason).snapshot, ""
    except PodinsightError as error:
        return None, str(error)


def _look(ports: EmergencyPorts, error: str) -> Read:
    state = ports.fleet.state()
    left = tuple(ports.left())
    clean = state.is_zero and not left and not error
    living = tuple(each.id for each in state.living)
    return Read(state.at, living, state.groups, state.unknown, left, clean, error)


def _doubts(last: Read) -> tuple[str, ...]:
    found = [f"{each} lives" for each in last.instances]
    found += [f"unknown: {each}" for each in last.unknown]
    found += [f"{each.name} may start instances" for each in last.groups if not each.is_zero]
    found += list(last.left)
    found += [last.error] if last.error else []
    return tuple(found) or ("zero was seen once, and not twice in a row",)


def plan(state: FleetState, control: Control) -> list[str]:
    """What a shutdown would do, a line each, in its order."""
    steps = [
        f"GPU work is frozen already by {control.by}: {control.why}" if control.gpu_frozen else "freeze GPU work",
    ]
    for group in state.groups:
        sizes = f"{group.least} to {group.most}, {group.desired} wanted"
        steps.append(f"{group.name} is zero already" if group.is_zero else f"set {group.name} ({sizes}) to zero")
    for each in state.living:
        does = ", which hands back what it holds" if each.leased else ""
        steps.append(f"end {each.id} ({each.kind} on {each.zone}, {each.state.value}){does}")
    steps += [f"not known: {each}" for each in state.unknown]
    return steps
