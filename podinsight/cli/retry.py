"""podrun retry: what failed starts over, and what was over its budget is asked again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import click

from podinsight.cli.ceiling import amount
from podinsight.cli.console import Output, complain, count, plain
from podinsight.cli.exits import WAITS, CommandError
from podinsight.cli.pursue import send
from podinsight.cli.session import Session, json_option, pass_session
from podinsight.domain.budget import Scope, asked_by, is_of
from podinsight.domain.identity import bare_host
from podinsight.domain.money import Micros, usd
from podinsight.domain.work import State
from podinsight.ports import OverBudget, StatusStore, WorkView
from podinsight.topology import STAGES

SHOWN: Final = 20
LISTED: Final = 1000
ALL: Final = 2**31 - 1


@click.command()
@click.option("--failed", is_flag=True, help="What has failed or was refused.")
@click.option("--over-budget", is_flag=True, help="What is held because it did not fit under a ceiling.")
@click.option(
    "--max-usd",
    metavar="AMOUNT",
    callback=amount,
    help="With --over-budget: what the commands whose own --max-usd holds something may cost now, each, in dollars, "
    "with what they have spent.",
)
@click.option("--stage", type=click.Choice(list(STAGES)), help="Of this stage alone.")
@click.option("--host", metavar="HOST", help="Of this host alone.")
@json_option
@pass_session
def retry(
    session: Session,
    failed: bool,
    over_budget: bool,
    max_usd: Micros | None,
    stage: str | None,
    host: str | None,
    as_json: bool,
) -> int | None:
    """Start failed work over with fresh attempts, or let what is over its budget wait again.

    What does not fit under the --max-usd of its command stays held (exit code 4), unless --max-usd gives it another
    here. One under which any of these commands could start nothing is refused, and nothing is changed. What does not
    fit under another ceiling is held once more, before anything is spent.
    """
    if failed == over_budget:
        raise CommandError("say what to retry: `podrun retry --failed` or `podrun retry --over-budget`")
    if over_budget:
        if stage is not None or host is not None:
            raise CommandError("`--over-budget` goes with neither --stage nor --host")
        return _release(session, Output(as_json), max_usd)
    if max_usd is not None:
        raise CommandError("`--max-usd` goes with --over-budget alone")
    failed_ones = _failed(session, stage, host)
    number = session.store.work.retry_failed(stage, host)
    still = {(each.stage, each.episode_id) for each in _failed(session, stage, host)} if number else set()
    started = [each for each in failed_ones if (each.stage, each.episode_id) not in still] if number else []
    if number:
        send(session)
    out = Output(as_json)
    out.data({"retried": number, "rows": [_retried(each) for each in started]})
    if number:
        out.line(f"{count(number, 'row')} {'starts' if number == 1 else 'start'} over")
        for each in started[:SHOWN]:
            out.line(f"  {each.stage} {each.episode_id} {plain(f'{each.feed_slug}: {each.title}')} ({each.host})")
        if number > len(started[:SHOWN]):
            out.line(f"  and {number - len(started[:SHOWN]):,} more")
    else:
        where = (f" in {stage}" if stage else "") + (f" at host {host}" if host else "")
        out.line(f"nothing failed{where}" if where else "nothing has failed")
    return None


@dataclass(frozen=True)
class _Ceilings:
    """limited: runs that have another ceiling now; stuck: runs whose ceilings hold what they held; stay: its rows."""

    limited: Sequence[str]
    stuck: Sequence[str]
    stay: Sequence[OverBudget]


def _ceilings(store: StatusStore, max_usd: Micros | None) -> _Ceilings:
    """Gives the runs whose ceilings hold something another, before anything of them is released.

    Raises:
        CommandError: one of them could start nothing under it; all are as they were.
    """
    held: dict[str, list[OverBudget]] = {}
    for each in store.work.over_budget(ALL):
        if each.run_id and is_of(each.reason, Scope.RUN, each.run_id):
            held.setdefault(each.run_id, []).append(each)
    limited: list[str] = []
    if max_usd is not None:
        _refuse_too_low(store, held, max_usd)
        limited = sorted(held)
        for run in limited:
            store.purse.limit(Scope.RUN, run, max_usd)
    stuck = [run for run, rows in sorted(held.items()) if not _fits(store, run, rows)]
    return _Ceilings(limited, stuck, [each for run in stuck for each in held[run]])


def _refuse_too_low(store: StatusStore, held: Mapping[str, Sequence[OverBudget]], max_usd: Micros) -> None:
    """Of each of these runs the cheapest that is held must fit. Raises CommandError, which names the run that needs the
    most."""
    most, words = max_usd, ""
    for run, rows in sorted(held.items()):
        budget, asked = store.purse.budget(Scope.RUN, run), min(asked_by(each.reason) for each in rows)
        least = budget.spent + budget.reserved + asked
        if least > most:
            spent = f"{usd(budget.spent)} spent, {usd(budget.reserved)} reserved, and {usd(asked)} for what is next"
            most, words = least, f"{plain(run)} needs {usd(least)} ({spent})"
    if words:
        raise CommandError(f"--max-usd {usd(max_usd)} is too little: run {words}; nothing was changed")


def _fits(store: StatusStore, run: str, rows: Sequence[OverBudget]) -> bool:
    """Whether any of these may start. What is only reserved is free again when others have ended."""
    budget = store.purse.budget(Scope.RUN, run)
    return budget.ceiling is None or budget.spent + min(asked_by(each.reason) for each in rows) <= budget.ceiling


def _release(session: Session, out: Output, max_usd: Micros | None) -> int | None:
    found = _ceilings(session.store, max_usd)
    number = session.store.work.release_over_budget(found.stuck)
    if number:
        send(session)
    out.data({"released": number, "held": len(found.stay), "runs": list(found.limited)})
    if max_usd is not None and found.limited:
        out.line(f"{count(len(found.limited), 'run')}: at most {usd(max_usd)}")
    elif max_usd is not None:
        complain("--max-usd changes nothing: no command's own ceiling holds anything")
    if number:
        out.line(f"{count(number, 'transcription')} {'waits' if number == 1 else 'wait'} again")
    elif not found.stay:
        out.line("nothing is held by a ceiling")
    if found.stay:
        verb = "is" if len(found.stay) == 1 else "are"
        complain(
            f"{count(len(found.stay), 'transcription')} {verb} held by their command's --max-usd "
            f"({plain(found.stay[0].reason)}): `podrun retry --over-budget --max-usd USD` gives them another"
        )
        return WAITS
    return None


def _failed(session: Session, stage: str | None, host: str | None) -> list[WorkView]:
    """What `retry` is about, as `WorkRows.retry_failed` picks it; as many as are worth being shown."""
    views = [
        view
        for state in (State.FAILED, State.REFUSED)
        for view in session.store.work.views(state, LISTED)
        if stage in (None, view.stage)
    ]
    if host is None:
        return views
    key = session.store.hosts.limits().key(host)
    return [view for view in views if view.host in (key, bare_host(host)) or view.host.endswith(f".{key}")]


def _retried(view: WorkView) -> dict[str, object]:
    names = ("stage", "episode_id", "feed_slug", "title", "host", "reason")
    return {name: getattr(view, name) for name in names}
