"""podrun pause, halt and resume: control is state in the database, obeyed by dispatch and every claim."""

from dataclasses import asdict, replace
from typing import Final

import click

from podinsight.cli.console import Output
from podinsight.cli.session import Session, json_option, pass_session
from podinsight.domain.control import Mode

RESUME: Final = "podrun resume --by NAME --why REASON"
_SAID = {
    Mode.RUNNING: "running again",
    Mode.PAUSED: "paused: nothing new starts, what runs is finished",
    Mode.HALTED: "halted: nothing new starts",
}


def _command(name: str, mode: Mode, text: str, reason: str) -> click.Command:
    @click.command(name, help=f'{text}\n\nExample: podrun {name} --by ada --why "{reason}"')
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
    _command(
        "pause",
        Mode.PAUSED,
        f"Start nothing new; what runs is finished. `{RESUME}` goes on.",
        "the disk is being changed",
    ),
    _command(
        "halt", Mode.HALTED, f"Start nothing new: something is wrong. `{RESUME}` goes on.", "transcripts are empty"
    ),
    _command("resume", Mode.RUNNING, "Go on after `podrun pause` or `podrun halt`.", "the disk is changed"),
)
