"""Dispatch and reconcile: what moves rows without a lease. Each question is answered by one small index."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Table, and_, func, select, update
from sqlalchemy.sql.elements import ColumnElement

from podinsight.adapters.database.catalogue_tables import hosts
from podinsight.adapters.database.hosts import limits_now
from podinsight.adapters.database.lanes import LaneMoves
from podinsight.adapters.database.models import chunks, inline, lanes, state_is, work
from podinsight.adapters.database.units import Units, column_values, table_of
from podinsight.domain.work import LaneView, State, Ticket, share_out
from podinsight.ports import LeaseHolder, Reconciled
from podinsight.topology import PRIORITIES, STAGE_OF_LANE, STAGES

_AT_ONCE = 500
_LANES_A_HOST = len(PRIORITIES)
_FETCH_LANE = STAGES["fetch"].lane


def _leased_to(table: Table, worker: str) -> ColumnElement[bool]:
    return and_(state_is(table, State.RUNNING), table.c.worker == worker)


@dataclass(frozen=True)
class _Share:
    """Units to take from a lane; limit: of its host, 0 for none."""

    lane_id: int
    host: str
    limit: int
    units: int


class Dispatching(Units):
    """The part of ports.WorkRows that fills and refills the window."""

    def dispatch(self, lane: str, slots: int) -> list[Ticket]:
        stage = STAGE_OF_LANE[lane]
        table = table_of(lane)
        with self._db.read() as conn:  # most calls find nothing to do, and need not wait for the write lock to see it
            due = self._is_due(conn, table)
            if not due and not self._may_take(conn, lane, table, slots):
                return []
        if due:  # in a transaction of its own: the lanes are read below and must be written before
            with self._transition() as (conn, moves):
                self._promote_due(conn, moves, table)
        if not self._db.is_sqlite:
            with self._transition() as (conn, moves):
                if not self._db.try_lock(conn, f"dispatch {lane}"):
                    return []
                wanted = self._allowed(conn, lane, slots)
                return self._take(conn, moves, table, {share.lane_id: share.units for share in wanted})
        # SQLite's only write lock is not held while it is decided what to take, so the counts are looked at again under
        # it. The turn keeps dispatches from deciding the same at once; it is a courtesy, and may be passed over.
        with self._db.dispatch_turn():
            with self._db.read() as conn:
                wanted = self._allowed(conn, lane, slots)
            if not wanted:
                return []
            with self._transition() as (conn, moves):
                if self._forbidden(conn, stage.name):
                    return []
                return self._take(conn, moves, table, self._still_free(conn, lane, slots, wanted))

    def leased(self, worker: str) -> int:
        with self._db.read() as conn:
            return sum(
                int(conn.execute(select(func.count()).select_from(table).where(_leased_to(table, worker))).scalar_one())
                for table in (chunks, work)
            )

    def lease_holders(self) -> dict[str, LeaseHolder]:
        found: dict[str, LeaseHolder] = {}
        with self._db.read() as conn:
            for table in (chunks, work):
                held = func.count().label("leases"), func.max(table.c.changed_at).label("since")
                query = select(table.c.worker, *held).where(state_is(table, State.RUNNING), table.c.worker.is_not(None))
                for row in conn.execute(query.group_by(table.c.worker)):
                    other = found.get(row.worker, LeaseHolder(0, 0.0))
                    leases, since = other.leases + int(row.leases), max(other.since, float(row.since))
                    found[str(row.worker)] = LeaseHolder(leases, since)
        return found

    def undo_dispatch(self, tickets: Sequence[Ticket]) -> None:
        with self._transition() as (conn, moves):
            for ticket in sorted(tickets, key=lambda ticket: ticket.unit_id):
                table = table_of(STAGES[ticket.stage].lane)
                row = conn.execute(
                    select(table)
                    .where(table.c.id == ticket.unit_id, table.c.state == State.DISPATCHED.value)
                    .with_for_update()
                ).first()
                if row is not None:
                    self._return(conn, moves, table, row)

    def reconcile(self, dispatch_seconds: float) -> Reconciled:
        """A few hundred rows of each kind a pass: the lock is short, and the next pass takes the rest."""
        expired = unclaimed = due = aside = 0
        now = self._clock.now()
        for table in (chunks, work):
            with self._transition() as (conn, moves):
                for row in self._some(conn, table, State.RUNNING, table.c.lease_until, now):
                    aside += self._lose(conn, moves, table, row)
                    expired += 1
                for row in self._some(conn, table, State.DISPATCHED, table.c.dispatched_at, now - dispatch_seconds):
                    self._return(conn, moves, table, row)
                    unclaimed += 1
                due += self._promote_due(conn, moves, table)
        return Reconciled(expired, unclaimed, due, aside)

    def expire_worker(self, worker: str) -> int:
        count = 0
        for table in (chunks, work):
            with self._transition() as (conn, moves):
                rows = conn.execute(
                    select(table).where(_leased_to(table, worker)).order_by(table.c.id).with_for_update()
                ).all()
                for row in rows:
                    self._lose(conn, moves, table, row)
                count += len(rows)
        return count

    def _is_due(self, conn: Connection, table: Table) -> bool:
        query = select(table.c.id).where(state_is(table, State.DELAYED), table.c.not_before <= self._clock.now())
        return conn.execute(query.limit(1)).first() is not None

    def _may_take(self, conn: Connection, lane: str, table: Table, slots: int) -> bool:
        waiting = select(lanes.c.id).where(lanes.c.stage == lane, lanes.c.n_waiting > inline(0)).limit(1)
        if conn.execute(waiting).first() is None:
            return False
        return self._count_in_flight(conn, table, STAGE_OF_LANE[lane].name) < slots

    def _count_in_flight(self, conn: Connection, table: Table, stage: str) -> int:
        query = select(func.count()).where(table.c.stage == stage, state_is(table, State.DISPATCHED, State.RUNNING))
        return int(conn.execute(query).scalar_one())

    def _allowed(self, conn: Connection, lane: str, slots: int) -> list[_Share]:
        """What to take; nothing when there is no slot or control forbids it."""
        stage = STAGE_OF_LANE[lane]
        if self._forbidden(conn, stage.name):
            return []
        free = slots - self._count_in_flight(conn, table_of(lane), stage.name)
        return self._shares(conn, lane, free, slots) if free > 0 else []

    def _shares(self, conn: Connection, lane: str, free: int, slots: int) -> list[_Share]:
        rows, limits = self._open_lanes(conn, lane, slots)
        hosts_of = {int(row.id): str(row.host) for row in rows}
        views = [LaneView(row.id, row.priority, row.host, row.n_waiting, row.last_served) for row in rows]
        units = share_out(views, self._busy(conn, lane, hosts_of.values()), limits, 0, free)
        return [
            _Share(lane_id, hosts_of[lane_id], limits.get(hosts_of[lane_id], 0), count)
            for lane_id, count in units.items()
        ]

    def _still_free(self, conn: Connection, lane: str, slots: int, wanted: Sequence[_Share]) -> dict[int, int]:
        """Lane → units of what was wanted that still fit, by the counts as they are now."""
        free = slots - self._count_in_flight(conn, table_of(lane), STAGE_OF_LANE[lane].name)
        busy = self._busy(conn, lane, [share.host for share in wanted])
        found: dict[int, int] = {}
        for share in wanted:
            room = share.limit - busy.get(share.host, 0) if share.limit else share.units
            units = max(0, min(share.units, room, free))
            busy[share.host] = busy.get(share.host, 0) + units
            free -= units
            if units:
                found[share.lane_id] = units
        return found

    def _busy(self, conn: Connection, lane: str, names: Iterable[str]) -> dict[str, int]:
        """Host → units dispatched or running, over all priorities."""
        query = (
            select(lanes.c.host, func.sum(lanes.c.n_dispatched + lanes.c.n_running).label("busy"))
            .where(lanes.c.stage == lane, lanes.c.host.in_(sorted(set(names))))
            .group_by(lanes.c.host)
        )
        return {str(row.host): int(row.busy) for row in conn.execute(query)}

    def _open_lanes(self, conn: Connection, lane: str, slots: int) -> tuple[list[Row[Any]], dict[str, int]]:
        """The first waiting lanes whose hosts do not cool down, with the limits of these hosts now.

        A host whose lanes are passed over in vain is at its limit, which is at least 1, so it fills a slot: with the
        lanes of `slots` hosts that are open the window is full, whatever the number of hosts. Hosts that cool down are
        left out by their own row; one that does so by a rule that is younger than its lanes is found only when the
        rows are there, and then the next ones are looked at too.
        """
        now = self._clock.now()
        query = (
            select(lanes.c.id, lanes.c.priority, lanes.c.host, lanes.c.n_waiting, lanes.c.last_served)
            .where(lanes.c.stage == lane, lanes.c.n_waiting > inline(0))
            .order_by(lanes.c.priority.desc(), lanes.c.last_served, lanes.c.id)
        )
        if lane == _FETCH_LANE:
            cooling = select(hosts.c.host).where(hosts.c.host == lanes.c.host, hosts.c.cooling_until > now)
            query = query.where(~cooling.exists())
        most = _LANES_A_HOST * slots
        while True:
            rows = list[Row[Any]](conn.execute(query.limit(most)))
            names = {str(row.host) for row in rows}
            limits = limits_now(conn, self._limits, names, now) if lane == _FETCH_LANE else {}
            found = [row for row in rows if limits.get(row.host) != 0]
            if len(rows) < most or len({row.host for row in found}) >= slots:
                return found, limits
            most *= 4

    def _take(self, conn: Connection, moves: LaneMoves, table: Table, shares: dict[int, int]) -> list[Ticket]:
        now = self._clock.now()
        tickets: list[Ticket] = []
        for lane_id in sorted(shares):
            rows = conn.execute(
                select(table.c.id, table.c.stage, table.c.episode_id, table.c.rank, table.c.ms)
                .where(table.c.lane_id == lane_id, state_is(table, State.WAITING))
                .order_by(table.c.rank, table.c.id)
                .limit(shares[lane_id])
                .with_for_update(skip_locked=True)
            ).all()
            if not rows:
                continue
            moves.serve(lane_id, rows[-1].rank, now)
            moves.move(lane_id, State.WAITING, State.DISPATCHED, sum(row.ms for row in rows), len(rows))
            tickets += [Ticket(row.id, row.stage, row.episode_id) for row in rows]
            if table is chunks:
                moves.parents |= {row.episode_id: "" for row in rows}
        if tickets:
            taken = update(table).where(table.c.id.in_([ticket.unit_id for ticket in tickets]))
            conn.execute(taken.values(column_values(State.DISPATCHED, "", now, dispatched_at=now)))
        return tickets

    def _some(self, conn: Connection, table: Table, state: State, column: Any, until: float) -> list[Row[Any]]:
        return list(
            conn.execute(
                select(table)
                .where(state_is(table, state), column <= until)
                .order_by(column)
                .limit(_AT_ONCE)
                .with_for_update(skip_locked=True)
            )
        )

    def _promote_due(self, conn: Connection, moves: LaneMoves, table: Table) -> int:
        rows = self._some(conn, table, State.DELAYED, table.c.not_before, self._clock.now())
        for row in rows:
            self._return(conn, moves, table, row)
        return len(rows)
