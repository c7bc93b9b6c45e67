"""--max-usd: what one command may spend at most (G2, G4)."""

import secrets
import time
from dataclasses import dataclass
from typing import Any

import click

from podinsight.cli.approval import Gate
from podinsight.cli.choosing import Standing
from podinsight.cli.console import Output, complain, count
from podinsight.cli.exits import CommandError
from podinsight.cli.session import Session
from podinsight.domain.budget import Scope
from podinsight.domain.money import Micros, cost, parse_usd, usd
from podinsight.domain.quote import Quote


def new_run(now: float | None = None) -> str:
    """The name under which everything that a command queues is paid: when it was given (UTC), and four letters."""
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(now))}-{secrets.token_hex(2)}"


def amount(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> Micros | None:
    """What an option takes that is dollars. Raises BadParameter."""
    if value is None:
        return None
    try:
        return parse_usd(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}: write dollars, such as 5 or 2.50") from None


max_usd_option: Any = click.option(
    "--max-usd",
    metavar="AMOUNT",
    callback=amount,
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

    def objection(self, asked: Quote, lease_seconds: float) -> str:
        """Why nothing of this quote could ever start under it; empty when something could. A chunk reserves no less
        than a lease costs."""
        hour = asked.price.micros
        least = cost(lease_seconds, hour)
        if self.micros is None or not asked.episodes or self.micros >= least:
            return ""
        lease = f"{lease_seconds:g} s of {asked.device} at {usd(hour)} an hour"
        return (
            f"--max-usd {usd(self.micros)} is less than the {usd(least)} that the first chunk reserves ({lease}): "
            "nothing could start"
        )

    def compare(self, gate: Gate, found: Standing, dry_run: bool = False) -> None:
        """Says when the quote is likely to go over it, or may. found: how transcribing stands; what is queued already
        is not paid under this ceiling.

        Raises:
            CommandError: nothing that is to be queued could ever start. A dry run says it.
        """
        if self.micros is None:
            return
        paid_here = any(each.id in gate.models for each in (*found.new, *found.over))
        wrong = self.objection(gate.asked, gate.session.settings.lease_seconds) if paid_here else ""
        if wrong and not dry_run:
            raise CommandError(wrong)
        work = gate.asked.cost_of_work
        likely, high = work.likely, work.high
        if wrong:
            complain(wrong)
        elif likely > self.micros:
            complain(f"likely {usd(likely)}, and --max-usd is {usd(self.micros)}: what does not fit will be held")
        elif high > self.micros:
            complain(f"up to {usd(high)}, and --max-usd is {usd(self.micros)}: it may end before all is done")

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
