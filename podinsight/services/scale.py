"""How many gpu workers there are: the brain decides, the fleet carries it out (G5, G6).

Whatever fails here (the database, the fleet, the brain) raises before anything has grown: growth comes last.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from podinsight.domain.brain import STAGE, Decision, Memory, decide, ending, workers
from podinsight.domain.budget import Budget, Scope, accounts, named_setting
from podinsight.domain.control import GUARD, Mode
from podinsight.domain.days import day_of
from podinsight.domain.fleet import PAID, WORKING, FleetState, InstanceState
from podinsight.domain.money import Micros, cost, usd
from podinsight.domain.observed import NAME, Observed, look, machines, observed
from podinsight.domain.pool import Demand, Level, Machine, Rules, ahead
from podinsight.ports import SpeechBook, StatusStore
from podinsight.services import in_force, pricing
from podinsight.services.guard import GuardPorts, GuardRules, freeze
from podinsight.services.stop_mark import keep
from podinsight.topology import SCALE_TICK

BURN: Final = "burn"  # what claims reckon with, under this name
FIXED: Final = "fixed"  # under which name a size is kept that was fixed before a stop
_DRAINING: Final = "draining"
_SPEED_DAYS: Final = 7
_DAY: Final = 86_400.0


def scale(ports: GuardPorts, rules: GuardRules) -> str:
    """One decision, carried out; returns what it was. A fleet of a fixed size is at zero while control forbids what it
    is paid for, and else left as it is.

    Raises:
        PodinsightError: the database, or all of the fleet, is away. Nothing has grown.
    """
    store, now = ports.store, ports.clock.now()
    in_force.say(store, rules.limits.ceilings(), now)
    state = ports.fleet.state()
    pricing.keep(store.workers, state)
    before = observed(store.memory.recall(NAME), now)
    holders = {name: (each.leases, each.since) for name, each in store.work.lease_holders().items()}
    sights = look(now, state.instances, holders, before.sights)
    seen = machines(state.living, sights)
    burn = _burn(ports, state, seen, rules.fleet)
    ports.store.memory.remember(BURN, {"micros": burn})
    if not rules.scales and state.kept is None:
        return _hold_size(ports, state)
    if state.kept is not None:
        why = f"the fleet is shut: {state.kept.reason}"
        store.memory.remember(NAME, Observed(Memory(), sights, now, why).to_json())
        store.control.tick(SCALE_TICK)
        return why
    offer = ports.fleet.offer()
    budgets, levels = _levels(store, rules, now)
    decision = decide(
        now,
        _demand(store, rules.fleet),
        seen,
        rules.fleet,
        _speed(store.speech, rules, offer.kind, now),
        offer.rate.micros,
        keep(ports),
        levels,
        before.memory,
    )
    if state.unknown:  # what runs there may be all that is wanted
        desired = min(decision.desired, state.desired)
        why = f"{decision.why}; not known: {', '.join(state.unknown)}"
        decision = replace(decision, desired=desired, why=why, memory=replace(decision.memory, desired=desired))
    _freeze(store, decision, budgets)
    launched = max(0, decision.desired - sum(each.state in WORKING for each in seen))
    if launched:  # before they are there: no claim may take the room that they were fitted into
        start = cost(rules.fleet.start + rules.fleet.sweep + rules.fleet.stop, offer.rate.micros)
        store.memory.remember(BURN, {"micros": burn + launched * start})
    made = Observed(decision.memory, sights, now, decision.why, decision.desired, decision.findings)
    store.memory.remember(NAME, made.to_json())
    _carry_out(ports, state, decision)
    store.control.tick(SCALE_TICK)
    return f"gpu: {workers(decision.desired)} wanted: {decision.why}"


def _hold_size(ports: GuardPorts, state: FleetState) -> str:
    """A size that somebody set stays; while what is paid for may not work it is zero, and afterwards what it was."""
    memory, forbidden = ports.store.memory, keep(ports).forbids(STAGE)
    before = (memory.recall(FIXED) or {}).get("desired")
    if forbidden and state.desired and state.burn:
        memory.remember(FIXED, {"desired": state.desired})
        ports.fleet.scale(0, GUARD, forbidden)
        return f"the size was fixed at {state.desired}, now 0: {forbidden}"
    if not forbidden and isinstance(before, int):
        ports.fleet.scale(max(before, state.desired), GUARD, "nothing stops work any more: the size that was fixed")
        memory.remember(FIXED, {})
    return f"the size is fixed: {state.desired}"


def _burn(ports: GuardPorts, state: FleetState, seen: Sequence[Machine], rules: Rules) -> Micros:
    """What is spent until the next sweep can have stopped what runs now, and what starts have cost that no work is
    charged for yet. What is unknown may burn as it did."""
    running = [each for each in seen if each.state in PAID]
    starting = [each for each in running if each.state is InstanceState.STARTING]
    burn = ahead(running, rules) + sum(cost(max(0.0, state.at - each.since), each.hour_micros) for each in starting)
    if state.unknown:
        before = (ports.store.memory.recall(BURN) or {}).get("micros")
        burn = max(burn, before if isinstance(before, int) else 0)
    return burn


def _demand(store: StatusStore, rules: Rules) -> Demand:
    """Where a start costs nothing (patience 0), an episode whose plan is being made is work already: the worker starts
    meanwhile."""
    chunks, plan = store.work.demand(STAGE), store.work.demand("plan")
    coming = store.work.demand("fetch").seconds + plan.seconds
    units, seconds = chunks.waiting + chunks.in_flight, chunks.seconds
    if rules.patience == 0 and not units:
        units = plan.in_flight
    return Demand(seconds, units, coming)


def _speed(book: SpeechBook, rules: GuardRules, device: str, now: float) -> float:
    """Seconds of audio that a worker gets through in a second, as measured on the last days."""
    days = book.speeds(day_of(now - _SPEED_DAYS * _DAY), rules.model, device) if device else []
    audio, took = sum(each.audio_seconds for each in days), sum(each.wall_seconds for each in days)
    return audio / took if audio > 0 and took > 0 else rules.speed


def _levels(store: StatusStore, rules: GuardRules, now: float) -> tuple[list[Budget], list[Level]]:
    """The budgets with a stop level that count for the whole fleet, each with its level."""
    ceilings = rules.limits.ceilings()
    found = store.purse.budgets(accounts(day_of(now), gpu=True))
    held = [(each, most) for each in found if (most := each.lowest(ceilings)) is not None]
    levels = [Level(each.scope.value, most, each.spent, each.reserved, each.name) for each, most in held]
    return [each for each, _ in held], levels


def _freeze(store: StatusStore, decision: Decision, budgets: Sequence[Budget]) -> None:
    level = decision.freeze
    if level is None:
        return
    budget = next(each for each in budgets if each.scope.value == level.scope)
    why = (
        f"{usd(level.spent)} spent and {usd(level.reserved)} reserved of the {usd(level.ceiling)} of "
        f"{budget.name}: no room for a gpu worker, its start and the reservation of its lease"
        f"{named_setting(budget.scope)}"
    )
    mode = Mode.HALTED if budget.scope is Scope.MONTH else None
    freeze(store, why, f"stop:{budget.scope.value}:{budget.key}", mode)


def _carry_out(ports: GuardPorts, state: FleetState, decision: Decision) -> None:
    """Those that leave first, by name; then the size."""
    least = sum(group.least for group in state.groups)
    stop = ending(decision, state.living, state.groups)
    for each in decision.drain:
        ports.store.workers.mark(each, _DRAINING)
    if stop:
        ports.fleet.stop(stop, GUARD, decision.why)
    if stop or max(decision.desired, least) != state.desired:
        ports.fleet.scale(decision.desired, GUARD, decision.why)
