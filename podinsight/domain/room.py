"""Whether a quote fits into what the stop levels have left (G3, G4). Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from podinsight.domain.budget import Budget, Ceilings, Scope, stop_setting
from podinsight.domain.money import Micros, cost, usd
from podinsight.domain.quote import Quote
from podinsight.domain.quote_lines import Item

_DAY: Final = 86_400.0


@dataclass(frozen=True)
class Shortfall:
    """A stop level that would be reached. ceiling: the level; left: less than `likely`, what is likely to be spent, and
    `beside`, what the last claims must find free beside it."""

    budget: Budget
    ceiling: Micros
    left: Micros
    likely: Micros
    beside: Micros = 0

    @property
    def setting(self) -> str:
        """The setting that holds the level."""
        return stop_setting(self.budget.scope)

    def __str__(self) -> str:
        stopped = "halted" if self.budget.scope is Scope.MONTH else "frozen"
        tight = f"with {usd(self.beside)} kept free for the last leases " if self.likely <= self.left else ""
        return (
            f"{usd(self.ceiling)} of {self.budget.name} leaves {usd(self.left)}: "
            f"{tight}it would be {stopped} before it is done ({self.setting})"
        )


def shortfalls(
    asked: Quote, budgets: Iterable[Budget], ceilings: Ceilings, lease_seconds: float = 0.0
) -> tuple[Shortfall, ...]:
    """The budgets into which the likely figure of this quote does not fit, in their order.

    Of work that lasts longer than a day one day's share counts for the levels of a day; for that of GPU work the
    device alone, with and without work.

    Args:
        budgets: of all work, such as those of `domain.budget.accounts` with neither an episode nor a run.
        lease_seconds: of each worker that a claim must find free, whatever is spent of them in the end: what its lease
            reserves, and until the worker could have been stopped (`domain.budget.refusal`).
    """
    days = max(1.0, asked.lasts.likely / _DAY)
    device = sum(each.cost.likely for each in asked.lines if each.item in (Item.GPU, Item.IDLE))
    beside = asked.crew.workers * cost(lease_seconds, asked.price.micros) if device else 0
    likely = {
        Scope.DAY: int(asked.cost.likely / days),
        Scope.GPU_DAY: int(device / days),
        Scope.MONTH: asked.cost.likely,
        Scope.PROJECT: asked.cost.likely,
    }
    found = []
    for budget in budgets:
        ceiling, spend = budget.lowest(ceilings), likely.get(budget.scope, 0)
        left = max(0, (ceiling or 0) - budget.spent - budget.reserved)
        if ceiling is not None and spend + beside > left:
            found.append(Shortfall(budget, ceiling, left, spend, beside))
    return tuple(found)
