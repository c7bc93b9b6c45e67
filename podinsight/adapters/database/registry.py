"""Workers, desired pool sizes, control state and ticks in SQL."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, delete, func, select, update
from sqlalchemy.sql.elements import ColumnElement

from podinsight.adapters.database.engine import Database
from podinsight.adapters.database.models import control, pools, ticks, workers
from podinsight.domain.control import Control, Mode
from podinsight.ports import Clock, WorkerView

READY, DRAINING, DEAD = "ready", "draining", "dead"


def _view(row: Row[Any]) -> WorkerView:
    values = {name: getattr(row, name) for name in WorkerView.__dataclass_fields__}
    return WorkerView(**values | {"device": row.device or ""})


class SqlWorkers:
    """ports.Workers."""

    def __init__(self, db: Database, clock: Clock, stale_seconds: float) -> None:
        self._db, self._clock, self._stale = db, clock, stale_seconds

    def register(self, worker: str, machine: str, pool: str, pid: int, slots: int, device: str = "") -> None:
        now = self._clock.now()
        with self._db.write() as conn:
            row = {"id": worker, "machine": machine, "pool": pool, "pid": pid, "slots": slots, "started_at": now}
            row["device"] = device or None
            conn.execute(self._db.insert_new(workers).values(row | {"state": READY, "heartbeat_at": now}))
            conn.execute(update(workers).where(workers.c.id == worker).values(row | {"heartbeat_at": now}))

    def heartbeat(self, worker: str) -> str | None:
        with self._db.write() as conn:
            conn.execute(update(workers).where(workers.c.id == worker).values(heartbeat_at=self._clock.now()))
            return conn.execute(select(workers.c.state).where(workers.c.id == worker)).scalar_one_or_none()

    def mark(self, worker: str, state: str) -> None:
        with self._db.write() as conn:
            conn.execute(update(workers).where(workers.c.id == worker, workers.c.state != DEAD).values(state=state))

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

    def _live(self, pool: str) -> tuple[ColumnElement[bool], ...]:
        fresh = self._clock.now() - self._stale
        return workers.c.pool == pool, workers.c.state == READY, workers.c.heartbeat_at >= fresh

    def desired(self) -> dict[str, int]:
        with self._db.read() as conn:
            return {str(row.pool): int(row.desired) for row in conn.execute(select(pools))}

    def set_desired(self, pool: str, count: int) -> None:
        with self._db.write() as conn:
            conn.execute(self._db.upsert(pools, "pool", {"pool": pool, "desired": count}))

    def forget_dead(self, older_than: float) -> None:
        before = self._clock.now() - older_than
        with self._db.write() as conn:
            conn.execute(delete(workers).where(workers.c.state == DEAD, workers.c.heartbeat_at < before))


class SqlControl:
    """ports.ControlBoard. Control rows are appended, so who stopped what, when and why stays on record."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db, self._clock = db, clock

    def read(self) -> Control:
        with self._db.read() as conn:
            row = conn.execute(select(control).order_by(control.c.id.desc()).limit(1)).first()
        if row is None:
            return Control()
        return Control(Mode(row.mode), bool(row.gpu_frozen), bool(row.economy), row.by, row.at, row.why)

    def write(self, state: Control) -> None:
        with self._db.write() as conn:
            conn.execute(
                control.insert().values(
                    mode=state.mode.value,
                    gpu_frozen=state.gpu_frozen,
                    economy=state.economy,
                    by=state.by,
                    at=self._clock.now(),
                    why=state.why,
                )
            )

    def tick(self, name: str) -> None:
        with self._db.write() as conn:
            conn.execute(self._db.upsert(ticks, "name", {"name": name, "at": self._clock.now()}))

    def ticks(self) -> dict[str, float]:
        with self._db.read() as conn:
            return {str(row.name): float(row.at) for row in conn.execute(select(ticks))}
