"""Hosts in SQL: rules that people laid down, what the gate said, and the counts of each UTC day."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, case, or_, select

from podinsight.adapters.database.catalogue_tables import host_days, hosts
from podinsight.adapters.database.engine import Database
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
        key = limits.key(name)
        row = known.get(key)
        found[name] = limits.limit(name)
        if _cooling(known, limits, key) > now:
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


def _ruled(limits: HostLimits, key: str) -> bool:
    return key in limits.limits or key in limits.rates


def _cooling(known: Mapping[str, Row[Any]], limits: HostLimits, key: str) -> float:
    """Until when a key is left alone. One without a rule obeys the domains that it lies in as well: a rule that was
    taken back has left its cool-down there, and which hosts fell under it nobody knows."""
    names = [key] if _ruled(limits, key) else _suffixes(key)
    return max((known[name].cooling_until or 0.0 for name in names if name in known), default=0.0)


def _suffixes(host: str) -> list[str]:
    """The host and every domain it lies in, the longest first."""
    labels = host.split(".")
    return [".".join(labels[start:]) for start in range(len(labels))]


class SqlHosts:
    """ports.Hosts."""

    def __init__(self, db: Database, clock: Clock, limits: HostLimits) -> None:
        self._db, self._clock, self._limits = db, clock, limits

    def set_rule(self, host: str, limit: int | None, rate: float | None, *, drain: float = 0.0) -> None:
        key = _plain(host)
        if not key or (limit is not None and limit < 1) or (rate is not None and not 0 < rate < float("inf")):
            raise Permanent(f"no rule for {key or 'no host'}: a limit is at least 1, a rate more than 0")
        now = self._clock.now()
        values = {"host": key, "limit_set": limit, "rate_set": rate, "changed_at": now}
        rows = select(hosts.c.host).where(hosts.c.host.in_(_suffixes(key))).order_by(hosts.c.host)
        with self._db.write() as conn:
            conn.execute(rows.with_for_update())  # in one order, as notes are written
            before = stored_limits(conn, self._limits)
            conn.execute(self._db.upsert(hosts, "host", values))
            after = stored_limits(conn, self._limits)
            if _ruled(before, key) != _ruled(after, key):
                self._hand_over(conn, key, (before, after), now, drain)

    def _hand_over(
        self, conn: Connection, key: str, limits: tuple[HostLimits, HostLimits], now: float, drain: float
    ) -> None:
        """Hosts at and below `key` fall under another key: what they were told by their hosts goes there."""
        before, after = limits
        new_key = after.key(key)
        below = hosts.c.host.endswith(f".{key}", autoescape=True)
        query = select(hosts).where(or_(hosts.c.host.in_(_suffixes(key)), below))
        known = {row.host: row for row in conn.execute(query)}
        old_keys = {before.key(key), *(name for name in known if after.key(name) == new_key)}
        limits_now = [row.limit_now for name, row in known.items() if name in old_keys and row.limit_now is not None]
        until = max([now + drain, *(_cooling(known, before, name) for name in old_keys)])
        note = HostNote(new_key, limit_now=min(limits_now, default=None), cooling_until=until if until > now else None)
        self._keep_state(conn, note, now)

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
            known = {row.host: row for row in conn.execute(select(hosts).where(hosts.c.host.in_(_suffixes(key))))}
            counted = conn.execute(select(host_days).where(host_days.c.day == day, host_days.c.host == key)).first()
        found = _with_state(HostRow(key), known[key]) if key in known else HostRow(key)
        cooling = _cooling(known, _over(self._limits, known.values()), key)
        found = replace(found, cooling_until=cooling or None)
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
