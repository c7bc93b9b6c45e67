"""podrun costs report: what was spent, against the levels in force (G1, G3, G7)."""

import sys
import time
from collections.abc import Sequence
from typing import Final

import click

from podinsight.cli.console import Output, count, hours, size
from podinsight.cli.costs_rows import Row, Standing, document, level_documents, standings, to_csv, with_labels
from podinsight.cli.exits import CommandError
from podinsight.cli.session import COUNT, Session, json_option, pass_session
from podinsight.domain.budget import Scope
from podinsight.domain.days import begins_at, day_of
from podinsight.domain.money import Micros, parse_usd, usd
from podinsight.ports import By, Total

DAYS: Final = 30
_DAY: Final = 86_400.0
_SHOWN: Final = 50
_BAR: Final = 24
_TIMES: Final = frozenset({By.DAY, By.MONTH})
_NAMED: Final = {By.ITEM: "episode", By.FEED: "feed"}
_OF_NONE: Final = {  # what the lines without a key are mostly of
    By.ITEM: "(of no episode: idle time, storage, feeds)",
    By.FEED: "(of no feed: idle time, storage)",
    By.RUN: "(of no run: idle time, downloads)",
    By.DEVICE: "(of no device: CPU time, bytes)",
}
_SCOPES: Final = {
    Scope.DAY: "day",
    Scope.GPU_DAY: "GPU work",
    Scope.MONTH: "month",
    Scope.PROJECT: "project",
    Scope.ITEM: "episode",
}


@click.command()
@click.option("--by", type=click.Choice([each.value for each in By]), default="day", show_default=True)
@click.option("--since", metavar="DAY", help="First UTC day, `2026-11-22`; not given: the last 30 days (12 months).")
@click.option("--until", metavar="DAY", help="Last UTC day; not given: today.")
@click.option("--over", metavar="USD", help="Only what has cost more than this, such as 3 or 2.50.")
@click.option("--limit", type=COUNT, metavar="N", help=f"So many rows at most; not given: {_SHOWN} in a table.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV instead of text.")
@json_option
@pass_session
def report(
    session: Session,
    by: str,
    since: str | None,
    until: str | None,
    over: str | None,
    limit: int | None,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Show what was spent, and the levels in force.

    Sums of the ledger, to the micro-dollar; days are UTC. The dearest come first, days and months in their order.

    \b
    podrun costs report --by stage --since 2026-11-01
    podrun costs report --by item --over 3
    """
    if as_csv and as_json:
        raise CommandError("--json and --csv both want the standard output: give one of them")
    group, now = By(by), time.time()
    first, last = _days(group, since, until, now)
    least = _dollars(over)
    store = session.store
    every = store.purse.totals(group, first, last)
    wanted = [each for each in every if least is None or (each.micros > least and (each.key or group is not By.ITEM))]
    shown = _cut(group, wanted, limit or (None if as_csv or as_json else _SHOWN))
    rows = with_labels(store, group, shown)
    if as_csv:
        click.echo(to_csv(group, rows), nl=False)
        return
    levels = standings(store, session.settings, now)
    out = Output(as_json)
    out.data(document(group, first, last, rows, every) | {"levels": level_documents(levels)})
    _tell(out, group, rows, every, f"{first} to {last} (UTC)")
    _tell_levels(out, levels)


def _days(by: By, since: str | None, until: str | None, now: float) -> tuple[str, str]:
    today = day_of(now)
    last = _day("--until", until) if until else today
    if since:
        first = _day("--since", since)
    else:
        first = f"{int(last[:4]) - 1:04}-{last[5:7]}-01" if by is By.MONTH else _before(last, DAYS - 1)
    if first > last and not until:
        raise CommandError(f"--since {first} lies in the future: today is {today} (UTC)")
    if first > last:
        raise CommandError(f"--since {first} is after --until {last}: the other way round there are days in between")
    return first, last


def _day(option: str, text: str) -> str:
    try:
        begins_at(text)
    except (ValueError, OverflowError):
        raise CommandError(f"{option} {text!r} is no day: write it like 2026-11-22") from None
    return text


def _before(day: str, days: int) -> str:
    try:
        return day_of(begins_at(day) - days * _DAY)
    except (ValueError, OverflowError):
        return day


def _dollars(text: str | None) -> Micros | None:
    if text is None:
        return None
    try:
        return parse_usd(text)
    except ValueError:
        raise CommandError(f"--over {text!r} is no number of dollars: write it like 3 or 2.50") from None


def _cut(by: By, totals: Sequence[Total], limit: int | None) -> Sequence[Total]:
    """The dearest; of days and months the last."""
    if limit is None:
        return totals
    return totals[-limit:] if by in _TIMES else totals[:limit]


def _tell(out: Output, by: By, rows: Sequence[Row], every: Sequence[Total], when: str) -> None:
    total = sum(each.micros for each in every)
    if not every:
        out.line(f"nothing was spent, {when}: the ledger has no line")
        return
    headers, cells = _table(by, rows, total)
    if cells:
        out.table(headers, cells, right=[n for n, header in enumerate(headers) if header not in _LEFT])
    left = sum(each.micros for each in every) - sum(row.total.micros for row in rows)
    if len(rows) < len(every):
        out.line(f"not shown: {len(every) - len(rows):,} with {usd(left)} in all")
    lines = count(sum(each.lines for each in every), "line")
    unsure = sum(each.estimated for each in every)
    mark = f", {usd(unsure)} of it estimated (~)" if unsure else ""
    out.line(f"total {usd(total)}{mark}: {lines} of the ledger, {when}")


_LEFT: Final = frozenset({"", *(each.value for each in By), "episode", "title", "id"})


def _table(by: By, rows: Sequence[Row], total: Micros) -> tuple[list[str], list[list[str]]]:
    """Headers and cells; quantities that no row has get no column."""
    most = max((row.total.micros for row in rows), default=0)
    columns: list[tuple[str, list[str]]] = [
        (_NAMED.get(by, by.value), [_name(by, row) for row in rows]),
        ("", [_bar(row.total.micros, most) for row in rows]),
        ("cost", [f"{'~' if row.total.estimated else ''}{usd(row.total.micros)}" for row in rows]),
        ("share", [f"{100 * row.total.micros / total:.0f} %" if total else "" for row in rows]),
        ("gpu", [_time(row.total.gpu_ms) for row in rows]),
        ("idle", [_time(row.total.idle_ms) for row in rows]),
        ("fetch, plan", [_time(row.total.cpu_ms) for row in rows]),
        ("bytes", [size(row.total.bytes) if row.total.bytes else "" for row in rows]),
        ("id" if by is By.FEED else "title", [row.total.key if by is By.FEED else row.label for row in rows]),
    ]
    kept = [(header, cells) for header, cells in columns if header in ("", "cost") or any(cells)]
    return [header for header, _cells in kept], [
        list(row) for row in zip(*(cells for _header, cells in kept), strict=True)
    ]


def _name(by: By, row: Row) -> str:
    key = row.total.key or _OF_NONE.get(by, "(none)")
    return row.label or key if by is By.FEED else key


def _time(milliseconds: int) -> str:
    return hours(milliseconds / 1000) if milliseconds else ""


def _bar(micros: Micros, most: Micros) -> str:
    """As long as its share of the longest; what is more than nothing is seen."""
    if not micros:
        return ""
    eighths = max(1, round(8 * _BAR * micros / most))
    try:
        "█▏".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "#" * max(1, eighths // 8)
    return ("█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8]).rstrip()


def _tell_levels(out: Output, levels: Sequence[Standing]) -> None:
    out.line()
    out.title("levels in force")
    headers = ("level", "of", "spent", "reserved", "stop", "alerts", "set by")
    out.table(headers, [_level(each) for each in levels], right=(2, 3, 4))


def _level(each: Standing) -> tuple[str, ...]:
    spent, reserved = (usd(each.spent), usd(each.reserved)) if each.key else ("", "")
    stop = "none" if each.stop is None else usd(each.stop)
    alerts = ", ".join(usd(alert) for alert in each.alerts) or "none"
    sources = set(each.sources.values())
    said = sources.pop() if len(sources) == 1 else "; ".join(f"{name}: {how}" for name, how in each.sources.items())
    return _SCOPES[each.scope], each.key or "each", spent, reserved, stop, alerts, said
