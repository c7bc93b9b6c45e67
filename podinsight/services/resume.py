"""Resume: lifts what was stopped last, by a named person, and gives back just what was before it (G7, G8)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from podinsight.domain.budget import Budget, Limits, accounts, stops_at
from podinsight.domain.control import Control, lifted, stops
from podinsight.domain.days import day_of
from podinsight.domain.money import cost
from podinsight.errors import Refused
from podinsight.ports import Clock, Fleet, StatusStore


@dataclass(frozen=True)
class Resumed:
    """What a resume came to.

    lifted: the stop that is gone; None: nothing was stopped. held: what still holds, the first stop first. opened:
    whether a fleet that was shut has its sizes back. shut: why the fleet stays shut; empty when it is open. reached:
    budgets without room for work, which will stop it again, each with its stop level as its ceiling.
    """

    lifted: Control | None
    held: tuple[Control, ...]
    opened: bool
    shut: str
    reached: tuple[Budget, ...]


@dataclass(frozen=True)
class ResumePorts:
    """What a resume works with. start_seconds: of one worker that have to fit under a level for work to go on: a lease,
    and the time until it could have been stopped."""

    store: StatusStore
    fleet: Fleet
    clock: Clock
    start_seconds: float = 0.0


def resume(ports: ResumePorts, limits: Limits, by: str, why: str) -> Resumed:
    """Lifts the last stop. The fleet comes first: if it cannot be opened, everything stays stopped.

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
    left = stops(ports.store.control.revise(lambda history: _rows(history, last, by, why)))
    return Resumed(last, left, opened, shut, reached(ports, limits))


def reached(ports: ResumePorts, limits: Limits) -> tuple[Budget, ...]:
    """Budgets of all work that have no room for the next worker any more, by what was spent and is reserved."""
    ceilings = limits.ceilings()
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
