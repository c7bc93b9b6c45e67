"""podrun pause, halt and resume: control is state in the database, obeyed by dispatch and every claim."""

from dataclasses import asdict
from typing import Any, Final

import click

from podinsight.cli.console import Output, moment, plain
from podinsight.cli.exits import FAILED, OK
from podinsight.cli.session import Session, json_option, pass_session
from podinsight.domain.alerts import person_stop_alert
from podinsight.domain.budget import Budget, Scope
from podinsight.domain.control import RESUME, Control, Mode, apart, stopped, stops
from podinsight.domain.money import usd
from podinsight.services.resume import Resumed
from podinsight.services.resume import resume as lift
from podinsight.settings_sources import variable

_SAID = {
    Mode.PAUSED: "paused: nothing new starts, what runs is finished",
    Mode.HALTED: "halted: nothing new starts",
}
_SCOPES: Final = {
    Scope.DAY: "the day",
    Scope.GPU_DAY: "GPU work of the day",
    Scope.MONTH: "the month",
    Scope.PROJECT: "the project",
}


def named(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """A person's name or reason: one line, and not empty."""
    text = plain(value)
    if not text:
        raise click.BadParameter("says nothing: whoever reads it later wants to know")
    return text


by_option = click.option("--by", required=True, metavar="NAME", callback=named, help="Who says so.")
why_option = click.option(
    "--why", required=True, metavar="REASON", callback=named, help="Why; `podrun status` shows it to everybody."
)


def _command(name: str, mode: Mode, text: str, reason: str) -> click.Command:
    @click.command(name, help=f'{text}\n\nExample: podrun {name} --by ada --why "{reason}"')
    @by_option
    @why_option
    @json_option
    @pass_session
    def command(session: Session, by: str, why: str, as_json: bool) -> None:
        history = session.store.control.revise(
            lambda history: stopped(history, mode, by, why),
            lambda was, _now: person_stop_alert(mode, was, by, why),
        )
        now = history[0]
        out = Output(as_json)
        out.data(asdict(now))
        out.line(f"{_SAID[mode]} (by {by}: {why})")
        if now.mode is not mode:
            out.line(f"what was stopped before stays so: {said(apart(stops(history))[-1])}")

    return command


@click.command(
    help="Lift what was stopped last, and give back what was before it: after a pause, a halt, a freeze or an "
    "emergency shutdown. What was stopped before that still holds: say it again.\n\n"
    "Exit code 1: it is lifted, and a stop level that is reached will stop it again.\n\n"
    'Example: podrun resume --by ada --why "the level is raised"'
)
@by_option
@why_option
@json_option
@pass_session
def resume(session: Session, by: str, why: str, as_json: bool) -> int:
    from podinsight.bootstrap.money import resume_ports  # imports every adapter

    found = lift(resume_ports(session.settings, session.store), session.settings.limits(), by, why)
    out = Output(as_json)
    out.data(_document(session.store.control.read(), found))
    if found.lifted is None:
        out.line("nothing is stopped")
    else:
        out.line(f"lifted: {said(apart((*found.held, found.lifted))[-1])}")
        for line in _what_holds(found):
            out.line(line)
    if found.opened:
        out.line("the fleet has its sizes back")
    if found.shut:
        out.line(f"the fleet stays shut ({plain(found.shut)}): `podrun fleet start --by NAME --why REASON` opens it")
    for budget in found.reached:
        out.line(_warning(budget))
    for budget in found.behind:
        out.line(_behind(budget))
    return FAILED if found.reached else OK


def _what_holds(found: Resumed) -> list[str]:
    if not found.held:
        return ["running again" + (", until the levels are looked at" if found.reached else "")]
    return [f"still {said(each)}" for each in reversed(apart(found.held))] + [f"`{RESUME}` lifts the next"]


def _document(now: Control, found: Resumed) -> dict[str, Any]:
    """What --json prints: control as it holds now, and what the resume came to."""
    return asdict(now) | {
        "lifted": asdict(found.lifted) if found.lifted else None,
        "held": [asdict(each) for each in found.held],
        "fleet_opened": found.opened,
        "fleet_shut": found.shut,
        "levels_reached": [_level(each) for each in found.reached],
        "levels_not_restarted": [_level(each) for each in found.behind],
    }


def _level(budget: Budget) -> dict[str, object]:
    return {
        "scope": budget.scope.value,
        "key": budget.key,
        "spent_micros": budget.spent,
        "reserved_micros": budget.reserved,
        "stop_micros": budget.ceiling,
        "setting": stop_setting(budget.scope),
    }


def said(control: Control) -> str:
    """What a stop stops, who made it, when and why."""
    by, why = plain(control.by), plain(control.why)
    return f"{control.what} by {by} since {moment(control.at)}: {why}"


def stop_setting(scope: Scope) -> str:
    """The environment name of a scope's stop level."""
    return variable(f"stop_{scope.value}_usd")


def _warning(budget: Budget) -> str:
    return (
        f"it will be stopped again: {_SCOPES[budget.scope]} ({budget.key}) has a stop level of "
        f"{usd(budget.ceiling or 0)}, and {usd(budget.spent)} are spent, {usd(budget.reserved)} reserved: no room "
        f"for a worker; raise {stop_setting(budget.scope)} and `podrun restart`"
    )


def _behind(budget: Budget) -> str:
    return (
        f"it will be stopped again: the running stack still holds {usd(budget.ceiling or 0)} for "
        f"{_SCOPES[budget.scope]} ({budget.key}): no room for a worker; `podrun restart` with "
        f"{stop_setting(budget.scope)} as here"
    )


COMMANDS = (
    _command(
        "pause",
        Mode.PAUSED,
        f"Start nothing new; what runs is finished. `{RESUME}` goes on.",
        "the disk is being changed",
    ),
    _command(
        "halt", Mode.HALTED, f"Start nothing new: something is wrong. `{RESUME}` goes on.", "transcripts are empty"
    ),
    resume,
)
