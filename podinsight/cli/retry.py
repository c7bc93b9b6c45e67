"""podrun retry: what failed starts over, and what was over its budget is asked again."""

from typing import Final

import click

from podinsight.cli.console import Output, count, plain
from podinsight.cli.exits import CommandError
from podinsight.cli.pursue import send
from podinsight.cli.session import Session, json_option, pass_session
from podinsight.domain.identity import bare_host
from podinsight.domain.work import State
from podinsight.ports import WorkView
from podinsight.topology import STAGES

SHOWN: Final = 20
LISTED: Final = 1000


@click.command()
@click.option("--failed", is_flag=True, help="What has failed or was refused.")
@click.option("--over-budget", is_flag=True, help="What is held because it did not fit under a ceiling.")
@click.option("--stage", type=click.Choice(list(STAGES)), help="Of this stage alone.")
@click.option("--host", metavar="HOST", help="Of this host alone.")
@json_option
@pass_session
def retry(
    session: Session, failed: bool, over_budget: bool, stage: str | None, host: str | None, as_json: bool
) -> None:
    """Start failed work over with fresh attempts, or let what is over its budget wait again.

    What still does not fit under its ceiling is held once more, before anything is spent.
    """
    if failed == over_budget:
        raise CommandError("say what to retry: `podrun retry --failed` or `podrun retry --over-budget`")
    if over_budget:
        if stage is not None or host is not None:
            raise CommandError("`--over-budget` goes with neither --stage nor --host")
        _release(session, Output(as_json))
        return
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


def _release(session: Session, out: Output) -> None:
    number = session.store.work.release_over_budget()
    if number:
        send(session)
    out.data({"released": number})
    if number:
        out.line(f"{count(number, 'transcription')} {'waits' if number == 1 else 'wait'} again")
    else:
        out.line("nothing is held by a ceiling")


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
