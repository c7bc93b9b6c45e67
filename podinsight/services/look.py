"""One look at what is spent and what runs, against the levels: what the sweep acts on and `podrun costs check` shows.

It changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from podinsight.domain import levels, watch
from podinsight.domain.alerts import Alert
from podinsight.domain.budget import Budget, Scope, accounts
from podinsight.domain.control import Control
from podinsight.domain.days import begins_at, day_of
from podinsight.domain.findings import Finding
from podinsight.domain.fleet import PAID, FleetState
from podinsight.domain.levels import Stop
from podinsight.domain.money import Micros, cost
from podinsight.domain.pool import Level, economy
from podinsight.domain.redaction import said
from podinsight.domain.watch import Watch
from podinsight.ports import By, DearItem, StatusStore
from podinsight.services.guard import GUARD, GuardPorts, GuardRules
from podinsight.services.scale import BURN

SWEEP: Final = "sweep"  # the sweep's tick, its memory, and the source of its findings
_HOUR: Final = 3600.0
_DAY: Final = 86_400.0


@dataclass(frozen=True)
class Money:
    """What is spent against the levels. budgets: today's, this month's and the project's, in the order of the scopes.
    burn: micro-dollars until the next sweep could have stopped what runs. too_dear: why items halt the pipeline, or
    empty. saves: whether economy mode should be on."""

    budgets: tuple[Budget, ...]
    burn: Micros
    stops: tuple[Stop, ...]
    alerts: tuple[Alert, ...]
    too_dear: str
    saves: bool


def fleet_state(ports: GuardPorts) -> FleetState:
    """The fleet; all of it unknown when it cannot even be asked."""
    try:
        return ports.fleet.state()
    except Exception as error:  # the levels are looked at in any case
        return FleetState(ports.clock.now(), (), (), unknown=(f"{ports.fleet.name}: {said(error)}",))


def money(ports: GuardPorts, rules: GuardRules, state: FleetState) -> Money:
    """Raises Unavailable when the database does not answer."""
    store, now = ports.store, ports.clock.now()
    seconds = rules.fleet.sweep + rules.fleet.stop
    ceilings = rules.limits.ceilings()
    budgets = tuple(store.purse.budgets(accounts(day_of(now), gpu=True)))
    yesterday = day_of(begins_at(day_of(now)) - 1)
    late = store.purse.budgets([(Scope.DAY, yesterday), (Scope.GPU_DAY, yesterday)])
    items = _dear_items(store, rules, now)
    # What is unknown may burn as it did when it was known: claims reckon with that, too.
    least = _remembered_burn(store) if state.unknown else 0
    held = [
        Level(each.scope.value, most, each.spent, each.reserved)
        for each in budgets
        if (most := each.lowest(ceilings))  # a ceiling of nothing is no level to save under
    ]
    dearest = max((each.micros for each in items if each.active), default=0)
    return Money(
        budgets,
        max(least, cost(seconds, state.burn)),
        levels.stops(now, budgets, ceilings, state.burn, seconds, least),
        levels.told(
            [*late, *budgets, *(Budget(Scope.ITEM, each.episode_id, 0, each.micros) for each in items)], rules.limits
        ),
        _too_dear(store, rules, now),
        economy(store.control.read().economy, held, dearest),
    )


def _dear_items(store: StatusStore, rules: GuardRules, now: float) -> Sequence[DearItem]:
    level = rules.limits.item
    wanted = [*level.alerts, *([level.stop] if level.stop is not None else [])]
    return store.work.dear_items(max(1, min(wanted)), now - _DAY) if wanted else ()


def _remembered_burn(store: StatusStore) -> Micros:
    found = (store.memory.recall(BURN) or {}).get("micros")
    return max(0, found) if isinstance(found, int) else 0


def _too_dear(store: StatusStore, rules: GuardRules, now: float) -> str:
    """What a person has gone on after counts no more: the hour begins with his resume."""
    resumed = max((row.at for row in store.control.since(now - _HOUR) if _is_resume(row)), default=0.0)
    today = day_of(now)
    costs = [each.micros for each in store.purse.totals(By.ITEM, today, today) if each.key]
    return levels.too_dear(store.work.held_items(max(now - _HOUR, resumed)), costs, rules.limits.item.stop)


def _is_resume(row: Control) -> bool:
    return not row.stops and row.by != GUARD


def sights(ports: GuardPorts, state: FleetState) -> Watch:
    """What was remembered of the fleet, with what is seen now. Raises Unavailable like `money`."""
    store = ports.store
    before = watch.from_memory(store.memory.recall(SWEEP), state.at)
    demand = store.work.demand("transcribe")
    holders = {name: (each.leases, each.since) for name, each in store.work.lease_holders().items()}
    return watch.observe(before, state, demand.waiting + demand.in_flight > 0, holders)


def findings(ports: GuardPorts, rules: GuardRules, state: FleetState, seen: Watch) -> tuple[Finding, ...]:
    """What runs for nothing, or is not known."""
    return watch.findings(seen, state, rules.fleet, ports.fleet.offer().rate.micros)


def paid(state: FleetState) -> int:
    """How many machines are paid for."""
    return sum(each.state in PAID for each in state.instances)
