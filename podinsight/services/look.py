"""One look at what is spent and what runs, against the levels: what the sweep acts on and `podrun costs check` shows.

It changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from podinsight.domain import levels, watch
from podinsight.domain.alerts import Alert
from podinsight.domain.brain import STAGE
from podinsight.domain.budget import Account, Budget, Scope, accounts
from podinsight.domain.control import Control
from podinsight.domain.days import begins_at, day_of, month_of_day
from podinsight.domain.findings import Finding
from podinsight.domain.fleet import PAID, FleetState
from podinsight.domain.levels import Stop
from podinsight.domain.money import Micros, cost
from podinsight.domain.pool import Level, economy, economy_item
from podinsight.domain.redaction import said
from podinsight.domain.watch import Watch
from podinsight.ports import By, DearItem, StatusStore
from podinsight.services.guard import GUARD, GuardPorts, GuardRules
from podinsight.services.scale import BURN

SWEEP: Final = "sweep"  # the sweep's tick, its memory, and the source of its findings
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
    late = store.purse.budgets(_late(day_of(now)))
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
        economy(store.control.read().economy, held, dearest, _saves_from(rules)),
    )


def _late(today: str) -> list[Account]:
    """What ended at midnight, for its alert levels: what it has cost, its last minute and what is written down for it
    afterwards too, is known only now."""
    yesterday = day_of(begins_at(today) - 1)
    month = month_of_day(yesterday)
    ended = [(Scope.DAY, yesterday), (Scope.GPU_DAY, yesterday)]
    return ended if month == month_of_day(today) else [*ended, (Scope.MONTH, month)]


def _dear_items(store: StatusStore, rules: GuardRules, now: float) -> Sequence[DearItem]:
    """Those that an alert level, or economy mode, asks for: each is asked for whether there is the other or not."""
    saves_from = _saves_from(rules)
    wanted = [*rules.limits.item.alerts, *([saves_from] if saves_from is not None else [])]
    return store.work.dear_items(max(1, min(wanted)), now - _DAY) if wanted else ()


def _saves_from(rules: GuardRules) -> Micros | None:
    return economy_item(rules.economy_item, rules.limits.item.stop)


def _remembered_burn(store: StatusStore) -> Micros:
    found = (store.memory.recall(BURN) or {}).get("micros")
    return max(0, found) if isinstance(found, int) else 0


def _too_dear(store: StatusStore, rules: GuardRules, now: float) -> str:
    """What a person has gone on after counts no more: the hour begins with his resume. The mean is that of the day: it
    is the level (halt_mean_usd) that has to be raised."""
    since = now - rules.halt.seconds
    resumed = max((row.at for row in store.control.since(since) if _is_resume(row)), default=0.0)
    today = day_of(now)
    costs = [each.micros for each in store.purse.totals(By.ITEM, today, today) if each.key]
    return levels.too_dear(store.work.held_items(max(since, resumed)), costs, rules.halt)


def _is_resume(row: Control) -> bool:
    return not row.stops and row.by != GUARD


def sights(ports: GuardPorts, state: FleetState) -> Watch:
    """What was remembered of the fleet, with what is seen now. Work that may not start is none: whoever holds a lease
    is seen to work all the same. Raises Unavailable like `money`."""
    store = ports.store
    before = watch.from_memory(store.memory.recall(SWEEP), state.at)
    demand = store.work.demand(STAGE)
    work = demand.waiting + demand.in_flight > 0 and not store.control.read().forbids(STAGE)
    holders = {name: (each.leases, each.since) for name, each in store.work.lease_holders().items()}
    return watch.observe(before, state, work, holders)


def findings(ports: GuardPorts, rules: GuardRules, state: FleetState, seen: Watch) -> tuple[Finding, ...]:
    """What runs for nothing, or is not known."""
    return watch.findings(seen, state, rules.fleet, ports.fleet.offer().rate.micros)


def paid(state: FleetState) -> int:
    """How many machines are paid for."""
    return sum(each.state in PAID for each in state.instances)
