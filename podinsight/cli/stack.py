"""podrun up, down, restart, health and logs: the embedded stack, through the supervisor."""

import time
from dataclasses import asdict
from pathlib import Path

import click

from podinsight.cli import exits
from podinsight.cli.console import Output, complain
from podinsight.cli.demo_setup import interrupt, signals
from podinsight.cli.session import COUNT, Session, json_option, pass_session
from podinsight.settings import Settings, effective
from podinsight.supervisor import stack
from podinsight.supervisor.processes import tail
from podinsight.supervisor.registry import Registry

_FOLLOW_SECONDS = 0.3


def places(settings: Settings) -> dict[str, str]:
    """What is where, passwords masked."""
    shown = {row.name: row.value for row in effective(settings)}
    return {
        "flower": f"http://127.0.0.1:{settings.flower_port}",
        "broker": shown["redis_url"],
        "database": shown["database_url"],
        "objects": shown["objects_url"],
        "state": str(settings.state_dir),
        "logs": str(Registry(settings.state_dir).logs_dir),
    }


def _tell_up(out: Output, settings: Settings, result: stack.UpResult) -> None:
    where = places(settings)
    out.data(asdict(result) | {"places": where})
    out.title(result.message)
    for name, place in where.items():
        out.line(f"  {name:<10}{place}")


def tell_health(out: Output, settings: Settings) -> int:
    checks = stack.health(settings)
    code = exits.OK if all(check.ok for check in checks) else exits.FAILED
    if not any(stack.pids(settings).values()):
        code = exits.NOT_UP
    out.data({"ok": code == exits.OK, "checks": [asdict(check) for check in checks]})
    for check in checks:
        mark = click.style("ok  ", fg="green") if check.ok else click.style("FAIL", fg="red")
        out.line(f"{mark}  {check.name:<11}{check.detail}")
    return code


def _tell_doubts(settings: Settings) -> None:
    from podinsight.bootstrap.money import doubts  # imports every adapter

    for line in doubts(settings):
        complain(line)


@click.command()
@json_option
@pass_session
def up(session: Session, as_json: bool) -> None:
    """Start broker, workers, beat and Flower."""
    out = Output(as_json)
    with out.waiting("starting"), signals(interrupt):
        result = stack.up(session.settings)
    _tell_up(out, session.settings, result)
    _tell_doubts(session.settings)
    out.line("next:")
    for command, what in (
        ("podrun feeds add URL", "follow a feed"),
        ("podrun fetch --limit 5 --transcribe", "download and transcribe its first episodes"),
        ("podrun status", "see how far it is"),
        ("podrun down", "stop it all"),
    ):
        out.line(f"  {command:<37}{what}")


@click.command()
@json_option
@pass_session
def down(session: Session, as_json: bool) -> None:
    """Stop them all; workers hand back what they hold."""
    out = Output(as_json)
    with out.waiting("stopping"):
        result = stack.down(session.settings)
    out.data(asdict(result))
    out.line(result.message)


@click.command()
@json_option
@pass_session
def restart(session: Session, as_json: bool) -> int:
    """Stop and start in order, then check."""
    out = Output(as_json)
    with out.waiting("stopping"):
        stopped = stack.down(session.settings)
    out.line(stopped.message)
    with out.waiting("starting"), signals(interrupt):
        started = stack.up(session.settings)
    out.line(started.message)
    _tell_doubts(session.settings)
    return tell_health(out, session.settings)


@click.command()
@json_option
@pass_session
def health(session: Session, as_json: bool) -> int:
    """Say what runs and what does not.

    Exit code 0 when all is well, 1 when something is not, 3 when nothing runs.
    """
    return tell_health(Output(as_json), session.settings)


@click.command()
@click.argument("name", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written, until Ctrl-C.")
@click.option("-n", "--lines", type=COUNT, default=10, show_default=True, help="Last lines of each.")
@pass_session
def logs(session: Session, name: str | None, follow: bool, lines: int) -> int:
    """Show the last lines of the logs.

    Of all of them, or of NAME: supervisor, keeper, broker, beat, flower, fetch, plan, gpu, light or guard.
    """
    folder = Registry(session.settings.state_dir).logs_dir
    found = {path.stem: path for path in sorted(folder.glob("*.log"))}
    if name is not None and name not in found:
        complain(f"no log {name!r} in {folder}; there are {', '.join(found) or 'none'}")
        return exits.WRONG_USE
    chosen = {name: found[name]} if name is not None else found
    if not chosen:
        complain(f"no logs in {folder}: the stack has not been started yet (`podrun up`)")
        return exits.NOT_UP
    for stem, path in chosen.items():
        if len(chosen) > 1:
            click.secho(f"==> {stem} ({path})", bold=True)
        click.echo(tail(path, lines))
    if follow:
        _follow(chosen)
    return exits.OK


def _follow(chosen: dict[str, Path]) -> None:
    """Never returns by itself. A log that is rotated is read on from its new beginning."""
    places_read = {stem: path.stat().st_size for stem, path in chosen.items()}
    prefix = len(chosen) > 1
    while True:
        for stem, path in chosen.items():
            size = path.stat().st_size if path.exists() else 0
            start = places_read[stem] if size >= places_read[stem] else 0
            if size <= start:
                continue
            with path.open("rb") as stream:
                stream.seek(start)
                data = stream.read()
            whole = data[: data.rfind(b"\n") + 1]
            places_read[stem] = start + len(whole)
            for line in whole.decode("utf-8", "replace").splitlines():
                click.echo(f"{stem}: {line}" if prefix else line)
        time.sleep(_FOLLOW_SECONDS)


COMMANDS = (up, down, restart, health, logs)
