"""podrun fetch and podrun transcribe."""

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import click

from podinsight.cli.approval import Gate, prices, tell_waiting
from podinsight.cli.ceiling import Ceiling, new_run
from podinsight.cli.choosing import Standing, first, preview, standing
from podinsight.cli.console import Output, complain, count, plain
from podinsight.cli.estimate import tell_dry_run
from podinsight.cli.exits import WAITS, CommandError
from podinsight.cli.follow import Ending
from podinsight.cli.goals import Meter
from podinsight.cli.manifest import choose
from podinsight.cli.pursue import pursue, send, summarise
from podinsight.cli.quoting import gate_before, lost, waiting_for_approval
from podinsight.cli.session import Session, pass_session
from podinsight.cli.wish import Wish, again_options, wish_options
from podinsight.domain.budget import Scope, is_of
from podinsight.domain.episode import Episode
from podinsight.domain.quote import FREE_RULES
from podinsight.services.fetch import find_or_add
from podinsight.services.manifest import Chosen, make_known
from podinsight.topology import PRIORITIES


@click.command()
@click.option("--transcribe", is_flag=True, help="Transcribe each as soon as it is there.")
@wish_options
@pass_session
def fetch(session: Session, /, dry_run: bool, no_wait: bool, as_json: bool, **words: Any) -> int | None:
    """Download episodes.

    The first N in the order of discovery, or of a manifest, or exactly the episodes and URLs given (`podrun episodes`
    lists ids). N counts what is there already, so 50, then 200, then 1000 fetches 50, 150 and 800.

    With --transcribe: what transcribing will take and cost is shown first, and has to be approved as by
    `podrun transcribe`; downloading goes on without.
    """
    out = Output(as_json)
    wish = Wish(**words, run=new_run())
    if wish.transcribe:
        wish.need_model(session, dry_run)
    stages = ("fetch", "transcribe") if wish.transcribe else ("fetch",)
    chosen = _episodes(session, wish)
    before = {stage: standing(session.store, stage, chosen.episodes) for stage in stages}
    gate = gate_before(session, wish, before) if wish.transcribe else None
    if dry_run:
        tell_dry_run(out, before["fetch"], before.get("transcribe"), gate, wish.ceiling, prices(session.settings).book)
        return None
    if not no_wait and any(each.to_do for each in before.values()):
        session.need_workers(*(stage for stage in stages if stage == "fetch" or (gate and gate.can_pass)))
    stamp = _pass(session, out, wish, gate, before["transcribe"], no_wait) if gate else ""
    for text in wish.chosen:
        if "://" in text:
            find_or_add(session.store, text)
    if chosen.new:
        chosen = make_known(session.store, chosen)
        before = {stage: standing(session.store, stage, chosen.episodes) for stage in stages}
    if gate is None:
        ids = [episode.id for episode in chosen.episodes]
        session.store.work.enqueue_fetch(ids, PRIORITIES[wish.priority], None)
        return _go_on(session, out, before, no_wait)
    _enqueue(session, wish, chosen.episodes, stamp, gate)
    before["transcribe"] = _without(before["transcribe"], lost(before))
    return _go_on(session, out, before, no_wait, gate, wish.ceiling)


@click.command()
@again_options
@wish_options
@pass_session
def transcribe(session: Session, /, dry_run: bool, no_wait: bool, as_json: bool, **words: Any) -> int | None:
    """Transcribe what is downloaded.

    The first N downloaded episodes in the order of discovery, those of the first N rows of a manifest, or exactly
    those given (`podrun episodes` lists ids). N counts what is transcribed already.

    What it will take and cost is shown first. A device that costs nothing (this machine's CPU) needs no approval, nor
    does what a standing rule allows (approve_usd_per_run, approve_usd_per_day). All else is asked for at a terminal;
    elsewhere it is queued and waits for `podrun approve`, and the exit code is 4.

    With --max-usd: what this command queues costs no more than that, whatever was quoted. An episode that does not fit
    any more is held (`podrun retry --over-budget`).

    With --again: what is transcribed, has failed or was refused is made anew, as this command asks for it now (model,
    language, --words …), and has to be approved anew; what is under way stays as it is. The transcript that is there
    stays until the new one is whole, and for good when it is the better one, unless --replace is given. After an
    interruption the command may be given again: what it had started over is left alone unless it has ended meanwhile.
    """
    out = Output(as_json)
    wish = Wish(**words, transcribe=True, fetches=False, run=new_run())
    wish.need_model(session, dry_run)
    episodes = _downloaded(session, wish)
    before = {"transcribe": standing(session.store, "transcribe", episodes, wish.again)}
    gate = gate_before(session, wish, before)
    if wish.again:
        _tell_again(out, before["transcribe"])
    if dry_run:
        tell_dry_run(out, None, before["transcribe"], gate, wish.ceiling, prices(session.settings).book)
        return None
    if not no_wait and before["transcribe"].to_do and gate.can_pass:
        session.need_workers("transcribe")
    stamp = _pass(session, out, wish, gate, before["transcribe"], no_wait)
    _enqueue(session, wish, episodes, stamp, gate, before["transcribe"].over)
    return _go_on(session, out, before, no_wait, gate, wish.ceiling)


def _pass(session: Session, out: Output, wish: Wish, gate: Gate, found: Standing, no_wait: bool) -> str:
    """Tells the quote, asks whom it must, and lays down what the run may cost. found: how transcribing stands."""
    gate.tell(out)
    wish.ceiling.compare(gate, found)
    if not no_wait and gate.asked.episodes:
        out.data({"event": "quote", **wish.ceiling.document(), **gate.document()}, indent=None)
    elif not no_wait and (found.new or found.over):
        out.data({"event": "run", **wish.ceiling.document()}, indent=None)
    stamp = gate.enter()
    if stamp and gate.asked.episodes and not gate.free:
        out.line(f"  approved by {plain(stamp)}")
    wish.ceiling.lay_down(session, out, found)
    return stamp


def _enqueue(
    session: Session, wish: Wish, episodes: Sequence[Episode], stamp: str, gate: Gate, over: Sequence[Episode] = ()
) -> None:
    """`stamp` stands for what was quoted alone. A rule that is about what costs nothing stands for the others too,
    should they have to be decoded after all. over: those to be made anew; one that has ended since was not quoted."""
    again = {each.id for each in over}
    work, priority = session.store.work, PRIORITIES[wish.priority]
    for chosen, approved in (
        ([each for each in episodes if each.id in gate.models], stamp),
        ([each for each in episodes if each.id not in gate.models], stamp if stamp in FREE_RULES else ""),
    ):
        for params, ids in wish.by_params(session.settings, chosen):
            if wish.fetches:
                work.enqueue_fetch(ids, priority, params, approved, gate.seconds)
            else:
                work.enqueue_transcribe(ids, priority, params, approved, gate.seconds)
                work.transcribe_again([each for each in ids if each in again], priority, params, approved, gate.seconds)
    if stamp and gate.models:
        work.approve(stamp, list(gate.models), gate.models, gate.seconds)


def _episodes(session: Session, wish: Wish) -> Chosen:
    """What the wish is about; episodes of new URLs and new rows are made up, and nothing is stored yet."""
    if wish.manifest is not None:
        found = choose(session, wish.manifest, wish.limit)
        if not found.episodes:
            complain(f"{wish.manifest} names no episode")
        return found
    if not wish.chosen:
        known = first(session.store, wish.limit, wish.feed)
        if not known:
            complain("no episode is known yet: `podrun feeds add URL`")
        return Chosen(tuple(known))
    return Chosen(tuple({each.id: each for each in (preview(session.store, text) for text in wish.chosen)}.values()))


def _downloaded(session: Session, wish: Wish) -> list[Episode]:
    if wish.manifest is not None:
        named = _episodes(session, wish).episodes
        there = [each for each in named if each.audio_key]
        if len(there) < len(named):
            shown = shlex.quote(wish.manifest)
            complain(f"{len(named) - len(there):,} are not downloaded and left out: `podrun fetch --manifest {shown}`")
        return there
    if not wish.chosen:
        there = [each for each in first(session.store, None, wish.feed) if each.audio_key]
        return there[: wish.limit]
    for text in wish.chosen:
        if not preview(session.store, text).audio_key:
            raise CommandError(f"{text} is not downloaded: `podrun fetch --transcribe {shlex.quote(text)}`")
    return list(_episodes(session, wish).episodes)


def _without(found: Standing, ids: set[str]) -> Standing:
    still_open, new, over = (
        tuple(each for each in kind if each.id not in ids) for kind in (found.open, found.new, found.over)
    )
    return replace(found, open=still_open, new=new, over=over)


def _go_on(
    session: Session,
    out: Output,
    before: dict[str, Standing],
    no_wait: bool,
    gate: Gate | None = None,
    ceiling: Ceiling | None = None,
) -> int | None:
    """Follows what may run now, or says what was queued. What waits for its approval is told, and not followed."""
    began, held = time.monotonic(), _held(session, before)
    meter, code = Meter(session.store), None
    turned: list[str] = []
    dear: list[Ending] = []
    if no_wait:
        send(session)
        _tell_queued(out, before, gate, len(held), ceiling)
    else:
        if held:
            before["transcribe"] = _without(before["transcribe"], held)
        if any(each.to_do for each in before.values()) or not held:
            outcomes = pursue(session, out, before)
            turned = [each.episode.id for outcome in outcomes.values() for each in outcome.waiting]
            dear = [each for outcome in outcomes.values() for each in outcome.over_budget]
            code = summarise(session, out, outcomes, began, meter)
        # What was fetched in vain has failed meanwhile; what was to be the publisher's words may have to be decoded.
        held = set(session.store.work.waiting_for_approval([*held, *turned]))
    if held:
        tell_waiting(session, sorted(held))
    if dear:
        verb = "waits" if len(dear) == 1 else "wait"
        of_run = is_of(dear[0].reason, Scope.RUN)
        way_out = (
            "`podrun retry --over-budget --max-usd USD`" if of_run else "Raise it, then `podrun retry --over-budget`"
        )
        complain(f"{count(len(dear), 'transcription')} {verb}: {dear[0].reason}. {way_out}")
    return code or (WAITS if held or dear else None)


def _held(session: Session, before: Mapping[str, Standing]) -> set[str]:
    return waiting_for_approval(session, before["transcribe"].to_do) if "transcribe" in before else set()


def _tell_again(out: Output, found: Standing) -> None:
    if found.open:
        stay = "is under way already and stays as it is" if len(found.open) == 1 else "are under way already and stay"
        complain(f"{count(len(found.open), 'transcription')} {stay}: --again is for what has ended")
    if found.over:
        out.line(f"{count(len(found.over), 'episode')} to transcribe again; what is there stays until that is done")


def _tell_queued(
    out: Output, before: Mapping[str, Standing], gate: Gate | None, held: int, ceiling: Ceiling | None
) -> None:
    queued = {stage: len(each.new) + len(each.over) for stage, each in before.items()}
    earlier = {stage: len(each.open) for stage, each in before.items()}
    quote = {"quote": gate.document(), "waiting_for_approval": held} if gate else {}
    over = {"again": len(before["transcribe"].over)} if "transcribe" in before else {}
    run = ceiling.document() if ceiling else {}
    out.data({"event": "queued", **queued, "queued_before": earlier, **over, **quote, **run})
    for stage, number in queued.items():
        old = f", {earlier[stage]:,} {'was' if earlier[stage] == 1 else 'were'} before" if earlier[stage] else ""
        out.line(f"{stage}: {count(number, 'episode')} queued{old}; `podrun status` shows how far it is")


COMMANDS: Sequence[click.Command] = (fetch, transcribe)
