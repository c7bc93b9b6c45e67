"""podrun fleet and podrun emergency-shutdown: the gpu workers as one thing (G6, G7, G9)."""

import json
import os
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from podinsight.cli.console import Output, complain, count, moment, plain
from podinsight.cli.control import by_option, why_option
from podinsight.cli.exits import NOT_UP, OK, UNPROVEN, CommandError
from podinsight.cli.session import COUNT, Session, json_option, pass_session
from podinsight.domain.control import RESUME, apart, stops
from podinsight.domain.fleet import FleetEvent, FleetState, Instance, Snapshot, named
from podinsight.domain.money import usd
from podinsight.domain.observed import NAME, Observed, observed
from podinsight.ports import Fleet
from podinsight.services import emergency
from podinsight.services.emergency import Shutdown, shut_down
from podinsight.services.scale import FIXED
from podinsight.state_dir import make_state_dir
from podinsight.topology import GPU, SCALE_TICK

_LOOK_SECONDS: Final = 1.0
START: Final = "podrun fleet start --by NAME --why REASON"


def open_fleet(session: Session) -> Fleet:
    """The fleet, on the session's database alone."""
    from podinsight.bootstrap.money import resume_ports  # imports every adapter

    return resume_ports(session.settings, session.store).fleet


@click.group()
def fleet() -> None:
    """The gpu workers: how many there are, why, and what they cost."""


@fleet.command("status")
@json_option
@pass_session
def status(session: Session, as_json: bool) -> None:
    """Show what runs, what should run and why."""
    out = Output(as_json)
    state = open_fleet(session).state()
    if state.unknown and not state.groups:
        raise CommandError(f"nothing is known of the fleet: {', '.join(state.unknown)}", NOT_UP)
    last = observed(session.store.memory.recall(NAME), time.time())
    decided_at = session.store.control.ticks().get(SCALE_TICK)
    scales = session.settings.fleet_scales
    out.data(_document(state, last, decided_at, scales))
    _tell(out, state, last, decided_at, scales)
    for line in _held_back(session):
        out.line(line)


def _document(state: FleetState, last: Observed, decided_at: float | None, scales: bool) -> dict[str, Any]:
    return {
        "scales": scales,
        "desired": state.desired,
        "groups": [asdict(group) for group in state.groups],
        "instances": [asdict(each) for each in state.living],
        "burn_micros_per_hour": state.burn,
        "unknown": list(state.unknown),
        "problems": list(state.problems),
        "shut": asdict(state.kept) if state.kept else None,
        "is_zero": state.is_zero,
        "why": last.why if scales else "the size is fixed",
        "decided_at": decided_at,
        "findings": [asdict(each) for each in last.findings],
    }


def _tell(out: Output, state: FleetState, last: Observed, decided_at: float | None, scales: bool) -> None:
    if state.kept is not None:
        sizes = ", ".join(f"{group.name} {group.desired} of at most {group.most}" for group in state.kept.groups)
        out.title(f"shut since {moment(state.kept.at)}: {plain(state.kept.reason)}")
        out.line(f"kept: {sizes} (`{START}` opens it)")
    for group in state.groups:
        out.line(f"{group.name}: {group.desired} wanted, at most {group.most}")
    if not scales:
        out.line("the size is fixed (PODINSIGHT_FLEET)")
    elif decided_at is None:
        out.line("nothing was decided yet: beat and a guard worker do it, `podrun up` starts them")
    else:
        why = plain(last.why) or "none until there is work"
        out.line(f"decided {max(0.0, time.time() - decided_at):.0f} s ago: {why}")
    if state.living:
        headers = ("instance", "device", "machine", "state", "since", "an hour")
        out.table(headers, [_row(each) for each in state.living])
        out.line(f"burns {usd(state.burn)} an hour")
    else:
        out.line("no gpu worker runs: nothing burns" if not state.unknown else "no gpu worker is known to run")
    for line in (*(f"not known: {each}" for each in state.unknown), *state.problems):
        out.line(plain(line))


def _row(each: Instance) -> tuple[str, ...]:
    state = each.state.value + (", holds work" if each.leased else "")
    source = each.rate.source + (", estimated" if each.rate.estimated else "")
    return each.id, each.kind, each.zone, state, moment(each.started), f"{usd(each.rate.micros)} ({source})"


def _held_back(session: Session) -> list[str]:
    held = apart(stops(session.store.control.history()))
    return [f"{plain(each.forbids('transcribe') or '')} (`{RESUME}` goes on)" for each in reversed(held)]


@fleet.command("log")
@click.option("--limit", type=COUNT, default=20, show_default=True, metavar="N", help="The last N.")
@json_option
@pass_session
def log(session: Session, limit: int, as_json: bool) -> None:
    """Show when it was shut, opened and given another size, by whom and why; the last first. For good: nothing of it
    is ever taken away."""
    out = Output(as_json)
    found = session.store.workers.changes(GPU.name, limit)
    out.data([asdict(each) for each in found])
    if not found:
        out.line("its size was never changed")
        return
    out.table(("when", "what", "workers", "by", "why"), [_change(each) for each in found])


def _change(each: FleetEvent) -> tuple[str, ...]:
    return moment(each.at), each.what.value, f"{each.before} → {each.after}", each.by or "-", each.why or "-"


@fleet.command("stop")
@by_option
@why_option
@json_option
@pass_session
def stop(session: Session, by: str, why: str, as_json: bool) -> None:
    """Shut it: no gpu worker, whatever there is to do, until somebody opens it.

    Those that hold work hand it back. `podrun fleet start` and `podrun resume` open it.
    """
    out = Output(as_json)
    done = open_fleet(session).zero(why, by)
    out.data({"snapshot": asdict(done.snapshot), "unproven": list(done.unproven)})
    said = f"shut (by {by}: {why})"
    if done.snapshot.reason != named(by, why):
        said = f"was shut already: {plain(done.snapshot.reason)}"
    out.line(f"{said}; `podrun fleet status` shows what still ends, `{START}` opens it")
    for line in done.unproven:
        out.line(plain(line))


@fleet.command("start")
@by_option
@why_option
@json_option
@pass_session
def start(session: Session, by: str, why: str, as_json: bool) -> None:
    """Open it again, with the sizes that it had. What is frozen stays so: until a resume no worker comes."""
    out = Output(as_json)
    found = open_fleet(session)
    kept = found.state().kept
    if kept is not None:
        found.resume(_without_work(session, kept), by, why)
    out.data({"opened": kept is not None, "snapshot": asdict(kept) if kept else None, "by": by, "why": why})
    out.line(f"open again (by {by}: {why}); it was shut: {plain(kept.reason)}" if kept else "it is open")
    for line in _held_back(session):
        out.line(line)


def _without_work(session: Session, kept: Snapshot) -> Snapshot:
    """The sizes to open it with: while GPU work is stopped nothing is to start. A fixed size comes with the resume."""
    if session.store.control.read().forbids("transcribe") is None:
        return kept
    size = sum(group.desired for group in kept.groups)
    if size and not session.settings.fleet_scales:  # one of 0 was taken already, and is remembered
        session.store.memory.remember(FIXED, {"desired": size})
    return replace(kept, groups=tuple(replace(group, desired=0) for group in kept.groups))


@click.command("emergency-shutdown")
@click.option("--local", is_flag=True, help="The gpu workers of the local fleet; other fleets come later.")
@by_option
@why_option
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@json_option
@pass_session
def emergency_shutdown(session: Session, local: bool, by: str, why: str, dry_run: bool, as_json: bool) -> int:
    """End every gpu worker, and prove it.

    Freezes GPU work first, in the database, so that nothing starts again whatever happens; then ends all workers (they
    hand back what they hold) and looks until two reads in a row show none. What was seen is kept as evidence in the
    state folder. Needs no broker, and tells people by itself. `podrun resume` gives back what was.

    Exit code 0: zero is proven. 6: it is not, after five minutes; what speaks against it is said.
    """
    if not local:
        raise CommandError("say --local: only the local fleet can be shut down; other fleets come with a later release")
    out = Output(as_json)
    found = open_fleet(session)
    if dry_run:
        steps = emergency.plan(found.state(), session.store.control.read())
        out.data({"dry_run": True, "plan": steps})
        out.title("would, in this order:")
        for step in steps:
            out.line(plain(step))
        out.line("dry run: nothing was changed")
        return OK
    from podinsight.bootstrap.money import emergency_ports
    from podinsight.supervisor.remaining import remaining

    settings, store = session.settings, session.store
    ports = emergency_ports(settings, store, lambda: remaining(settings, store), lambda: time.sleep(_LOOK_SECONDS))
    with out.waiting("shutting down"):
        done = shut_down(ports, by, why)
    evidence = write_evidence(session.settings.state_dir, done)
    out.data(_told(done) | {"evidence": str(evidence)})
    _tell_shutdown(out, done)
    for line in done.untold:
        complain(f"people were not told yet: {plain(line)}; the next sweep tries again")
    out.line(f"evidence: {evidence}")
    return OK if done.is_proven else UNPROVEN


def _told(done: Shutdown) -> dict[str, Any]:
    return {"proven": done.is_proven, **asdict(done)}


def write_evidence(state_dir: Path, done: Shutdown) -> Path:
    """`evidence/emergency-<utc>.json` in the state folder, for its owner alone. Raises ConfigError."""
    folder = state_dir / "evidence"
    make_state_dir(folder)
    at = datetime.fromtimestamp(done.began, UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    path = folder / f"emergency-{at}.json"
    text = json.dumps(_told(done), indent=1, ensure_ascii=False)
    with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    return path


def _tell_shutdown(out: Output, done: Shutdown) -> None:
    froze = "GPU work is frozen" if done.froze else "GPU work was frozen before"
    out.title(f"{froze} {plain(done.frozen)}")
    ended = ", ".join(each.id for each in done.instances)
    out.line(f"{count(len(done.instances), 'gpu worker')} lived when it began{': ' + ended if ended else ''}")
    took = done.ended - done.began
    if done.is_proven:
        out.line(f"zero, seen twice after {took:.1f} s; `{RESUME}` gives back what was")
        return
    out.title(f"UNPROVEN after {took:.0f} s")
    for line in done.unproven:
        out.line(f"  {plain(line)}")


COMMANDS = (fleet, emergency_shutdown)
