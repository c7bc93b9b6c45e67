"""podrun status."""

import time
from collections.abc import Sequence
from dataclasses import asdict

import click

from podinsight.cli.console import Output, count, hours, moment, plain
from podinsight.cli.control import said
from podinsight.cli.session import COUNT, Session, json_option, pass_session
from podinsight.domain.control import RESUME, Control, apart, stops
from podinsight.domain.held import OVER_BUDGET
from podinsight.domain.work import State
from podinsight.ports import Demand, OverBudget, StatusStore, WorkerView, WorkView
from podinsight.topology import QUEUES, STAGES

_ALL = 2**31 - 1
_SHOWN = (State.RUNNING, State.FAILED, State.REFUSED, State.DELAYED)


@click.command()
@click.option("--limit", type=COUNT, default=20, show_default=True, help="Rows of each kind to show.")
@json_option
@pass_session
def status(session: Session, limit: int, as_json: bool) -> None:
    """Show how far it is, and what failed and why."""
    out = Output(as_json)
    store = session.store
    counts = _counts(store)
    control = store.control.read()
    held = stops(store.control.history())
    workers = store.workers.list()
    slots = {pool: store.workers.live_slots(pool) for pool in QUEUES}
    views = {state: store.work.views(state, limit) for state in _SHOWN}
    demand = {stage: store.work.demand(stage) for stage in STAGES}
    unapproved = store.work.count_waiting_for_approval()
    dear = store.work.over_budget(_ALL)
    out.data(
        {
            "control": asdict(control),
            "stops": [asdict(each) for each in held],
            "waiting_for_approval": unapproved,
            "over_budget": {"held": len(dear), "reason": dear[0].reason if dear else None},
            "stages": counts,
            "demand": {stage: asdict(each) for stage, each in demand.items()},
            "slots": slots,
            "workers": [asdict(worker) for worker in workers],
            **{state.value: [asdict(view) for view in found] for state, found in views.items()},
        }
    )
    _tell_control(out, held, control.economy)
    out.table(("stage", *State), [(stage, *row.values()) for stage, row in counts.items()], right=range(1, 9))
    if unapproved:
        verb = "waits" if unapproved == 1 else "wait"
        how = "`podrun approve --all --dry-run` shows the cost, `podrun approve --all` lets it run"
        out.line(f"{count(unapproved, 'transcription')} {verb} for approval: {how}")
    _tell_dear(out, dear)
    out.line()
    _tell_workers(out, workers, slots, [pool for pool in QUEUES if session.comes(pool)])
    _tell_demand(out, demand)
    for state, found in views.items():
        _tell_work(out, state, found, counts, limit)


def _tell_dear(out: Output, dear: Sequence[OverBudget]) -> None:
    if dear:
        verb, whose = ("is", "its") if len(dear) == 1 else ("are", "their")
        why = plain(dear[0].reason.removeprefix(OVER_BUDGET))
        how = "`podrun retry --over-budget` asks again, with `--max-usd USD` under another ceiling of the command"
        out.line(f"{count(len(dear), 'transcription')} {verb} held over {whose} budget ({why}): {how}")


def _counts(store: StatusStore) -> dict[str, dict[str, int]]:
    counts = {stage: {state.value: 0 for state in State} for stage in STAGES}
    for each in store.work.counts():
        counts[each.stage][each.state.value] = each.count
    return counts


def _tell_control(out: Output, held: Sequence[Control], economy: bool) -> None:
    """What was stopped last comes first: that is what the next resume lifts."""
    for number, each in enumerate(reversed(apart(held))):
        out.title(f"{said(each)} (`{RESUME}` goes on)" if not number else f"and before that {said(each)}")
    if economy:
        out.title("economy mode: smaller models and half of the workers until less is spent; long episodes wait")


def _tell_demand(out: Output, demand: dict[str, Demand]) -> None:
    """What workers have to do now: what is held or delayed wants none."""
    for stage, each in demand.items():
        units = each.waiting + each.in_flight
        if units and each.seconds:
            kind = "chunk" if stage == "transcribe" else "episode"
            out.line(f"to {stage} now: {count(units, kind)}, {hours(each.seconds)} of audio")


def _tell_workers(out: Output, workers: list[WorkerView], slots: dict[str, int], coming: Sequence[str]) -> None:
    """coming: pools whose workers come with work."""
    if not any(slots.values()):
        out.line("no worker is up: start the stack with `make up` (or `podrun up`)")
        return
    free = ", ".join(
        f"{pool} {number}" + (" (comes with work)" if not number and pool in coming else "")
        for pool, number in slots.items()
    )
    out.line(f"ready slots: {free}")
    now = time.time()
    rows = [(each.id, each.pool, each.machine, each.state, _ago(now - each.heartbeat_at)) for each in workers]
    out.table(("worker", "pool", "machine", "state", "heartbeat"), rows)


def _tell_work(out: Output, state: State, found: list[WorkView], counts: dict[str, dict[str, int]], limit: int) -> None:
    if not found:
        return
    total = sum(row[state.value] for row in counts.values())
    out.line()
    out.title(f"{state.value}: {total:,}" + (f", the first {limit}" if total > limit else ""))
    rows = [
        (view.stage, view.episode_id, f"{view.feed_slug}: {view.title}", moment(view.since), _why(view))
        for view in found
    ]
    out.table(("stage", "episode", "title", "since", "by" if state is State.RUNNING else "why"), rows)
    if state in (State.FAILED, State.REFUSED):
        out.line("`podrun retry --failed` starts them over")


def _why(view: WorkView) -> str:
    if view.state is State.RUNNING:
        return view.worker or view.reason
    if view.state is State.DELAYED:
        due = f", again at {moment(view.until)}" if view.until else ""
        return f"{view.reason} (attempt {view.attempts}{due})"
    return view.reason


def _ago(seconds: float) -> str:
    return f"{max(0.0, seconds):.0f} s ago"
