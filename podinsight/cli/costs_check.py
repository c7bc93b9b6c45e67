"""podrun costs check: what costs money for nothing, and how near the levels are (G5, G7)."""

from typing import Any, Final

import click

from podinsight.cli.console import Output, count, plain
from podinsight.cli.control import said
from podinsight.cli.session import Session, json_option, pass_session
from podinsight.domain.budget import Budget, Limits
from podinsight.domain.money import Micros, usd
from podinsight.errors import Unavailable
from podinsight.services.check import Check, check
from podinsight.services.look import Money

CLEAN: Final = 0
FOUND: Final = 1
UNPROVEN: Final = 2


@click.command("check")
@json_option
@pass_session
def check_costs(session: Session, as_json: bool) -> int:
    """Look once for what costs money for nothing; nothing is changed.

    \b
    Exit codes of this command:
      0  clean
      1  something was found, or work is frozen, paused or halted
      2  unproven: a part of the fleet or the database does not answer, or nobody has swept

    Example: podrun costs check && echo "nothing runs for nothing"
    """
    from podinsight.bootstrap.money import guard_ports, guard_rules  # imports every adapter

    out = Output(as_json)
    rules = guard_rules(session.settings)
    try:
        found = check(guard_ports(session.settings, session.container), rules)
    except Unavailable as error:
        out.data({"unproven": [str(error)]})
        out.line(f"UNPROVEN: {plain(str(error))}")
        return UNPROVEN
    out.data(_document(found, rules.limits))
    _tell(out, found, rules.limits)
    if found.unproven:
        return UNPROVEN
    return CLEAN if found.clean else FOUND


def _document(found: Check, limits: Limits) -> dict[str, Any]:
    control = found.control
    return {
        "clean": found.clean and not found.unproven,
        "unproven": list(found.unproven),
        "findings": [
            {"what": each.what, "subject": each.subject, "day_micros": each.day_micros, "fix": each.fix}
            for each in found.findings
        ],
        "levels": [_level(budget, limits) for budget in found.money.budgets],
        "reached": [str(stop) for stop in found.money.stops],
        "burn_micros": found.money.burn,
        "burn_micros_per_hour": found.state.burn,
        "control": {
            "mode": control.mode.value,
            "gpu_frozen": control.gpu_frozen,
            "economy": control.economy,
            "by": control.by,
            "why": control.why,
        },
        "swept_seconds_ago": found.swept,
    }


def _level(budget: Budget, limits: Limits) -> dict[str, Any]:
    return {
        "scope": budget.scope.value,
        "key": budget.key,
        "spent_micros": budget.spent,
        "reserved_micros": budget.reserved,
        "ceiling_micros": budget.lowest(limits.ceilings()),
    }


def _tell(out: Output, found: Check, limits: Limits) -> None:
    for line in found.unproven:
        out.line(f"UNPROVEN: {plain(line)}")
    for line in _said(found):
        out.line(line)
    out.table(["level", "spent", "reserved", "stops at"], _rows(found.money, limits), right=(1, 2, 3))
    for stop in found.money.stops:
        out.line(f"reached: {plain(str(stop))}")
    out.line(
        f"burns {usd(found.state.burn)} an hour; {usd(found.money.burn)} until the next sweep could have stopped it"
    )
    swept = "never" if found.swept is None else f"{found.swept:.0f} s ago"
    out.line(f"last sweep: {swept}")
    if found.findings:
        out.title(
            f"{count(len(found.findings), 'finding')}, {usd(sum(each.day_micros for each in found.findings))} a day"
        )
        rows = [[each.subject, each.what, usd(each.day_micros), each.fix] for each in found.findings]
        out.table(["subject", "what", "a day", "what to do"], rows, right=(2,))
    elif found.clean and not found.unproven:
        out.line("clean: nothing runs for nothing")


def _rows(money: Money, limits: Limits) -> list[list[str]]:
    ceilings = limits.ceilings()
    return [[each.name, usd(each.spent), usd(each.reserved), _usd(each.lowest(ceilings))] for each in money.budgets]


def _usd(ceiling: Micros | None) -> str:
    return "none" if ceiling is None else usd(ceiling)


def _said(found: Check) -> list[str]:
    """What was stopped last comes first."""
    running = "nothing is stopped" + ("; economy mode" if found.control.economy else "")
    return [said(each) for each in reversed(found.held)] or [running]
