"""Hosts in SQL: rules that people laid down, what the gate said, and the counts of each UTC day."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, case, or_, select

from podinsight.adapters.database.engine import Database
from podinsight.adapters.database.models import host_days, hosts
from podinsight.domain.hosts import HostLimits, HostNote
from podinsight.domain.identity import bare_host
from podinsight.errors import Permanent
from podinsight.ports import Clock, HostRow

_COUNTS = ("requests", "throttled", "failed", "received")
_STATE = ("limit_set", "rate_set", "limit_now", "cooling_until")
_BATCH = 500
_RULED = or_(hosts.c.limit_set.is_not(None), hosts.c.rate_set.is_not(None))
_Number = TypeVar("_Number", int, float)


def utc_day(at: float) -> str:
    """The UTC date of an epoch time, `2026-11-22`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")


def stored_limits(conn: Connection, settings: HostLimits) -> HostLimits:
    """The settings' limits with every stored rule over them."""
    return _over(settings, conn.execute(select(hosts).where(_RULED)).all())


def limits_now(conn: Connection, settings: HostLimits, names: Collection[str], now: float) -> dict[str, int]:
    """Host → requests at a time that may go there now, 0 while it cools down. Reads by key: these hosts and the
    suffixes that they fall under."""
    wanted = sorted({suffix for name in names for suffix in _suffixes(name)})
    known: dict[str, Row[Any]] = {}
    for start in range(0, len(wanted), _BATCH):
        query = select(hosts).where(hosts.c.host.in_(wanted[start : start + _BATCH]))
        known.update({row.host: row for row in conn.execute(query)})
    limits = _over(settings, known.values())
    found: dict[str, int] = {}
    for name in names:
        row = known.get(limits.key(name))
        found[name] = limits.limit(name)
        if row is not None and (row.cooling_until or 0.0) > now:
            found[name] = 0
        elif row is not None and row.limit_now is not None:
            found[name] = min(found[name], max(1, row.limit_now))
    return found


def _over(settings: HostLimits, rules: Iterable[Row[Any]]) -> HostLimits:
    """A rule that says only one of the two leaves the other as it was for that host."""
    limits, rates = dict(settings.limits), dict(settings.rates)
    for rule in sorted(rules, key=lambda row: str(row.host).count(".")):
        if rule.limit_set is not None or rule.rate_set is not None:
            limit, rate = (_holds(table, rule.host) for table in (limits, rates))
            limits[rule.host] = rule.limit_set or int(limit or settings.default)
            rates[rule.host] = rule.rate_set or float(rate or settings.default_rate)
    return HostLimits(limits, settings.default, rates, settings.default_rate)


def _holds(table: Mapping[str, _Number], host: str) -> _Number | None:
    return next((table[suffix] for suffix in _suffixes(host) if suffix in table), None)


def _suffixes(host: str) -> list[str]:
    """The host and every domain it lies in, the longest first."""
    labels = host.split(".")
    return [".".join(labels[start:]) for start in range(len(labels))]


class SqlHosts:
    """ports.Hosts."""

    def __init__(self, db: Database, clock: Clock, limits: HostLimits) -> None:
        self._db, self._clock, self._limits = db, clock, limits

    def set_rule(self, host: str, limit: int | None, rate: float | None) -> None:
        key = _plain(host)
        if not key or (limit is not None and limit < 1) or (rate is not None and not 0 < rate < float("inf")):
            raise Permanent(f"no rule for {key or 'no host'}: a limit is at least 1, a rate more than 0")
        values = {"host": key, "limit_set": limit, "rate_set": rate, "changed_at": self._clock.now()}
        with self._db.write() as conn:
            conn.execute(self._db.upsert(hosts, "host", values))

    def rows(self, day: str) -> list[HostRow]:
        today = select(host_days).where(host_days.c.day == day)
        asked = select(host_days.c.host).where(host_days.c.day == day)
        known = select(hosts).where(or_(_RULED, hosts.c.host.in_(asked)))
        with self._db.read() as conn:
            found = {row.host: _with_state(HostRow(row.host), row) for row in conn.execute(known)}
            for row in conn.execute(today):
                found[row.host] = _with_counts(found.get(row.host, HostRow(row.host)), row)
        return [found[host] for host in sorted(found)]

    def row(self, host: str, day: str) -> HostRow:
        key = _plain(host)
        with self._db.read() as conn:
            known = conn.execute(select(hosts).where(hosts.c.host == key)).first()
            counted = conn.execute(select(host_days).where(host_days.c.day == day, host_days.c.host == key)).first()
        found = _with_state(HostRow(key), known) if known else HostRow(key)
        return _with_counts(found, counted) if counted else found

    def limits(self) -> HostLimits:
        with self._db.read() as conn:
            return stored_limits(conn, self._limits)

    def observe(self, notes: Sequence[HostNote]) -> None:
        if not notes:
            return
        now = self._clock.now()
        with self._db.write() as conn:
            for note in sorted(notes, key=lambda note: note.host):  # in one order: two that note never deadlock
                counts = {name: int(getattr(note, name)) for name in _COUNTS}
                if any(counts.values()):
                    conn.execute(self._db.add_up(host_days, {"day": utc_day(now), "host": note.host}, counts))
                if note.limit_now is not None or note.cooling_until is not None:
                    self._keep_state(conn, note, now)

    def _keep_state(self, conn: Connection, note: HostNote, now: float) -> None:
        """Of two cool-downs the later one: notes of several processes come in any order."""
        values: dict[str, object] = {"host": note.host, "changed_at": now}
        if note.limit_now is not None:
            values["limit_now"] = note.limit_now or None
        if note.cooling_until is not None:
            values["cooling_until"] = note.cooling_until

        def change(new: Any) -> dict[str, object]:
            later = case((hosts.c.cooling_until > new.cooling_until, hosts.c.cooling_until), else_=new.cooling_until)
            return {name: later if name == "cooling_until" else new[name] for name in values if name != "host"}

        conn.execute(self._db.merge(hosts, ["host"], values, change))


def _plain(host: str) -> str:
    return bare_host(host).lstrip(".")


def _with_state(found: HostRow, row: Row[Any]) -> HostRow:
    return replace(found, **{name: getattr(row, name) for name in _STATE})


def _with_counts(found: HostRow, row: Row[Any]) -> HostRow:
    return replace(found, **{name: getattr(row, name) for name in _COUNTS})
