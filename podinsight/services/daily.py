"""The daily check: what costs by the day, yesterday's report and red flags, and the bill (G5, G7). Once a UTC day."""

import logging
from collections.abc import Callable, Mapping
from typing import Final

from podinsight.domain import daily_report
from podinsight.domain.alerts import Alert, Severity
from podinsight.domain.budget import PROJECT_KEY, Scope
from podinsight.domain.daily_report import Day
from podinsight.domain.days import begins_at, day_of, month_of
from podinsight.domain.findings import Finding
from podinsight.domain.money import Micros, usd
from podinsight.domain.prices import Service
from podinsight.domain.redaction import said
from podinsight.ports import By, StatusStore
from podinsight.ports.work import NO_DEVICE
from podinsight.services.guard import GuardPorts, GuardRules
from podinsight.services.look import SWEEP
from podinsight.services.standing import charge_days

TICK: Final = "check_daily_cost"
BILL: Final = "bill"  # the source of its findings
_MEMORY: Final = "daily"
_AGES: Final = (1, 2, 3)  # days: the bill is read 24, 48 and 72 hours after a day has ended
_BEFORE: Final = 7
_DAY: Final = 86_400.0
_SILENT: Final = 3  # sweeps that did not come
_log = logging.getLogger(__name__)


def check_daily(ports: GuardPorts, rules: GuardRules) -> str:
    """What is still to be done of today's check. A part that fails is tried again next time, but for the bill, of which
    every question costs money. Safe to run twice at once. Returns what was done, in a line."""
    store, now = ports.store, ports.clock.now()
    today = day_of(now)
    yesterday = _back(today, 1)
    memory = store.memory.recall(_MEMORY) or {}
    kept = memory.get("done")
    done = [str(each) for each in kept] if memory.get("day") == today and isinstance(kept, list) else []
    bill = str(memory.get("bill", "")) if done else ""
    lines: list[str] = []

    def part(name: str, work: Callable[[], str], once: bool = False) -> str:
        if name in done:
            return ""
        try:
            found = work()
        except Exception as error:  # one part that fails must not keep the others from their work
            _log.warning("daily check, %s: %s", name, said(error))
            lines.append(f"{name}: {said(error)}")
            found, failed = said(error), True
        else:
            failed = False
            lines.extend([found] if found else [])
        if once or not failed:
            done.append(name)
        return found

    part("standing costs", lambda: charge_days(ports, yesterday))
    bill = part("bill", lambda: _bill(ports, today), once=True) or bill
    part("report", lambda: _report(ports, rules, yesterday, bill))
    store.memory.remember(_MEMORY, {"day": today, "done": done, "bill": bill})
    store.control.tick(TICK)
    return "; ".join(lines) or f"{yesterday} is reported already"


def _back(day: str, days: int) -> str:
    return day_of(begins_at(day) - days * _DAY)


def _bill(ports: GuardPorts, today: str) -> str:
    """The bill against the ledger; empty where there is no bill. It is read for days that are over for a day at least:
    it comes late, and no ceiling ever asks it (scenario 14)."""
    found: list[Finding] = []
    lines: list[str] = []
    for age in _AGES:
        day = _back(today, age + 1)
        billed = ports.billing.day(day)
        if billed is None:
            return ""
        ledger = ports.store.purse.spent(Scope.DAY, day)
        lines.append(f"{day}: {usd(billed)} (ledger {usd(ledger)})")
        finding = daily_report.differs(day, billed, ledger, age)
        found += [finding] if finding else []
    ports.store.findings.report(
        BILL,
        found,
        lambda each: Alert(
            f"finding:{each.subject}:{today}", Severity.WARNING, f"{each.subject}: {each.what}", each.fix
        ),
    )
    return f"Bill: {'; '.join(lines)}"


def _report(ports: GuardPorts, rules: GuardRules, yesterday: str, bill: str) -> str:
    store, now = ports.store, ports.clock.now()
    day = _figures(store, yesterday)
    before = [_figures(store, _back(yesterday, days)) for days in range(1, _BEFORE + 1)]
    found = [each.finding for each in store.findings.open()]
    late = now - store.control.ticks().get(SWEEP, now) - _SILENT * rules.fleet.sweep
    flags = daily_report.red_flags(day, before, rules.limits, found, late)
    budgets = store.purse.budgets([(Scope.MONTH, month_of(now)), (Scope.PROJECT, PROJECT_KEY)])
    title = daily_report.title(day, flags)
    body = daily_report.report(day, flags, budgets, found, bill)
    store.alerts.post(Alert(f"daily:{yesterday}", Severity.SUMMARY, title, body))
    return title


def _figures(store: StatusStore, day: str) -> Day:
    """Of the ledger; the budget of the day says the same, to the micro-dollar."""
    totals = {by: store.purse.totals(by, day, day) for by in (By.DAY, By.STAGE, By.SERVICE, By.ITEM)}
    services = {each.key: each.micros for each in totals[By.SERVICE]}
    heard = [
        each.value
        for each in store.metrics.read(day)
        if each.name == "AudioHours" and each.dimensions and each.dimensions.get("device") != NO_DEVICE
    ]
    return Day(
        day=day,
        total=sum(each.micros for each in totals[By.DAY]),
        estimated=sum(each.estimated for each in totals[By.DAY]),
        stages={each.key: each.micros for each in totals[By.STAGE] if each.micros},
        services={name: micros for name, micros in services.items() if micros},
        items={each.key: each.micros for each in totals[By.ITEM] if each.key and each.micros},
        gpu=_of(services, Service.GPU, Service.IDLE),
        idle=_of(services, Service.IDLE),
        hours=sum(heard),
    )


def _of(services: Mapping[str, Micros], *wanted: Service) -> Micros:
    return sum(services.get(each.value, 0) for each in wanted)
