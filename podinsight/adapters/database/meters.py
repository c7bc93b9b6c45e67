"""What each worker costs, how long it held work and how long it did not: the part of ports.Workers that idle time is
reckoned by."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Row, and_, func, or_, select, update

from podinsight.adapters.database.engine import Database
from podinsight.adapters.database.fleet_tables import workers
from podinsight.adapters.database.models import chunks, inline, state_is
from podinsight.adapters.database.money_tables import reservations
from podinsight.adapters.database.reservations import OPEN, charge_all_on
from podinsight.adapters.database.worker_prices import PRICED_BY, kind_of, price_of, share, values_of
from podinsight.domain.metering import Meter
from podinsight.domain.prices import Price
from podinsight.domain.work import State
from podinsight.ports import Bearer, Clock, Entry

STARTING, READY, DRAINING, DEAD = "starting", "ready", "draining", "dead"
_TOKEN: Final = 200

# Leases that are paid for are those with a reservation: a join or a publisher's words cost idle time.
_OPEN_LEASES = and_(
    chunks.c.worker == workers.c.id,
    state_is(chunks, State.RUNNING),
    reservations.c.token == chunks.c.token,
    reservations.c.state == inline(OPEN),
)


class _Beaten(Exception):
    """Somebody else has written, or holds the worker's row just now."""


class Meters:
    """Base of ports.Workers in SQL."""

    def __init__(self, db: Database, clock: Clock, stale_seconds: float) -> None:
        self._db, self._clock, self._stale = db, clock, stale_seconds

    def reprice(self, pool: str, prices: Mapping[str, Price | None]) -> None:
        columns = workers.c.id, workers.c.machine, workers.c.heartbeat_at, workers.c.started_at, *PRICED_BY
        query = select(*columns).where(workers.c.pool == pool, workers.c.state != DEAD)
        with self._db.read() as conn:
            rows = sorted(conn.execute(query).all(), key=lambda row: str(row.id))
        heard = self._clock.now() - self._stale
        sharing = Counter(row.machine for row in rows if row.heartbeat_at >= heard)
        changed: list[tuple[Row[Any], Mapping[str, object]]] = []
        for row in rows:
            name = row.id if row.id in prices else row.machine
            if name not in prices:
                continue
            price = prices[name]
            if price is not None and name != row.id:
                price = share(price, sharing[row.machine])
            said = values_of(price)
            if said != {each: getattr(row, each) for each in said}:
                changed.append((row, said))
        if changed:
            with self._db.write() as conn:
                for row, said in changed:  # in the order that everybody locks them in (units.py)
                    same_life = workers.c.started_at == row.started_at, workers.c.state != DEAD
                    conn.execute(update(workers).where(workers.c.id == row.id, *same_life).values(said))

    def meters(self, pool: str) -> Sequence[Meter]:
        now = self._clock.now()
        leases = select(func.count()).select_from(chunks.join(reservations, _OPEN_LEASES)).correlate(workers)
        began = select(func.coalesce(func.sum(reservations.c.at), 0.0)).where(_OPEN_LEASES).correlate(workers)
        going = or_(
            workers.c.state != DEAD, workers.c.metered_at.is_(None), workers.c.metered_at < workers.c.heartbeat_at
        )
        # One statement: what it sees of workers, chunks and reservations is of one moment on every database.
        query = (
            select(workers, leases.scalar_subquery().label("leases"), began.scalar_subquery().label("began"))
            .where(workers.c.pool == pool, workers.c.state != STARTING, going)
            .order_by(workers.c.id)
        )
        with self._db.read() as conn:
            return [self._meter(row, now) for row in conn.execute(query)]

    def _meter(self, row: Row[Any], now: float) -> Meter:
        alive = row.state != DEAD and now - row.heartbeat_at <= self._stale
        until = now if alive else float(row.heartbeat_at)
        open_ms = max(0, round((row.leases * until - row.began) * 1000))
        return Meter(
            worker=row.id,
            device=kind_of(row),
            started=float(row.started_at),
            since=float(row.started_at if row.metered_at is None else row.metered_at),
            until=until,
            busy_ms=int(row.busy_ms),
            open_ms=open_ms,
            idle_ms=int(row.idle_ms),
            ended=row.state == DEAD,
            price=price_of(row),
        )

    def metered(self, meter: Meter, entries: Mapping[str, Entry]) -> bool:
        try:
            with self._db.write() as conn:
                token = f"idle:{meter.worker}"[: _TOKEN - 30] + f":{round(meter.until * 1000)}"
                charges = {f"{token}:{day}": (Bearer(day), [entry]) for day, entry in entries.items()}
                if not charge_all_on(self._db, conn, self._clock.now(), charges):
                    raise _Beaten
                # Others lock workers before budgets or after them: to wait for one here could deadlock.
                unchanged = (workers.c.idle_ms == meter.idle_ms, workers.c.started_at == meter.started)
                this = select(workers.c.id).where(workers.c.id == meter.worker, *unchanged)
                if conn.execute(this.with_for_update(skip_locked=True)).first() is None:
                    raise _Beaten
                written = {"idle_ms": meter.idle_ms + meter.due_ms, "metered_at": meter.until}
                conn.execute(update(workers).where(workers.c.id == meter.worker).values(written))
        except _Beaten:
            return False
        return True
