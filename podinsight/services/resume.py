"""Resume: lifts what was stopped last, by a named person, and gives back just what was before it (G7, G8)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from podinsight.domain.alerts import resume_alert
from podinsight.domain.budget import Budget, Ceilings, Limits, accounts, stops_at
from podinsight.domain.control import Control, apart, lifted, stops
from podinsight.domain.days import day_of
from podinsight.domain.money import cost
from podinsight.errors import Refused
from podinsight.ports import Clock, Fleet, StatusStore
from podinsight.services import in_force


@dataclass(frozen=True)
class Resumed:
    """What a resume came to.

    lifted: the stop that is gone; None: nothing was stopped. held: what still holds, the first stop first. opened:
    whether a fleet that was shut has its sizes back. shut: why the fleet stays shut; empty when it is open. reached:
    budgets without room for work, which will stop it again, each with its stop level as its ceiling. behind: those that
    have room by the levels given here, and none by those that the running stack still holds, which are their ceilings.
    """

    lifted: Control | None
    held: tuple[Control, ...]
    opened: bool
    shut: str
    reached: tuple[Budget, ...]
    behind: tuple[Budget, ...] = ()


@dataclass(frozen=True)
class ResumePorts:
    """What a resume works with. start_seconds: of one worker that have to fit under a level for work to go on: those
    without which the fleet launches none (`Rules.launch`). said_seconds: for how long the stack is taken to run with
    the levels that it said it has."""

    store: StatusStore
    fleet: Fleet
    clock: Clock
    start_seconds: float = 0.0
    said_seconds: float = 0.0


def resume(ports: ResumePorts, limits: Limits, by: str, why: str) -> Resumed:
    """Lifts the last stop, and tells. The fleet comes first: if it cannot be opened, everything stays stopped.

    Raises:
        Unavailable: the fleet or the database does not answer; it can be said again.
        Refused: something else was stopped meanwhile: that stays.
    """
    held = stops(ports.store.control.history())
    if not held:
        kept = ports.fleet.state().kept
        return Resumed(None, (), False, kept.reason if kept else "", ())
    last = held[-1]
    opened, shut = _open(ports.fleet, last, by, why)
    alone = apart(held)[-1]
    history = ports.store.control.revise(
        lambda history: _rows(history, last, by, why),
        lambda was, now: resume_alert(alone, was, now, by, why),
    )
    left = stops(history)
    found = reached(ports, limits)
    return Resumed(last, left, opened, shut, found, _behind(ports, found))


def reached(ports: ResumePorts, limits: Limits) -> tuple[Budget, ...]:
    """Budgets of all work that have no room for the next worker any more, by what was spent and is reserved."""
    return _without_room(ports, limits.ceilings())


def _behind(ports: ResumePorts, known: Sequence[Budget]) -> tuple[Budget, ...]:
    ceilings = in_force.held(ports.store, ports.clock.now(), ports.said_seconds)
    said = {each.scope for each in known}
    return tuple(each for each in _without_room(ports, ceilings or {}) if each.scope not in said)


def _without_room(ports: ResumePorts, ceilings: Ceilings) -> tuple[Budget, ...]:
    least = cost(ports.start_seconds, ports.fleet.offer().rate.micros)
    found = []
    for budget in ports.store.purse.budgets(accounts(day_of(ports.clock.now()), gpu=True)):
        ceiling = budget.lowest(ceilings)
        if ceiling is not None and budget.spent + budget.reserved + least >= stops_at(ceiling):
            found.append(replace(budget, ceiling=ceiling))
    return tuple(found)


def _rows(history: Sequence[Control], last: Control, by: str, why: str) -> tuple[Control, ...]:
    if stops(history)[-1:] != (last,):
        raise Refused("something else was stopped meanwhile, and stays so: see `podrun status`")
    below = replace(lifted(history), at=0.0)
    named = replace(below, by=by, why=why)
    # Who reads what holds finds the one who stopped it; who lifted the rest stays on record before.
    return (named, below) if below.stops else (named,)


def _open(fleet: Fleet, last: Control, by: str, why: str) -> tuple[bool, str]:
    """Opens a fleet that was shut by this stop or under it; one that was shut before stays so."""
    kept = fleet.state().kept
    if kept is None:
        return False, ""
    if kept.at < last.at:
        return False, kept.reason
    fleet.resume(kept, by, why)
    return True, ""
