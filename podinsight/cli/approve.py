"""podrun approve: what waits until somebody says that it may be paid for (T2)."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from podinsight.cli.approval import asking_options, dollars, open_gate, tell_waiting
from podinsight.cli.choosing import named
from podinsight.cli.console import Output, count, hours, moment, plain
from podinsight.cli.exits import WAITS, CommandError
from podinsight.cli.pursue import send
from podinsight.cli.session import COUNT, Session, json_option, pass_session
from podinsight.domain.episode import Episode
from podinsight.domain.money import usd
from podinsight.domain.quote import ApprovalView


@click.command()
@click.argument("chosen", nargs=-1, metavar="[EPISODE]...")
@click.option("--all", "everything", is_flag=True, help="All that wait for it.")
@click.option("--dry-run", is_flag=True, help="Change nothing; show the quote.")
@asking_options
@json_option
@pass_session
def approve(
    session: Session, /, chosen: tuple[str, ...], everything: bool, dry_run: bool, as_json: bool, **words: Any
) -> int | None:
    """Approve what transcriptions cost.

    Shows what it will take and cost, asks, and lets them run. Without a terminal: add --yes.

    \b
    podrun approve --all --dry-run
    podrun approve --all --yes --by ada --why "the first thousand"
    """
    if bool(chosen) == everything:
        raise CommandError("say what to approve: `podrun approve EPISODE…` or `podrun approve --all`")
    out = Output(as_json)
    episodes = _waiting(session, chosen)
    if not episodes:
        out.data({"approved": 0, "waiting": 0})
        out.line("nothing waits for approval")
        return None
    gate = open_gate(session, _by_model(session, episodes), **words)
    out.line(f"{count(len(episodes), 'transcription')} to approve")
    gate.tell(out)
    ids = [each.id for each in episodes]
    stamp = "" if dry_run else gate.enter()
    number = session.store.work.approve(stamp, ids, gate.models, gate.seconds) if stamp else 0
    document = {"approved": number, "by": stamp or None, "waiting": len(ids), "quote": gate.document()}
    out.data(document | {"dry_run": True} if dry_run else document)
    if dry_run:
        out.line("dry run: nothing was changed")
        return None
    if not stamp:
        tell_waiting(session, ids)
        return WAITS
    send(session)
    cost = "for nothing" if gate.free else f"for {dollars(gate.asked.usd)}"
    out.line(f"approved by {plain(stamp)} {cost}; {number:,} of {len(ids):,} can start now")
    return None


@click.command()
@click.option("--limit", type=COUNT, default=20, show_default=True, metavar="N", help="The last N.")
@json_option
@pass_session
def approvals(session: Session, limit: int, as_json: bool) -> None:
    """List what was approved: when, by whom or which standing rule, how much, and why."""
    out = Output(as_json)
    found = session.store.speech.approvals(limit)
    out.data({"approvals": [_document(each) for each in found]})
    if not found:
        out.line("nothing was approved yet")
        return
    rows = [
        (
            moment(each.at),
            plain(f"{each.rule} ({each.by})" if each.rule else each.by),
            f"{each.episodes:,}",
            hours(each.audio_seconds),
            usd(each.cost.high).removeprefix("$"),
            plain(each.why),
        )
        for each in found
    ]
    out.table(("when", "by", "episodes", "audio", "up to $", "why"), rows, right=(2, 4))


def _document(found: ApprovalView) -> dict[str, object]:
    """An approval as --json shows it: what it may cost in micro-dollars, and in dollars."""
    said = asdict(found)
    return said | {"micros": said.pop("cost"), "usd": asdict(found.cost.usd)}


def _waiting(session: Session, chosen: Sequence[str]) -> list[Episode]:
    """The episodes that wait for their approval; of those chosen. Raises CommandError for one that does not wait."""
    if not chosen:
        return session.store.catalogue.episodes(session.store.work.waiting_for_approval())
    found = {each.id: each for each in (named(session.store, text) for text in chosen)}
    waiting = set(session.store.work.waiting_for_approval(list(found)))
    for each in found.values():
        if each.id not in waiting:
            raise CommandError(f"{each.feed_slug}/{each.folder} does not wait for approval")
    return list(found.values())


def _by_model(session: Session, episodes: Sequence[Episode]) -> dict[str, list[Episode]]:
    models = session.store.speech.models([each.id for each in episodes])
    by_model: dict[str, list[Episode]] = {}
    for each in episodes:
        by_model.setdefault(models.get(each.id, session.settings.model), []).append(each)
    return by_model
