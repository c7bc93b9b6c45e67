"""Money in SQL: each change a transaction of its own, and what reports ask of the ledger."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Row, and_, case, func, select
from sqlalchemy.sql.elements import ColumnElement

from podinsight.adapters.database.engine import Database
from podinsight.adapters.database.models import inline
from podinsight.adapters.database.money_tables import budgets, ledger, reservations
from podinsight.adapters.database.reservations import (
    OPEN,
    charge_on,
    make_budgets,
    read_budgets,
    release_on,
    reserve_on,
    settle_on,
)
from podinsight.domain.budget import Account, Budget, Ceilings, Refusal, Scope
from podinsight.domain.money import Micros, Unit
from podinsight.domain.prices import Service
from podinsight.ports import Clock
from podinsight.ports.money import Bearer, By, Entry, LedgerLine, OpenReservation, Reservation, Total

_COLUMN: Final = {
    By.DAY: ledger.c.day,
    By.MONTH: ledger.c.month,
    By.STAGE: ledger.c.stage,
    By.SERVICE: ledger.c.service,
    By.FEED: ledger.c.feed_id,
    By.ITEM: ledger.c.episode_id,
    By.RUN: ledger.c.run_id,
    By.DEVICE: ledger.c.device_kind,
}


class SqlPurse:
    """ports.Purse."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db, self._clock = db, clock

    def reserve(self, asked: Reservation, ceilings: Ceilings, burn: Micros = 0) -> Refusal | None:
        with self._db.write() as conn:
            return reserve_on(self._db, conn, self._clock.now(), asked, ceilings, burn)

    def settle(self, token: str, entries: Sequence[Entry]) -> bool:
        with self._db.write() as conn:
            return settle_on(self._db, conn, self._clock.now(), token, entries)

    def release(self, token: str) -> bool:
        with self._db.write() as conn:
            return release_on(self._db, conn, self._clock.now(), token)

    def charge(self, token: str, bearer: Bearer, entries: Sequence[Entry]) -> bool:
        with self._db.write() as conn:
            return charge_on(self._db, conn, self._clock.now(), token, bearer, entries)

    def limit(self, scope: Scope, key: str, ceiling: Micros | None) -> None:
        with self._db.write() as conn:
            make_budgets(self._db, conn, [(scope, key)])
            this = (budgets.c.scope == scope.value, budgets.c.key == key)
            conn.execute(budgets.update().where(*this).values(ceiling=ceiling))

    def budget(self, scope: Scope, key: str) -> Budget:
        return self.budgets([(scope, key)])[0]

    def budgets(self, wanted: Sequence[Account]) -> list[Budget]:
        with self._db.read() as conn:
            return read_budgets(conn, wanted)

    def spent(self, scope: Scope, key: str) -> Micros:
        return self.budget(scope, key).spent

    def open(self, scope: Scope, key: str) -> Micros:
        return self.budget(scope, key).reserved

    def unsettled(self, before: float, limit: int) -> list[OpenReservation]:
        query = (
            select(reservations)
            .where(reservations.c.state == inline(OPEN), reservations.c.at < before)
            .order_by(reservations.c.at, reservations.c.id)
            .limit(limit)
        )
        with self._db.read() as conn:
            return [_to_open(row) for row in conn.execute(query)]

    def entries(
        self, since: str, until: str, *, episode_id: str = "", after: int = 0, limit: int = 1000
    ) -> list[LedgerLine]:
        query = select(ledger).where(ledger.c.day.between(since, until), ledger.c.id > after)
        if episode_id:
            query = query.where(ledger.c.episode_id == episode_id)
        with self._db.read() as conn:
            return [_to_line(row) for row in conn.execute(query.order_by(ledger.c.id).limit(limit))]

    def totals(self, by: By, since: str, until: str, *, over: Micros | None = None) -> list[Total]:
        key, micros = _COLUMN[by].label("of"), func.sum(ledger.c.micros)
        unsure = func.sum(case((ledger.c.estimated, ledger.c.micros), else_=inline(0)))
        query = select(key, micros, unsure, func.count(), *_quantities())
        query = query.where(ledger.c.day.between(since, until)).group_by(key)
        if over is not None:
            query = query.having(micros > over)
        order = (key,) if by in (By.DAY, By.MONTH) else (micros.desc(), key)
        with self._db.read() as conn:
            return [
                Total(name, *(int(figure) for figure in figures))
                for name, *figures in conn.execute(query.order_by(*order))
            ]


def _quantities() -> list[ColumnElement[int]]:
    """gpu_ms, idle_ms, cpu_ms and bytes of the lines of a group."""
    timed = ledger.c.unit == inline(Unit.MILLISECONDS.value)
    services = (Service.GPU, Service.IDLE, Service.CPU)
    which = [and_(timed, ledger.c.service == inline(service.value)) for service in services]
    which.append(ledger.c.unit == inline(Unit.BYTES.value))
    return [func.sum(case((each, ledger.c.quantity), else_=inline(0))) for each in which]


def _to_open(row: Row[Any]) -> OpenReservation:
    asked = Reservation(
        row.token,
        int(row.micros),
        row.unit_kind,
        int(row.unit_id),
        row.episode_id,
        row.feed_id,
        row.run_id,
        bool(row.gpu),
    )
    return OpenReservation(asked, float(row.at), row.day)


def _to_line(row: Row[Any]) -> LedgerLine:
    entry = Entry(
        row.stage,
        row.service,
        int(row.quantity),
        Unit(row.unit),
        int(row.price_micros),
        row.device_kind,
        row.price_source,
        bool(row.estimated),
        row.note,
    )
    return LedgerLine(
        int(row.id), float(row.at), Bearer(row.day, row.episode_id, row.feed_id, row.run_id), row.token, entry
    )
