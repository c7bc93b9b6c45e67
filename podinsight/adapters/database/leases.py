"""Claims and what ends them without a result: hand-back, delay, failure."""

import uuid
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Final

from sqlalchemy import Connection, Row, Table, case, delete, select, update

from podinsight.adapters.database.fleet_tables import workers
from podinsight.adapters.database.history import record_run
from podinsight.adapters.database.lanes import LaneMoves
from podinsight.adapters.database.meters import READY
from podinsight.adapters.database.models import chunks, inline, state_is, work
from podinsight.adapters.database.models import leftovers as left
from podinsight.adapters.database.paid import Paid
from podinsight.adapters.database.spending import Spent
from podinsight.adapters.database.units import column_values, table_of_stage
from podinsight.adapters.database.worker_prices import PRICED_BY
from podinsight.domain.held import OVER_BUDGET
from podinsight.domain.work import Lease, Span, State
from podinsight.errors import LeaseLost
from podinsight.ports import Leftover

_BATCH = 500
_CLAIMABLE: Final = (State.DISPATCHED, State.WAITING)


class _GoneError(Exception):
    """The worker was told to go while it claimed: nothing is claimed."""


class Leases(Paid):
    """The part of ports.WorkRows that hands out leases and takes them back."""

    def claim(self, stage: str, episode_id: str, worker: str, lease_seconds: float) -> Lease | None:
        table = table_of_stage(stage)
        try:
            with self._db.write() as conn:
                who = self._who(conn, worker)
                if who is None or self._forbidden(conn, stage):
                    return None
                row = self._claimable(conn, table, stage, episode_id)
                if row is None:
                    return None
                if table is not chunks or self._may_decode(conn, episode_id, row.n, who):
                    return self._claim(conn, table, row, who, lease_seconds)
        except _GoneError:
            return None
        self._ask_again(episode_id, lease_seconds)  # all chunks are locked for it, and in their order
        return None

    def _claimable(self, conn: Connection, table: Table, stage: str, episode_id: str) -> Row[Any] | None:
        """The unit that a message for this episode is to take, locked. A message takes what was dispatched: one that is
        left so holds a slot, and no message comes for it.

        No SKIP LOCKED: who holds the row may leave it claimable, and this message will not come again. One that was
        waited for in vain is given back before the next is waited for: to hold both, in an order that is nobody else's,
        could deadlock.
        """
        this = table.c.episode_id == episode_id, table.c.stage == stage
        if table is not chunks:
            row = conn.execute(select(table).where(*this).with_for_update()).first()
            return row if row is not None and State(row.state) in _CLAIMABLE else None
        sent_first = case((state_is(chunks, State.DISPATCHED), inline(0)), else_=inline(1))
        query = select(chunks.c.id).where(*this, state_is(chunks, *_CLAIMABLE)).order_by(sent_first, chunks.c.n)
        while (found := conn.execute(query.limit(1)).scalar_one_or_none()) is not None:
            with conn.begin_nested() if not self._db.is_sqlite else nullcontext() as savepoint:
                row = conn.execute(select(chunks).where(chunks.c.id == found).with_for_update()).first()
                if row is not None and State(row.state) in _CLAIMABLE:
                    return row
                if savepoint is not None:
                    savepoint.rollback()
        return None

    def _claim(
        self, conn: Connection, table: Table, row: Row[Any], who: Row[Any], lease_seconds: float
    ) -> Lease | None:
        """The lease and its reservation, or neither."""
        hour = self._till.hour(who)
        paid = self._till.has_price(row.stage, hour)
        with conn.begin_nested() if paid else nullcontext() as savepoint:
            moves = LaneMoves()
            lease = self._lease(conn, moves, table, row, who.id, lease_seconds)
            self._finish(conn, moves)
            refused = self._reserve(conn, row, lease, hour, lease_seconds) if paid else None
            if refused is None:
                self._stays(conn, who.id)
                return lease
            if savepoint is not None:
                savepoint.rollback()
        self._refuse(conn, table, row, refused)
        return None

    def _who(self, conn: Connection, worker: str) -> Row[Any] | None:
        """The worker, with what it costs; None when it may claim nothing."""
        known = select(workers.c.id, *PRICED_BY).where(workers.c.id == worker)
        return conn.execute(known.where(workers.c.state == READY)).first()

    def _stays(self, conn: Connection, worker: str) -> None:
        """Locks a worker that is still to be there when this transaction ends: what it has leased is seen by who lets
        it go (`retire`). Raises _GoneError when it was told to go since; then nothing was claimed."""
        query = select(workers.c.state).where(workers.c.id == worker).with_for_update(read=True)
        if not self._db.is_sqlite and conn.execute(query).scalar_one_or_none() != READY:
            raise _GoneError

    def _lease(
        self, conn: Connection, moves: LaneMoves, table: Table, row: Row[Any], worker: str, seconds: float
    ) -> Lease:
        now = self._clock.now()
        token = uuid.uuid4().hex
        values = column_values(State.RUNNING, "", now, worker=worker, token=token, lease_until=now + seconds)
        conn.execute(update(table).where(table.c.id == row.id).values(values))
        moves.move(row.lane_id, State(row.state), State.RUNNING, row.ms)
        chunked = table is chunks
        if chunked:
            moves.parents[row.episode_id] = ""
        return Lease(
            kind="chunk" if chunked else "work",
            unit_id=row.id,
            stage=row.stage,
            episode_id=row.episode_id,
            worker=worker,
            token=token,
            attempts=row.attempts,
            losses=row.losses,
            span=Span(row.n, row.start, row.end) if chunked else None,
            params=self._params(conn, row.episode_id) if chunked else dict(row.params),
        )

    def _params(self, conn: Connection, episode_id: str) -> Mapping[str, object]:
        query = select(work.c.params).where(work.c.episode_id == episode_id, work.c.stage == "transcribe")
        return dict(conn.execute(query).scalar_one())

    def renew(self, lease: Lease, lease_seconds: float) -> None:
        table = chunks if lease.kind == "chunk" else work
        with self._db.write() as conn:
            now = self._clock.now()
            row = self._held_row(conn, lease)
            refused = self._till.extend(conn, now, row, lease, lease_seconds)
            if refused is None:  # a lease is never longer than what is reserved for it
                conn.execute(update(table).where(table.c.id == row.id).values(lease_until=now + lease_seconds))
            else:
                self._leave_behind(conn, row)
                record_run(conn, self._clock, lease, "over budget", str(refused))
                self._refuse(conn, table, row, refused)
        if refused is not None:
            raise LeaseLost(f"{OVER_BUDGET}{refused}")

    def hand_back(self, lease: Lease, received: int = 0) -> None:
        self._leave(lease, State.WAITING, "", "handed back", received)

    def delay(self, lease: Lease, reason: str, seconds: float, attempted: bool = True, received: int = 0) -> None:
        more = {"not_before": self._clock.now() + seconds, "attempts": lease.attempts + int(attempted)}
        self._leave(lease, State.DELAYED, reason, "delayed", received, attempted, **more)

    def end(self, lease: Lease, state: State, reason: str, received: int = 0) -> None:
        tried = state is State.FAILED
        self._leave(lease, state, reason, state.value, received, tried, attempts=lease.attempts + 1)

    def leftovers(self, older_than: float, limit: int) -> list[Leftover]:
        query = select(left.c.id, left.c.prefix).where(left.c.at < older_than).order_by(left.c.at, left.c.id)
        with self._db.read() as conn:
            return [Leftover(row.id, row.prefix) for row in conn.execute(query.limit(limit))]

    def cleared(self, leftovers: Sequence[Leftover]) -> None:
        ids = [each.id for each in leftovers]
        with self._db.write() as conn:
            for start in range(0, len(ids), _BATCH):
                conn.execute(delete(left).where(left.c.id.in_(ids[start : start + _BATCH])))

    def _leave(
        self,
        lease: Lease,
        state: State,
        reason: str,
        outcome: str,
        received: int,
        attempted: bool = False,
        **more: object,
    ) -> None:
        """attempted: something may have been written, and not all of it deleted."""
        table = chunks if lease.kind == "chunk" else work
        with self._transition() as (conn, moves):
            row = self._held_row(conn, lease)
            if received:
                moves.spent[lease.token] = Spent(size=received)
            if attempted:
                self._leave_behind(conn, row)
            self._move(conn, moves, table, row, state, reason, **more)
            if state in (State.FAILED, State.REFUSED):
                self._fail_follower(conn, moves, row, state, reason)
            record_run(conn, self._clock, lease, outcome, reason)
