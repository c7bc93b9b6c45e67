"""podrun costs quote: what a manifest would cost, line by line, and when it would be done (G4)."""

import time

import click

from podinsight.cli.approval import downloads, spans
from podinsight.cli.choosing import standing
from podinsight.cli.console import Output, count, hours, moment, plain
from podinsight.cli.manifest import choose
from podinsight.cli.models import mention_missing
from podinsight.cli.quoting import Unpaid, unpaid
from podinsight.cli.session import COUNT, Session, json_option, pass_session
from podinsight.cli.wish import Wish
from podinsight.domain.money import usd
from podinsight.domain.quote_lines import Amounts, Line


@click.command()
@click.argument("manifest", metavar="MANIFEST")
@click.option("--limit", type=COUNT, metavar="N", help="The first N rows alone.")
@click.option("--model", metavar="MODEL", help="Whisper model; see `podrun models list`.")
@json_option
@pass_session
def quote(session: Session, manifest: str, limit: int | None, model: str | None, as_json: bool) -> None:
    """Say what a manifest will cost, and when it will be done.

    Every line low, likely and high, by the prices that hold and by how fast workers were on the last days. What is
    transcribed already is left out; what is approved or under way is not. Nothing is changed: `podrun fetch
    --transcribe --manifest MANIFEST` does it, with `--max-usd AMOUNT` at most.
    """
    out = Output(as_json)
    wish = Wish(manifest=manifest, limit=limit, model=model, transcribe=True)
    episodes = choose(session, manifest, limit).episodes
    mention_missing(session, model or session.settings.model)
    before = {stage: standing(session.store, stage, episodes) for stage in ("fetch", "transcribe")}
    found = unpaid(session, wish, before)
    said = {"manifest": manifest, "rows": len(episodes), "approved_already": found.approved}
    out.data(said | {"quote": found.gate.document()})
    _tell(out, found, len(episodes))
    if failed := len(before["fetch"].failed):
        out.line(f"{count(failed, 'row')} could not be downloaded and left out: `podrun retry --failed`")


def _tell(out: Output, found: Unpaid, rows: int) -> None:
    gate, asked = found.gate, found.gate.asked
    approved = f" ({found.approved:,} of them approved already)" if found.approved else ""
    out.line(f"{count(rows, 'row')}, {count(asked.episodes, 'episode')} still to be paid for{approved}")
    if not asked.episodes:
        return
    lasts, now = asked.lasts, time.time()
    out.line(f"{hours(asked.audio_seconds.likely)} of audio; {plain(asked.basis)}")
    total = ("total", "", "", *_dollars(asked.cost))
    cells = [_cells(line) for line in asked.lines]
    out.table(("line", "quantity", "price", "low", "likely", "high"), [*cells, total], right=(1, 3, 4, 5))
    gate.tell_short(out)
    out.line(f"takes {spans(lasts)} with {count(asked.crew.workers, 'worker')} ({plain(asked.device)})")
    out.line(f"done {moment(now + lasts.low)} to {moment(now + lasts.high)}, likely {moment(now + lasts.likely)}")
    gate.tell_stopped(out)
    if words := downloads(asked):
        out.line(words)


def _cells(line: Line) -> tuple[str, ...]:
    price = ""
    if line.price is not None:
        unsure = ", estimated high" if line.price.estimated else ""
        price = f"{usd(line.price.micros)} ({line.price.source}{unsure})"
    quantity = line.quantity.high if line.unit == "%" else line.quantity.likely
    return (line.item.value, f"{quantity:,.3g} {line.unit}", price, *_dollars(line.cost))


def _dollars(cost: Amounts) -> tuple[str, ...]:
    places = 2 if cost.high >= 1_000_000 else 4
    usd_of = cost.usd
    return tuple(f"${each:,.{places}f}" for each in (usd_of.low, usd_of.likely, usd_of.high))
