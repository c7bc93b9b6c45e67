"""Workers, desired pool sizes, control state and ticks in SQL."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, case, delete, func, or_, select, text, update
from sqlalchemy.sql.elements import ColumnElement

from podinsight.adapters.database.engine import Database, storable
from podinsight.adapters.database.fleet_events import read_changes, record_change
from podinsight.adapters.database.fleet_tables import control, pools, ticks, workers
from podinsight.adapters.database.guard import post_on
from podinsight.adapters.database.meters import DEAD, DRAINING, READY, STARTING, Meters
from podinsight.adapters.database.models import chunks, state_is, work
from podinsight.adapters.database.worker_prices import UNPRICED, price_of
from podinsight.domain.alerts import Alert
from podinsight.domain.control import Control, Mode
from podinsight.domain.fleet import Change, FleetEvent, Group, Snapshot, named
from podinsight.domain.work import State
from podinsight.ports import Clock, PoolSize, WorkerView
from podinsight.topology import GPU

_UNMETERED_SECONDS: Final = 7 * 86_400.0  # then a dead worker is forgotten, whether it was metered or not


def _view(row: Row[Any]) -> WorkerView:
    values = {name: getattr(row, name) for name in WorkerView.__dataclass_fields__ if name != "price"}
    return WorkerView(**values | {"device": row.device or "", "price": price_of(row)})


def _size(row: Row[Any]) -> PoolSize:
    if row.shut is None:
        return PoolSize(int(row.desired))
    return PoolSize(0, _snapshot(row.pool, row.shut))


def _snapshot(pool: str, kept: Mapping[str, Any]) -> Snapshot:
    group = Group(pool, 0, int(kept["desired"]), int(kept["most"]))
    return Snapshot((group,), float(kept["at"]), str(kept["reason"]))


def _holds_lease(conn: Connection, worker: str) -> bool:
    return any(
        conn.execute(
            select(table.c.id).where(state_is(table, State.RUNNING), table.c.worker == worker).limit(1)
        ).first()
        for table in (chunks, work)
    )


class SqlWorkers(Meters):
    """ports.Workers."""

    def register(self, worker: str, machine: str, pool: str, pid: int, slots: int, device: str = "") -> None:
        now = self._clock.now()
        with self._db.write() as conn:
            row = {"id": worker, "machine": machine, "pool": pool, "pid": pid, "slots": slots, "heartbeat_at": now}
            row |= {"device": device or None, **UNPRICED}
            # A life of its own: what one before it with this name was paid for was metered, or is lost.
            life = {"started_at": now, "busy_ms": 0, "idle_ms": 0, "metered_at": None}
            this, starting = workers.c.id == worker, workers.c.state == STARTING
            conn.execute(self._db.insert_new(workers).values(row | life | {"state": STARTING}))
            conn.execute(update(workers).where(this, ~starting).values(row | life))
            conn.execute(update(workers).where(this, starting).values(row | {"state": READY}))

    def expect(self, worker: str, machine: str, pool: str, pid: int) -> None:
        now = self._clock.now()
        row = {"id": worker, "machine": machine, "pool": pool, "pid": pid, "slots": 0, "state": STARTING}
        with self._db.write() as conn:
            conn.execute(self._db.insert_new(workers).values(row | {"heartbeat_at": now, "started_at": now}))

    def heartbeat(self, worker: str) -> str | None:
        with self._db.write() as conn:
            conn.execute(update(workers).where(workers.c.id == worker).values(heartbeat_at=self._clock.now()))
            return conn.execute(select(workers.c.state).where(workers.c.id == worker)).scalar_one_or_none()

    def mark(self, worker: str, state: str) -> None:
        with self._db.write() as conn:
            conn.execute(update(workers).where(workers.c.id == worker, workers.c.state != DEAD).values(state=state))

    def retire(self, worker: str, shrink: bool = False, by: str = "", why: str = "") -> bool:
        with self._db.write() as conn:
            # Claims lock this row too: what one of them leases before us is there for the next statement.
            query = select(workers.c.state, workers.c.pool).where(workers.c.id == worker).with_for_update()
            row = conn.execute(query).first()
            if row is None:
                return False
            if row.state in (DRAINING, DEAD):
                return True
            if _holds_lease(conn, worker):
                return False
            conn.execute(update(workers).where(workers.c.id == worker).values(state=DRAINING))
            if shrink and (size := self._size_of(conn, row.pool)).desired > 0:
                self._resize(conn, size, size.desired - 1, by, why)
        return True

    def list(self, machine: str | None = None) -> list[WorkerView]:
        query = select(workers).where(workers.c.state != DEAD).order_by(workers.c.started_at, workers.c.id)
        if machine is not None:
            query = query.where(workers.c.machine == machine)
        with self._db.read() as conn:
            return [_view(row) for row in conn.execute(query)]

    def live_slots(self, pool: str) -> int:
        with self._db.read() as conn:
            query = select(func.coalesce(func.sum(workers.c.slots), 0)).where(*self._live(pool))
            return int(conn.execute(query).scalar_one())

    def live(self, pool: str) -> Sequence[WorkerView]:
        query = select(workers).where(*self._live(pool)).order_by(workers.c.started_at, workers.c.id)
        with self._db.read() as conn:
            return [_view(row) for row in conn.execute(query)]

    def spread(self, pool: str) -> dict[str, int]:
        count = func.sum(case((workers.c.pool == pool, 1), else_=0)).label("n")
        there = workers.c.state.in_((STARTING, READY)), workers.c.heartbeat_at >= self._clock.now() - self._stale
        query = select(workers.c.machine, count).where(*there).group_by(workers.c.machine)
        with self._db.read() as conn:
            return {str(row.machine): int(row.n) for row in conn.execute(query)}

    def _live(self, pool: str) -> tuple[ColumnElement[bool], ...]:
        fresh = self._clock.now() - self._stale
        return workers.c.pool == pool, workers.c.state == READY, workers.c.heartbeat_at >= fresh

    def desired(self) -> dict[str, int]:
        return {pool: size.desired for pool, size in self.pools().items()}

    def pools(self) -> dict[str, PoolSize]:
        with self._db.read() as conn:
            return {str(row.pool): _size(row) for row in conn.execute(select(pools))}

    def set_desired(self, pool: str, count: int, by: str = "", why: str = "") -> None:
        with self._db.write() as conn:
            size = self._size_of(conn, pool)
            if size.desired != count:
                self._resize(conn, size, count, by, why)

    def shut(self, pool: str, most: int, why: str, by: str = "") -> Snapshot:
        with self._db.write() as conn:
            # Workers first, in their order (units.py), then the pool: as `retire` locks them.
            working = workers.c.pool == pool, workers.c.state.in_((STARTING, READY))
            for name in sorted(conn.execute(select(workers.c.id).where(*working)).scalars()):
                conn.execute(update(workers).where(workers.c.id == name, *working).values(state=DRAINING))
            row, now = self._size_of(conn, pool), self._clock.now()
            kept = row.shut or {"desired": row.desired, "most": most, "at": now, "reason": named(by, why)}
            conn.execute(update(pools).where(pools.c.pool == pool).values(desired=0, shut=kept))
            if row.shut is None:
                record_change(conn, FleetEvent(now, Change.SHUT, pool, int(row.desired), 0, by, why))
        return _snapshot(pool, kept)

    def open(self, pool: str, desired: int, by: str = "", why: str = "") -> bool:
        with self._db.write() as conn:
            shut = update(pools).where(pools.c.pool == pool, pools.c.shut.is_not(None))
            if conn.execute(shut.values(desired=desired, shut=None)).rowcount != 1:
                return False
            record_change(conn, FleetEvent(self._clock.now(), Change.OPENED, pool, 0, desired, by, why))
        return True

    def changes(self, pool: str, limit: int) -> Sequence[FleetEvent]:
        with self._db.read() as conn:
            return read_changes(conn, pool, limit)

    def _size_of(self, conn: Connection, pool: str) -> Row[Any]:
        """The pool's row, made if it was not there, and nobody else's until the transaction ends."""
        query = select(pools).where(pools.c.pool == pool).with_for_update()
        row = conn.execute(query).first()
        if row is None:
            conn.execute(self._db.insert_new(pools).values(pool=pool, desired=0))
            row = conn.execute(query).one()
        return row

    def _resize(self, conn: Connection, size: Row[Any], desired: int, by: str, why: str) -> None:
        """What is set while a pool is shut is not in force, and so no change of its size."""
        conn.execute(update(pools).where(pools.c.pool == size.pool).values(desired=desired))
        if size.shut is None:
            at, before = self._clock.now(), int(size.desired)
            record_change(conn, FleetEvent(at, Change.SIZED, size.pool, before, desired, by, why))

    def forget_dead(self, older_than: float) -> None:
        before = self._clock.now() - older_than
        with self._db.write() as conn:
            metered = or_(
                workers.c.pool != GPU.name,
                workers.c.metered_at.is_not(None),
                workers.c.heartbeat_at < before - _UNMETERED_SECONDS,
            )
            conn.execute(delete(workers).where(workers.c.state == DEAD, workers.c.heartbeat_at < before, metered))


def _control(row: Row[Any]) -> Control:
    return Control(Mode(row.mode), bool(row.gpu_frozen), bool(row.economy), row.by, row.at, row.why)


def _history(conn: Connection) -> list[Control]:
    """The newest first, down to the last one that stopped nothing."""
    free = select(func.max(control.c.id)).where(control.c.mode == Mode.RUNNING.value, control.c.gpu_frozen.is_(False))
    since = func.coalesce(free.scalar_subquery(), 0)
    return [
        _control(row)
        for row in conn.execute(select(control).where(control.c.id >= since).order_by(control.c.id.desc()))
    ]


class SqlControl:
    """ports.ControlBoard. Control rows are appended, so who stopped what, when and why stays on record."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db, self._clock = db, clock

    def read(self) -> Control:
        with self._db.read() as conn:
            row = conn.execute(select(control).order_by(control.c.id.desc()).limit(1)).first()
        return Control() if row is None else _control(row)

    def history(self) -> Sequence[Control]:
        with self._db.read() as conn:
            return _history(conn)

    def since(self, at: float) -> Sequence[Control]:
        with self._db.read() as conn:
            query = select(control).where(control.c.at >= at).order_by(control.c.id.desc())
            return [_control(row) for row in conn.execute(query)]

    def write(self, state: Control) -> None:
        with self._db.write() as conn:
            self._append(conn, state, self._clock.now())

    def revise(
        self,
        rule: Callable[[Sequence[Control]], Sequence[Control]],
        tell: Callable[[Control, Control], Alert | None] | None = None,
    ) -> Sequence[Control]:
        with self._db.write() as conn:
            if not self._db.is_sqlite:
                # Waits for transactions that have written control, and lets no other write before this one ends.
                conn.execute(text("LOCK TABLE control IN SHARE ROW EXCLUSIVE MODE"))
            before = _history(conn)
            written = rule(before)
            for state in written:
                self._append(conn, state, state.at or self._clock.now())
            if written and tell and (alert := tell(before[0] if before else Control(), written[-1])):
                post_on(self._db, conn, self._clock.now(), alert)
            return _history(conn)

    def _append(self, conn: Connection, state: Control, at: float) -> None:
        conn.execute(
            control.insert().values(
                mode=state.mode.value,
                gpu_frozen=state.gpu_frozen,
                economy=state.economy,
                by=storable(state.by),
                at=at,
                why=storable(state.why),
            )
        )

    def tick(self, name: str) -> None:
        with self._db.write() as conn:
            conn.execute(self._db.upsert(ticks, "name", {"name": name, "at": self._clock.now()}))

    def ticks(self) -> dict[str, float]:
        with self._db.read() as conn:
            return {str(row.name): float(row.at) for row in conn.execute(select(ticks))}
