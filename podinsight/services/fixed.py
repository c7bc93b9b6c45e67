"""Holding a fixed size: as many gpu workers as somebody set, but none while the cost guard has taken them (G3, G5)."""

from dataclasses import replace

from podinsight.domain import fixed
from podinsight.domain.brain import STAGE
from podinsight.domain.control import GUARD
from podinsight.domain.fixed import Held, Seen
from podinsight.domain.fleet import FleetState
from podinsight.ports import StatusStore
from podinsight.services.guard import GuardPorts
from podinsight.services.stop_mark import keep


def hold_size(ports: GuardPorts, state: FleetState, work: bool, grace: float) -> str:
    """One decision, carried out; returns what holds.

    Args:
        work: whether there is any for gpu workers, as the brain counts it.
        grace: seconds that what is paid for may be without work.
    """
    before = held(ports.store)
    least = sum(group.least for group in state.groups)
    forbidden = keep(ports).forbids(STAGE)
    seen = Seen(state.at, state.desired, least, state.burn > 0, work, forbidden, bool(state.unknown))
    order = fixed.decide(before, seen, grace)
    now = order.held
    if order.desired is None:
        _remember(ports.store, now)
    elif now.size is None:  # what comes back is forgotten once it is asked for
        ports.fleet.scale(order.desired, GUARD, order.why)
        _remember(ports.store, now)
    else:
        _remember(ports.store, now)
        now = replace(now, left=ports.fleet.scale(order.desired, GUARD, order.why))
        _remember(ports.store, now)
    return f"{now}: {state.desired}" if now.size is None else str(now)


def held(store: StatusStore) -> Held:
    """What the cost guard has taken, and why; nothing where the fleet has its size."""
    return fixed.from_memory(store.memory.recall(fixed.NAME))


def opened(store: StatusStore, size: int, why: str) -> None:
    """A fleet is opened at zero while work is stopped: so many come with the resume. What was taken before it was shut
    stays as it is remembered."""
    if size:
        _remember(store, Held(size, why=why))


def _remember(store: StatusStore, now: Held) -> None:
    store.memory.remember(fixed.NAME, now.to_json())
