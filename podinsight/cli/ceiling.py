"""--max-usd: what one command may spend at most (G2, G4)."""

import secrets
import time
from dataclasses import dataclass
from typing import Any

import click

from podinsight.cli.choosing import Standing
from podinsight.cli.console import Output, complain, count
from podinsight.cli.session import Session
from podinsight.domain.budget import Scope
from podinsight.domain.money import Micros, parse_usd, usd
from podinsight.domain.quote import Quote


def new_run(now: float | None = None) -> str:
    """The name under which everything that a command queues is paid: when it was given (UTC), and four letters."""
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(now))}-{secrets.token_hex(2)}"


def _amount(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> Micros | None:
    if value is None:
        return None
    try:
        return parse_usd(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}: write dollars, such as 5 or 2.50") from None


max_usd_option: Any = click.option(
    "--max-usd",
    metavar="AMOUNT",
    callback=_amount,
    help="What this command queues may cost no more, in dollars; what does not fit under it is held.",
)


@dataclass(frozen=True)
class Ceiling:
    """What the run of one command may spend; micros None: as much as the settings allow."""

    run: str
    micros: Micros | None

    def document(self) -> dict[str, object]:
        """As --json shows it."""
        return {"run": self.run} | ({} if self.micros is None else {"max_micros": self.micros})

    def compare(self, asked: Quote) -> None:
        """Says when the quote is likely to go over it."""
        likely = asked.cost.likely
        if self.micros is not None and likely > self.micros:
            complain(f"likely {usd(likely)}, and --max-usd is {usd(self.micros)}: what does not fit will be held")

    def lay_down(self, session: Session, out: Output, transcribe: Standing) -> None:
        """Before anything is queued under it. transcribe: how its episodes stand; what other commands have queued is
        paid under their names, not under this one."""
        if self.micros is None:
            return
        if transcribe.open:
            queued = count(len(transcribe.open), "transcription")
            complain(f"--max-usd is for what this command queues: {queued} of earlier commands keep their own ceilings")
        if transcribe.new or transcribe.over:
            session.store.purse.limit(Scope.RUN, self.run, self.micros)
            out.line(f"run {self.run}: at most {usd(self.micros)}; `podrun costs report --by run`")
