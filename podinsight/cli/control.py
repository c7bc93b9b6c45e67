"""podrun pause, halt and resume: control is state in the database, obeyed by dispatch and every claim."""

from dataclasses import asdict, replace

import click

from podinsight.cli.console import Output
from podinsight.cli.session import Session, json_option, pass_session
from podinsight.domain.control import Mode

_SAID = {
    Mode.RUNNING: "running again",
    Mode.PAUSED: "paused: nothing new starts, what runs is finished",
    Mode.HALTED: "halted: nothing new starts",
}


def _command(name: str, mode: Mode, text: str) -> click.Command:
    @click.command(name, help=text)
    @click.option("--by", required=True, metavar="NAME", help="Who says so.")
    @click.option("--why", required=True, metavar="REASON", help="Why; `podrun status` shows it to everybody.")
    @json_option
    @pass_session
    def command(session: Session, by: str, why: str, as_json: bool) -> None:
        board = session.store.control
        board.write(replace(board.read(), mode=mode, by=by.strip(), why=why.strip()))
        out = Output(as_json)
        out.data(asdict(board.read()))
        out.line(f"{_SAID[mode]} (by {by.strip()}: {why.strip()})")

    return command


COMMANDS = (
    _command("pause", Mode.PAUSED, "Start nothing new; what runs is finished. Undone by `podrun resume`."),
    _command("halt", Mode.HALTED, "Start nothing new: something is wrong. Undone by `podrun resume`."),
    _command("resume", Mode.RUNNING, "Go on after `podrun pause` or `podrun halt`."),
)
