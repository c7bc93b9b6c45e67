"""What `podrun costs report` is made of: sums of the ledger with names, as JSON and as CSV."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from podinsight.cli.console import plain
from podinsight.domain.budget import Limits, Scope, accounts
from podinsight.domain.days import day_of
from podinsight.domain.episode import DIRECT_SLUG
from podinsight.domain.money import DOLLAR, Micros
from podinsight.ports import By, StatusStore, Total
from podinsight.settings import Settings, effective

COLUMNS: Final = (
    "by", "key", "label", "usd", "micros", "estimated_micros", "lines", "gpu_ms", "idle_ms", "cpu_ms", "bytes",
)  # fmt: skip
# A spreadsheet takes what begins like this for a formula (OWASP, CSV injection).
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")


@dataclass(frozen=True)
class Row:
    """One sum of the ledger. label: what a person calls its key; empty when nobody knows more than the key."""

    total: Total
    label: str = ""


@dataclass(frozen=True)
class Standing:
    """A level in force, and what counts against it now. key: of which day or month; empty for each episode.

    sources: where the stop level and the alert levels were set, by the settings' names.
    """

    scope: Scope
    key: str
    spent: Micros
    reserved: Micros
    stop: Micros | None
    alerts: tuple[Micros, ...]
    sources: dict[str, str]


def with_labels(store: StatusStore, by: By, totals: Sequence[Total]) -> list[Row]:
    """Feeds by their slug, episodes by feed and title."""
    labels: dict[str, str] = {}
    if by is By.FEED:
        labels = {feed.id: feed.slug or "" for feed in store.catalogue.feeds()} | {DIRECT_SLUG: DIRECT_SLUG}
    elif by is By.ITEM:
        known = store.catalogue.episodes([each.key for each in totals if each.key])
        labels = {each.id: plain(f"{each.feed_slug}: {each.title}") for each in known}
    return [Row(each, labels.get(each.key, "")) for each in totals]


def standings(store: StatusStore, settings: Settings, now: float) -> list[Standing]:
    """The levels of today, of the month, of the project, and of each episode."""
    limits, sources = settings.limits(), {each.name: each.source for each in effective(settings)}
    budgets = store.purse.budgets(accounts(day_of(now), gpu=True))
    found = [_standing(limits, sources, each.scope, each.key, each.spent, each.reserved) for each in budgets]
    return [*found, _standing(limits, sources, Scope.ITEM, "", 0, 0)]


def _standing(
    limits: Limits, sources: dict[str, str], scope: Scope, key: str, spent: Micros, reserved: Micros
) -> Standing:
    level = limits.level(scope)
    names = (f"stop_{scope.value}_usd", f"alert_{scope.value}_usd")
    return Standing(scope, key, spent, reserved, level.stop, level.alerts, {name: sources[name] for name in names})


def amount(micros: Micros) -> str:
    """Dollars to the micro-dollar, for programs: `1.234567`."""
    return f"{micros // DOLLAR}.{micros % DOLLAR:06d}"


def document(by: By, since: str, until: str, rows: Sequence[Row], every: Sequence[Total]) -> dict[str, Any]:
    """The sums as --json prints them (docs/costs.md). every: all sums, those too that are not in rows."""
    total = sum(each.micros for each in every)
    return {
        "by": by.value,
        "since": since,
        "until": until,
        "total_micros": total,
        "total_usd": amount(total),
        "left_out": len(every) - len(rows),
        "rows": [_record(row) for row in rows],
    }


def level_documents(found: Iterable[Standing]) -> list[dict[str, Any]]:
    """The levels as --json prints them."""
    return [
        {
            "scope": each.scope.value,
            "key": each.key,
            "spent_micros": each.spent,
            "reserved_micros": each.reserved,
            "stop_micros": each.stop,
            "alert_micros": list(each.alerts),
            "settings": each.sources,
        }
        for each in found
    ]


def to_csv(by: By, rows: Sequence[Row]) -> str:
    """RFC 4180 with a header; text that a spreadsheet would run as a formula has an apostrophe before it."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(COLUMNS)
    for row in rows:
        record = _record(row)
        cells = {"by": by.value, **record, "key": _safe(row.total.key), "label": _safe(row.label)}
        writer.writerow([cells[name] for name in COLUMNS])
    return stream.getvalue()


def _record(row: Row) -> dict[str, Any]:
    total = row.total
    return {
        "key": total.key,
        "label": row.label,
        "usd": amount(total.micros),
        "micros": total.micros,
        "estimated_micros": total.estimated,
        "lines": total.lines,
        "gpu_ms": total.gpu_ms,
        "idle_ms": total.idle_ms,
        "cpu_ms": total.cpu_ms,
        "bytes": total.bytes,
    }


def _safe(text: str) -> str:
    text = plain(text)
    return f"'{text}" if text.startswith(_FORMULA) else text
