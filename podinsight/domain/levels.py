"""Which levels are reached (G3): pure; standard library. Alert levels tell, stop levels hold."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from podinsight.domain.alerts import Alert, Severity
from podinsight.domain.budget import Budget, Ceilings, Limits, Scope, named_setting, stops_at
from podinsight.domain.days import begins_at, day_of, month_of_day, next_day
from podinsight.domain.money import DOLLAR, Micros, cost, usd

MEAN_ITEMS: Final = 3  # fewer make no mean (G3)
_NAMED: Final = 3  # of the items that are held
_HOUR: Final = 3600.0


@dataclass(frozen=True)
class Halt:
    """When items halt the pipeline (G3). items: so many held at their own stop level within `seconds`; 0: however many
    are held, they halt nothing. mean: micro-dollars that the items of a day may cost on average; None: any. It is no
    stop level of one item: it holds where there is none, or a higher one."""

    items: int = 3
    seconds: float = 3600.0
    mean: Micros | None = 3 * DOLLAR


@dataclass(frozen=True)
class Stop:
    """A stop level that is reached, with what runs reckoned until it could have been stopped.

    burn: micro-dollars of that. ceiling: as it holds for this very budget.
    """

    budget: Budget
    burn: Micros
    ceiling: Micros

    @property
    def halts(self) -> bool:
        """Whether everything is to stop, and the fleet to go: the month is spent (G3). Else GPU work freezes."""
        return self.budget.scope is Scope.MONTH

    @property
    def key(self) -> str:
        """Of the alert."""
        return f"stop:{self.budget.scope.value}:{self.budget.key}"

    def __str__(self) -> str:
        found = self.budget
        return (
            f"{usd(found.spent)} spent, {usd(found.reserved)} reserved and {usd(self.burn)} burning "
            f"reach the {usd(self.ceiling)} of {found.name}{named_setting(found.scope)}"
        )


def stops(
    now: float, budgets: Iterable[Budget], ceilings: Ceilings, hour_micros: Micros, seconds: float, least: Micros = 0
) -> tuple[Stop, ...]:
    """The stop levels that are reached: spent + reserved + burn × (sweep interval + time to stop) ≥ ceiling.

    What burns after midnight is the next day's, and after the end of a month the next month's.

    Args:
        hour_micros: what an hour of all that runs costs. seconds: until what runs could have been stopped.
        least: micro-dollars that burn at least, whatever is known to run.
    """
    found: list[Stop] = []
    for budget in budgets:
        ceiling = budget.lowest(ceilings)
        burn = max(least, cost(min(seconds, _left(now, budget.scope)), hour_micros))
        if ceiling is not None and budget.spent + budget.reserved + burn >= stops_at(ceiling):
            found.append(Stop(budget, burn, ceiling))
    return tuple(found)


def _left(now: float, scope: Scope) -> float:
    """Seconds until a cost counts in the next budget of its scope."""
    today = day_of(now)
    tomorrow = next_day(today)
    whole = scope is Scope.PROJECT or (scope is Scope.MONTH and month_of_day(tomorrow) == month_of_day(today))
    return float("inf") if whole else begins_at(tomorrow) - now


def told(budgets: Iterable[Budget], limits: Limits) -> tuple[Alert, ...]:
    """An alert for each alert level that is reached; its key is the same whenever one looks."""
    return tuple(
        Alert(
            f"alert:{budget.scope.value}:{budget.key}:{level}",
            Severity.WARNING,
            f"{budget.name} has cost {usd(budget.spent)}, which is over the alert level of {usd(level)}",
            "Work goes on. `podrun costs report` says what it was spent on.",
        )
        for budget in budgets
        for level in limits.level(budget.scope).reached(budget.spent)
    )


def too_dear(held: Sequence[str], today: Sequence[Micros], halt: Halt) -> str:
    """Why the pipeline is to be halted: items cost too much, not one of them but all; empty when they do not (G3).

    Args:
        held: ids of the items that were held at their own stop level within the last `halt.seconds`.
        today: what each item has cost today.
    """
    if 0 < halt.items <= len(held):
        span = "an hour" if halt.seconds == _HOUR else f"{halt.seconds:g} s"
        return f"{len(held)} episodes reached their stop level within {span}: {', '.join(sorted(held)[:_NAMED])}"
    mean = sum(today) // len(today) if today else 0
    if halt.mean is not None and len(today) >= MEAN_ITEMS and mean > halt.mean:
        said = f"{len(today)} episodes have cost {usd(mean)} on average today"
        return f"{said}, which is over {usd(halt.mean)} (halt_mean_usd)"
    return ""
