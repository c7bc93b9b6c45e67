"""Emergency shutdown: no gpu worker is left, and that is proven (G9, G10).

The order matters. First the freeze, in the database: it holds over restarts, and no claim gets past it. Then the fleet
to zero, those that hold leases too (they hand back). Then looking, until two reads in a row are clean: everybody
answered, nothing lives, nothing will be started. What is not known is never zero. Cut off anywhere, it is said again
and does the rest; said twice, or twice at once, it changes nothing more and keeps the first sizes.

People are told by whoever shuts down, once the order is given and once more when zero is not proven: beat, which tells
else, may be down. What they could not be told stays in the outbox for the next sweep.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from podinsight.domain.alerts import Alert, Severity
from podinsight.domain.control import RESUME, Control
from podinsight.domain.fleet import FleetState, Group, Instance, Snapshot
from podinsight.domain.redaction import redact_text, said
from podinsight.errors import PodinsightError
from podinsight.ports import Clock, Fleet, Notifier, PostedAlert, StatusStore

LIMIT_SECONDS: Final = 300.0
CLEAN_READS: Final = 2
_KEY: Final = "emergency:"  # of its alerts
_OUTBOX: Final = 1000  # alerts that wait, among which its own are looked for
_DOUBTS: Final = 20  # lines of an alert


@dataclass(frozen=True)
class EmergencyPorts:
    """left: what of the fleet is seen to live by other eyes than the provider's (processes of this machine), a line
    each; it may end what nobody else will. pause: waits between two reads. notifier: makes one for a round of telling;
    it keeps nobody waiting for long."""

    store: StatusStore
    fleet: Fleet
    clock: Clock
    left: Callable[[], Sequence[str]]
    pause: Callable[[], None]
    notifier: Callable[[], Notifier]


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
    that lived when it began. unproven: what speaks against zero, a line each; empty when it is proven. untold: why
    people were not told of it yet, a line each."""

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
    untold: tuple[str, ...] = ()

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
        kept, error = _order(ports.fleet, by, f"emergency shutdown: {why}")
        snapshot = kept or snapshot
        reads.append(_look(ports, error))
        if len(reads) == 1:
            untold = _tell(ports)
        if all(each.is_clean for each in reads[-CLEAN_READS:]) and len(reads) >= CLEAN_READS:
            unproven: tuple[str, ...] = ()
            break
        if ports.clock.now() - began > limit_seconds:
            unproven = _doubts(reads[-1])
            break
        ports.pause()
    ended = ports.clock.now()
    if unproven:
        untold = _tell(ports, _alarm(by, began, ended, unproven))
    seen, frozen = (reads[0], *reads[1:][-20:]), f"by {now.by}: {now.why}"
    return Shutdown(by, why, began, ended, froze, snapshot, before.living, seen, unproven, frozen, untold)


def _alarm(by: str, began: float, ended: float, unproven: Sequence[str]) -> Alert:
    """What people are told when nobody can say that nothing runs."""
    title = f"emergency shutdown by {by} is UNPROVEN after {ended - began:.0f} s: GPU workers may run"
    body = "\n".join([*(redact_text(each) for each in unproven[:_DOUBTS]), "Look yourself, and say it again."])
    return Alert(f"{_KEY}{began:.3f}:unproven", Severity.CRITICAL, title, body)


def _tell(ports: EmergencyPorts, alert: Alert | None = None) -> tuple[str, ...]:
    """Posts this alert, and tells people of this and what waits of shutdowns before. Returns what went wrong: it must
    not keep anything from being shut down. What nobody wants to hear, and what failed, is left to the next sweep."""
    faults: list[str] = []
    try:
        if alert is not None:
            ports.store.alerts.post(alert)
        notifier = ports.notifier()
        waiting = [each for each in ports.store.alerts.unsent(_OUTBOX) if each.alert.key.startswith(_KEY)]
        for posted in waiting:
            faults += _send(ports.store, notifier, posted)
    except Exception as error:  # of the database, or of whoever makes the notifier
        faults.append(said(error))
    return tuple(faults)


def _send(store: StatusStore, notifier: Notifier, posted: PostedAlert) -> list[str]:
    try:
        if notifier.send(posted.alert):
            store.alerts.sent(posted.id)
    except Exception as error:  # one that cannot be sent must not keep the others
        return [said(error)]
    return []


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
    alert = Alert(f"{_KEY}{now:.3f}", Severity.CRITICAL, title, f"`{RESUME}` gives back what was.")
    ports.store.control.revise(rule, lambda _was, _now: alert)
    return froze


def _order(fleet: Fleet, by: str, why: str) -> tuple[Snapshot | None, str]:
    try:
        return fleet.zero(why, by).snapshot, ""
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
