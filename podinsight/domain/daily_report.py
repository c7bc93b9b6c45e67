"""The daily report and its red flags (G5, G7). Pure; standard library."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from podinsight.domain.budget import Budget, Limits
from podinsight.domain.findings import Finding
from podinsight.domain.money import Micros, usd

IDLE_PERCENT: Final = 30  # of what GPU work cost: more is waste
FAR: Final = 2  # times the mean of the days before
BILL_PERCENT: Final = 10  # by which bill and ledger may differ
BILL_LEAST: Final[Micros] = 1_000_000
_SHOWN: Final = 5


@dataclass(frozen=True)
class Day:
    """What a UTC day has cost. stages, services, items: micro-dollars by name, the dearest first. estimated: of all, at
    prices nobody was sure of. gpu: leases and idle time together. hours: of audio that were decoded."""

    day: str
    total: Micros
    estimated: Micros
    stages: Mapping[str, Micros]
    services: Mapping[str, Micros]
    items: Mapping[str, Micros]
    gpu: Micros
    idle: Micros
    hours: float

    @property
    def hour_micros(self) -> int | None:
        """What an hour of audio has cost; None when there was none."""
        return round(self.total / self.hours) if self.hours > 0 else None

    @property
    def item_micros(self) -> int | None:
        """What an episode has cost on average; None when none has cost anything."""
        costs = [each for each in self.items.values() if each]
        return sum(costs) // len(costs) if costs else None


def red_flags(day: Day, before: Sequence[Day], limits: Limits, found: Sequence[Finding], silent: float) -> list[str]:
    """What a person should look at, one line each.

    Args:
        before: the seven days before. found: the open findings.
        silent: for how many seconds too many nobody has swept; 0: all is well.
    """
    flags = [f"it cost {usd(day.total)}, over the alert level of {usd(each)}" for each in limits.day.reached(day.total)]
    if day.gpu and 100 * day.idle > IDLE_PERCENT * day.gpu:
        flags.append(f"{100 * day.idle // day.gpu} % of what GPU machines cost was idle time ({usd(day.idle)})")
    if day.estimated:
        flags.append(f"{usd(day.estimated)} of it is at estimated prices")
    dear = {name: micros for name, micros in day.items.items() if limits.item.reached(micros)}
    if dear:
        flags.append(f"{len(dear)} episodes cost more than the alert level of one: {', '.join(list(dear)[:_SHOWN])}")
    usual = _mean_hour(before)
    if usual and day.hour_micros is not None and day.hour_micros > FAR * usual:
        flags.append(f"an hour of audio cost {usd(day.hour_micros)}, the mean of the days before is {usd(usual)}")
    if found:
        flags.append(f"{len(found)} findings are open ({usd(sum(each.day_micros for each in found))} a day)")
    if silent > 0:
        flags.append(f"nobody has looked at the costs for {silent:.0f} s: is beat up?")
    return flags


def _mean_hour(days: Sequence[Day]) -> int:
    hours = sum(day.hours for day in days)
    return round(sum(day.total for day in days if day.hours > 0) / hours) if hours > 0 else 0


def title(day: Day, flags: Sequence[str]) -> str:
    """One line: `2026-11-21 cost $1.23; 2 red flags`."""
    return f"{day.day} cost {usd(day.total)}" + (f"; {len(flags)} red flags" if flags else "")


def report(day: Day, flags: Sequence[str], budgets: Sequence[Budget], found: Sequence[Finding], bill: str) -> str:
    """Plain text. budgets: of now, the month's and the project's. bill: what it says, empty when there is none."""
    lines = [f"{day.day} (UTC) cost {usd(day.total)}."]
    each = day.item_micros
    if each is not None:
        lines.append(f"{len(day.items)} episodes, {usd(each)} on average.")
    if day.hour_micros is not None:
        lines.append(f"{day.hours:.1f} h of audio decoded, {usd(day.hour_micros)} an hour.")
    lines += [
        f"{name}: {_by(amounts)}" for name, amounts in (("Stages", day.stages), ("Services", day.services)) if amounts
    ]
    if day.items:
        lines.append(f"Dearest: {_by(dict(list(day.items.items())[:_SHOWN]))}")
    lines += [f"{budget.name} so far: {usd(budget.spent)}" for budget in budgets]
    lines += ["", "Red flags:", *(f"- {flag}" for flag in flags)] if flags else ["", "No red flags."]
    if found:
        lines += ["", "Findings:", *(f"- {one.subject} {one.what}: {usd(one.day_micros)} a day" for one in found)]
    return "\n".join([*lines, *(["", bill] if bill else [])])


def _by(amounts: Mapping[str, Micros]) -> str:
    return ", ".join(f"{name or 'none'} {usd(micros)}" for name, micros in amounts.items())


def differs(day: str, bill: Micros, ledger: Micros, age_days: int) -> Finding | None:
    """A finding when bill and ledger are more than 10 % and more than $1 apart.

    age_days: for how many whole days the day has been over. A bill that says nothing at all on the first of them has
    not come yet.
    """
    apart = abs(bill - ledger)
    if (not bill and age_days < 2) or apart <= BILL_LEAST or 100 * apart <= BILL_PERCENT * max(bill, ledger):
        return None
    what = f"the bill says {usd(bill)}, the ledger {usd(ledger)}"
    return Finding(what, f"bill of {day}", apart, "compare by service: `podrun costs report`")
