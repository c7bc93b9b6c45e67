"""Whether a quote fits into what the stop levels have left (G3, G4). Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from podinsight.domain.budget import Budget, Ceilings, Scope
from podinsight.domain.money import Micros, usd
from podinsight.domain.quote import Quote
from podinsight.domain.quote_lines import Item

_DAY: Final = 86_400.0


@dataclass(frozen=True)
class Shortfall:
    """A stop level that would be reached. ceiling: the level; left: less than `likely`, what is likely to be spent."""

    budget: Budget
    ceiling: Micros
    left: Micros
    likely: Micros

    @property
    def setting(self) -> str:
        """The setting that holds the level."""
        return f"stop_{self.budget.scope.value}_usd"

    def __str__(self) -> str:
        stopped = "halted" if self.budget.scope is Scope.MONTH else "frozen"
        return (
            f"{usd(self.ceiling)} of {self.budget.name} leaves {usd(self.left)}: "
            f"it would be {stopped} before it is done ({self.setting})"
        )


def shortfalls(asked: Quote, budgets: Iterable[Budget], ceilings: Ceilings) -> tuple[Shortfall, ...]:
    """The budgets into which the likely figure of this quote does not fit, in their order.

    Of work that lasts longer than a day one day's share counts for the levels of a day; for that of GPU work the
    device alone, with and without work.

    Args:
        budgets: of all work, such as those of `domain.budget.accounts` with neither an episode nor a run.
    """
    days = max(1.0, asked.lasts.likely / _DAY)
    device = sum(each.cost.likely for each in asked.lines if each.item in (Item.GPU, Item.IDLE))
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
        if ceiling is not None and spend > left:
            found.append(Shortfall(budget, ceiling, left, spend))
    return tuple(found)
