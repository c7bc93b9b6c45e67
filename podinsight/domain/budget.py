"""Ceilings: for what, how high, and what fits under them (G2, G3). Pure; standard library.

A ceiling holds for what was spent, what is reserved and (for what all work shares) what the fleet burns until the next
sweep. Alert levels tell and never bind.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from podinsight.domain.days import month_of_day
from podinsight.domain.money import Micros, micros, parse_usd, usd


class Scope(StrEnum):
    """What a budget is for, in the order in which budgets are asked and locked."""

    ITEM = "item"
    RUN = "run"
    DAY = "day"
    GPU_DAY = "gpu_day"
    MONTH = "month"
    PROJECT = "project"


RANK: Final[Mapping[Scope, int]] = {scope: rank for rank, scope in enumerate(Scope)}
PROJECT_KEY: Final = "all"
BURNS: Final = frozenset({Scope.DAY, Scope.GPU_DAY, Scope.MONTH, Scope.PROJECT})

_SAID: Final[Mapping[Scope, str]] = {
    Scope.ITEM: "episode {}",
    Scope.RUN: "run {}",
    Scope.DAY: "the day {}",
    Scope.GPU_DAY: "GPU work on {}",
    Scope.MONTH: "the month {}",
    Scope.PROJECT: "the project",
}

_ASKED: Final = re.compile(r"(\$[\d,]+(?:\.\d+)?) do not fit under ")

Account = tuple[Scope, str]  # the budget of a scope: of which episode, run, day, month
Ceilings = Mapping[Scope, Micros | None]  # None or missing: no ceiling


def accounts(day: str, *, episode_id: str = "", run_id: str = "", gpu: bool = False) -> tuple[Account, ...]:
    """Every budget that a cost of this UTC day counts in, in the order of the scopes. Raises ValueError for no day."""
    keys = {
        Scope.ITEM: episode_id,
        Scope.RUN: run_id,
        Scope.DAY: day,
        Scope.GPU_DAY: day if gpu else "",
        Scope.MONTH: month_of_day(day),
        Scope.PROJECT: PROJECT_KEY,
    }
    return tuple((scope, keys[scope]) for scope in Scope if keys[scope])


@dataclass(frozen=True)
class Level:
    """Levels of one scope: alerts only tell, the stop level holds (None: there is none)."""

    alerts: tuple[Micros, ...] = ()
    stop: Micros | None = None

    def reached(self, spent: Micros) -> tuple[Micros, ...]:
        """The alert levels that have been reached, the lowest first."""
        return tuple(sorted(level for level in self.alerts if spent >= level))


@dataclass(frozen=True)
class Limits:
    """The settable levels of G3. `run` has no levels of its own: its stop is what `--max-usd` lays down."""

    item: Level = Level((micros("2.50"),), micros("3.00"))
    run: Level = Level()
    day: Level = Level((micros(5), micros(15)))
    gpu_day: Level = Level((), micros(40))
    month: Level = Level((micros(50),), micros(100))
    project: Level = Level((micros(40),))

    def level(self, scope: Scope) -> Level:
        found: Level = getattr(self, scope.value)
        return found

    def ceilings(self) -> dict[Scope, Micros | None]:
        """The stop levels, as reservations take them."""
        return {scope: self.level(scope).stop for scope in Scope}


@dataclass(frozen=True)
class Budget:
    """What has been spent and is reserved in one scope. ceiling: laid down for this very key, beside the settings'."""

    scope: Scope
    key: str
    reserved: Micros = 0
    spent: Micros = 0
    ceiling: Micros | None = None

    @property
    def name(self) -> str:
        """For a person: `GPU work on 2026-11-22`."""
        return _SAID[self.scope].format(self.key)

    def lowest(self, ceilings: Ceilings) -> Micros | None:
        """The ceiling that holds here: the lower of the settings' and its own."""
        return min((each for each in (self.ceiling, ceilings.get(self.scope)) if each is not None), default=None)


@dataclass(frozen=True)
class Refusal:
    """The first budget, in the order of the scopes, under whose ceiling what was asked does not fit.

    burn: what was reckoned with for the fleet until the next sweep; 0 where it does not count.
    """

    scope: Scope
    key: str
    spent: Micros
    reserved: Micros
    burn: Micros
    asked: Micros
    ceiling: Micros

    def __str__(self) -> str:
        burning = f", {usd(self.burn)} burning" if self.burn else ""
        return (
            f"{usd(self.asked)} do not fit under the {usd(self.ceiling)} of {_SAID[self.scope].format(self.key)}: "
            f"{usd(self.spent)} spent, {usd(self.reserved)} reserved{burning}; "
            f"{usd(self.asked)} is what one lease reserves{named_setting(self.scope)}"
        )


def stops_at(ceiling: Micros) -> Micros:
    """Micro-dollars, spent or reserved or soon burnt, at which a stop level stops work: its ceiling. A level of nothing
    stops it at the first micro-dollar: what costs nothing goes on under it, as `refusal` lets it."""
    return max(ceiling, 1)


def stop_setting(scope: Scope) -> str:
    """The setting that holds the stop level of a scope."""
    return f"stop_{scope.value}_usd"


def named_setting(scope: Scope) -> str:
    """The same at the end of a line for people, where it is a level of all work: ` (stop_gpu_day_usd)`."""
    return f" ({stop_setting(scope)})" if scope in BURNS else ""


def asked_by(said: str) -> Micros:
    """What was asked, of a refusal as it is said; 0 where nothing is said of it."""
    found = _ASKED.search(said)
    return parse_usd(found[1]) if found else 0


def is_of(said: str, scope: Scope, key: str = "") -> bool:
    """Whether it is the ceiling of this budget (without key: of one of this scope) under which it did not fit, of a
    refusal as it is said."""
    return f" of {Budget(scope, key).name}{': ' if key else ''}" in said


def refusal(budgets: Iterable[Budget], asked: Micros, ceilings: Ceilings, burn: Micros) -> Refusal | None:
    """Why `asked` cannot be reserved in all of these budgets; None when it fits under every ceiling: spent + reserved +
    asked + burn (in `BURNS`) ≤ ceiling."""
    for budget in sorted(budgets, key=lambda each: RANK[each.scope]):
        ceiling = budget.lowest(ceilings)
        burning = burn if budget.scope in BURNS else 0
        if ceiling is not None and budget.spent + budget.reserved + asked + burning > ceiling:
            return Refusal(budget.scope, budget.key, budget.spent, budget.reserved, burning, asked, ceiling)
    return None
