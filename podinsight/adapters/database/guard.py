"""Findings, alerts and what periodic tasks remember, in SQL."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from sqlalchemy import Connection, delete, select, update

from podinsight.adapters.database.engine import Database, storable
from podinsight.adapters.database.money_tables import alerts, findings, remembered
from podinsight.domain.alerts import Alert, Severity
from podinsight.domain.findings import Finding
from podinsight.ports import Clock
from podinsight.ports.guard import OpenFinding, PostedAlert

_FIRST_WAIT: Final = 60.0
_LONGEST_WAIT: Final = 3600.0


def post_on(db: Database, conn: Connection, now: float, alert: Alert) -> bool:
    """ports.Alerts.post within this transaction."""
    values = {"key": alert.key[:200], "severity": alert.severity.value, "title": storable(alert.title)[:500]}
    made = db.insert_new(alerts).values(
        values | {"body": storable(alert.body)[:8000], "at": now, "due_at": now, "tries": 0, "why": ""}
    )
    return conn.execute(made.returning(alerts.c.id)).first() is not None


class SqlAlerts:
    """ports.Alerts."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db, self._clock = db, clock

    def post(self, alert: Alert) -> bool:
        with self._db.write() as conn:
            return post_on(self._db, conn, self._clock.now(), alert)

    def unsent(self, limit: int) -> list[PostedAlert]:
        due = select(alerts).where(alerts.c.sent_at.is_(None), alerts.c.due_at <= self._clock.now())
        with self._db.read() as conn:
            return [
                PostedAlert(
                    int(row.id), float(row.at), Alert(row.key, Severity(row.severity), row.title, row.body), row.tries
                )
                for row in conn.execute(due.order_by(alerts.c.id).limit(limit))
            ]

    def sent(self, alert_id: int) -> None:
        with self._db.write() as conn:
            conn.execute(update(alerts).where(alerts.c.id == alert_id).values(sent_at=self._clock.now(), why=""))

    def failed(self, alert_id: int, why: str) -> None:
        with self._db.write() as conn:
            tries = conn.execute(select(alerts.c.tries).where(alerts.c.id == alert_id)).scalar_one_or_none() or 0
            wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(int(tries), 10))
            values = {"tries": int(tries) + 1, "why": storable(why)[:500], "due_at": self._clock.now() + wait}
            conn.execute(update(alerts).where(alerts.c.id == alert_id).values(values))


class SqlFindings:
    """ports.Findings."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db, self._clock = db, clock

    def report(
        self, source: str, found: Sequence[Finding], tell: Callable[[Finding], Alert] | None = None
    ) -> list[Finding]:
        now, new = self._clock.now(), []
        with self._db.write() as conn:
            here = findings.c.source == source
            known = set(conn.execute(select(findings.c.subject).where(here)).scalars())
            now_found = {each.subject: each for each in found}
            gone = known - set(now_found)
            if gone:
                conn.execute(delete(findings).where(here, findings.c.subject.in_(sorted(gone))))
            for subject, each in sorted(now_found.items()):
                values: dict[str, object] = {"day_micros": each.day_micros, "last_at": now}
                values |= {"what": storable(each.what)[:500], "fix": storable(each.fix)[:500]}
                if subject in known:
                    conn.execute(update(findings).where(here, findings.c.subject == subject).values(values))
                else:
                    key = {"source": source, "subject": subject, "first_at": now}
                    conn.execute(self._db.insert_new(findings).values(values | key))
                    new.append(each)
            if tell:
                for each in new:
                    post_on(self._db, conn, now, tell(each))
        return new

    def open(self) -> list[OpenFinding]:
        query = select(findings).order_by(findings.c.day_micros.desc(), findings.c.subject)
        with self._db.read() as conn:
            return [
                OpenFinding(
                    Finding(row.what, row.subject, int(row.day_micros), row.fix),
                    row.source,
                    float(row.first_at),
                    float(row.last_at),
                )
                for row in conn.execute(query)
            ]


class SqlMemory:
    """ports.Memory."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db, self._clock = db, clock

    def recall(self, name: str) -> Mapping[str, object] | None:
        with self._db.read() as conn:
            return recall_on(conn, name)

    def remember(self, name: str, value: Mapping[str, object]) -> None:
        with self._db.write() as conn:
            row = {"name": name, "value": dict(value), "at": self._clock.now()}
            conn.execute(self._db.upsert(remembered, "name", row))


def recall_on(conn: Connection, name: str) -> Mapping[str, object] | None:
    """ports.Memory.recall within this transaction."""
    found = conn.execute(select(remembered.c.value).where(remembered.c.name == name)).scalar_one_or_none()
    return None if found is None else dict(found)
