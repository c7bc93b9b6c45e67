"""What every transition of a unit shares: which table, how a row moves, how a chunked stage follows its chunks.

Locks are always taken in the order chunks, work (by episode and stage), lanes (by id), feed_days (by feed),
reservations (by token), budgets (by scope and key), workers (by id, as Python sorts them: a database may do so by
another collation), control, alerts; so transactions do not deadlock. Who has to know of a reservation before the end (a
claim, a renewal) makes it under a savepoint, after all else, and starts over without it: the savepoint's rollback gives
the locks back.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Row, Table, delete, insert, select, update

from podinsight.adapters.database.catalogue_tables import episodes, feed_days
from podinsight.adapters.database.engine import Database, storable
from podinsight.adapters.database.episode_rows import episode_query, to_episode
from podinsight.adapters.database.hosts import utc_day
from podinsight.adapters.database.lanes import LaneMoves, lane_ids, next_rank
from podinsight.adapters.database.models import chunks, leftovers, state_is, work
from podinsight.adapters.database.spending import EndedLease, Till
from podinsight.adapters.database.stops import control_on
from podinsight.domain.economy import HELD_FOR_ECONOMY
from podinsight.domain.episode import Episode
from podinsight.domain.held import WAITS_FOR_AUDIO, WAITS_FOR_PLAN
from podinsight.domain.hosts import HostLimits
from podinsight.domain.prices import Terms
from podinsight.domain.work import Lease, Span, State, aggregate, wait_after_loss
from podinsight.errors import LeaseLost
from podinsight.ports import Clock
from podinsight.topology import STAGES

CHUNK_LANE = STAGES["transcribe"].lane
ENQUEUE_LOCK = "enqueue"
JOIN_N = -1
ENDED = (State.FAILED, State.REFUSED)
# What is missing to the transcribe row that was held for a stage which ended without a result.
_MISSING = {"fetch": (WAITS_FOR_AUDIO, "no audio"), "plan": (WAITS_FOR_PLAN, "no plan")}
NO_LEASE: dict[str, object] = {"worker": None, "token": None, "lease_until": None, "dispatched_at": None}


def table_of(lane: str) -> Table:
    """The table that holds the units of a lane stage."""
    return chunks if lane == CHUNK_LANE else work


def table_of_stage(stage: str) -> Table:
    return table_of(STAGES[stage].lane)


def column_values(state: State, reason: str, now: float, **more: object) -> dict[str, object]:
    return {"state": state.value, "reason": storable(reason)[:2000], "changed_at": now} | more


def milliseconds(seconds: float | None) -> int:
    """Seconds of audio as the lanes count them; 0 when nobody knows them."""
    return round(1000 * (seconds or 0.0))


def set_aside(losses: int, how: str | None) -> str:
    """The reason of a unit that was lost too often."""
    if how is None:
        return f"set aside: its worker died {losses} times while it ran"
    return f"set aside: lost {losses} times, {how}"


def without(stage: str, reason: str) -> str:
    """The reason of a transcription whose fetch or plan ended without a result."""
    return f"{_MISSING[stage][1]}: {reason}"


def is_awaited(state: str, reason: str) -> bool:
    """Whether a transcribe row comes to its transcript by itself, so that others with the same audio wait for it: it
    waits for no person itself, and for no other transcription."""
    running = (State.WAITING, State.DISPATCHED, State.RUNNING, State.DELAYED)
    return state in running or (state == State.HELD and reason in (WAITS_FOR_PLAN, HELD_FOR_ECONOMY))


class Units:
    """Base of the parts of ports.WorkRows."""

    def __init__(self, db: Database, clock: Clock, limits: HostLimits, terms: Terms) -> None:
        self._db, self._clock, self._limits = db, clock, limits
        self._till = Till(db, terms)

    @contextmanager
    def _transition(self) -> Iterator[tuple[Connection, LaneMoves]]:
        """A write transaction that ends as every transition must."""
        with self._db.write() as conn:
            moves = LaneMoves()
            yield conn, moves
            self._finish(conn, moves)

    def _finish(self, conn: Connection, moves: LaneMoves) -> None:
        """Work rows follow their chunks, then the lanes and the days, and leases that ended are paid."""
        for episode_id in sorted(moves.parents):
            self._follow_chunks(conn, moves, episode_id, moves.parents[episode_id])
        for episode_id in sorted(moves.settled):
            self._let_go(conn, moves, episode_id)
        moves.write(conn)
        now = self._clock.now()
        for feed_id, counts in sorted(moves.downloads.items()):
            conn.execute(self._db.add_up(feed_days, {"day": utc_day(now), "feed_id": feed_id}, counts))
        self._till.settle(conn, now, moves.ended, moves.spent)

    def _let_go(self, conn: Connection, moves: LaneMoves, episode_id: str) -> None:
        """Transcriptions that waited for this episode's transcript go on; see Transcriptions, which knows how."""

    def _forbidden(self, conn: Connection, stage: str) -> str | None:
        return control_on(conn).forbids(stage)

    def _held_row(self, conn: Connection, lease: Lease) -> Row[Any]:
        """The leased row, locked. Raises LeaseLost when the fence does not hold any more."""
        table = chunks if lease.kind == "chunk" else work
        row = conn.execute(select(table).where(table.c.id == lease.unit_id).with_for_update()).first()
        if row is None or row.token != lease.token or row.state != State.RUNNING.value:
            raise LeaseLost(f"the lease on {lease.stage} of episode {lease.episode_id} was taken back")
        return row

    def _move(
        self, conn: Connection, moves: LaneMoves, table: Table, row: Row[Any], state: State, reason: str, **more: object
    ) -> None:
        """One unit to `state`. Leaving `running` and `dispatched` clears the lease, and the end of a lease is paid."""
        self._end_lease(moves, row)
        cleared = {} if state in (State.RUNNING, State.DISPATCHED) else NO_LEASE
        values = column_values(state, reason, self._clock.now()) | cleared | more
        conn.execute(update(table).where(table.c.id == row.id).values(values))
        moves.move(row.lane_id, State(row.state), state, row.ms)
        if table is chunks:
            moves.parents[row.episode_id] = reason
        awaited = table is work and row.stage == "transcribe" and is_awaited(row.state, row.reason)
        if awaited and state is not State.DONE and not is_awaited(state, reason):
            moves.settled.add(row.episode_id)
        if row.stage == "fetch" and state in (State.FAILED, State.REFUSED):
            moves.downloads[row.feed_id]["failed"] += 1

    def _end_lease(self, moves: LaneMoves, row: Row[Any]) -> None:
        """Every way in which a lease ends comes by here. A join costs nothing."""
        if row.token is not None and row.state == State.RUNNING.value:
            chunked = STAGES[row.stage].lane == CHUNK_LANE
            if not (chunked and row.n == JOIN_N):
                moves.ended.append(EndedLease.of(row, chunked))

    def _return(self, conn: Connection, moves: LaneMoves, table: Table, row: Row[Any], **more: object) -> None:
        """Back to the lane, at the old rank: it has waited longest."""
        self._move(conn, moves, table, row, State.WAITING, str(row.reason), not_before=None, **more)

    def _lose(self, conn: Connection, moves: LaneMoves, table: Table, row: Row[Any], how: str | None = None) -> bool:
        """What the unit had done is lost, by default with its worker. Returns whether it is set aside, past the stage's
        losses. One that lost several workers in a row waits before it gets another."""
        self._leave_behind(conn, row)
        losses = int(row.losses) + 1
        if losses <= STAGES[row.stage].max_losses:
            wait = 0.0 if how else wait_after_loss(losses)
            if wait:
                reason = f"its worker died {losses} times while it ran"
                not_before = self._clock.now() + wait
                self._move(conn, moves, table, row, State.DELAYED, reason, not_before=not_before, losses=losses)
            else:
                self._return(conn, moves, table, row, losses=losses)
            return False
        reason = set_aside(losses, how)
        self._move(conn, moves, table, row, State.FAILED, reason, losses=losses)
        self._fail_follower(conn, moves, row, State.FAILED, reason)
        return True

    def _leave_behind(self, conn: Connection, row: Row[Any]) -> None:
        """Notes what the attempt under the row's token may have written. That token can never commit any more, so
        whatever has it in its name is nobody's."""
        if row.token is None:
            return
        episode = self._episode(conn, row.episode_id)
        name = f"{episode.attempts(row.stage)}/{row.token}"
        if STAGES[row.stage].lane == CHUNK_LANE and row.n != JOIN_N:
            name = f"{episode.parts}/{row.n}.{row.token}"
        conn.execute(insert(leftovers).values(prefix=name, at=self._clock.now()))

    def _start_chunks_over(
        self,
        conn: Connection,
        moves: LaneMoves,
        units: Sequence[Row[Any]],
        state: State,
        reason: str,
        **more: object,
    ) -> None:
        """All chunks of an episode without what they had made; the join is made anew after the last of them."""
        self._drop_chunks(conn, moves, [unit for unit in units if unit.n == JOIN_N])
        for unit in units:
            if unit.n != JOIN_N:
                self._move(conn, moves, chunks, unit, state, reason, part_key=None, **more)

    def _drop_chunks(self, conn: Connection, moves: LaneMoves, units: Sequence[Row[Any]]) -> None:
        for unit in units:
            self._end_lease(moves, unit)
            moves.move(unit.lane_id, State(unit.state), None, unit.ms)
        conn.execute(delete(chunks).where(chunks.c.id.in_([unit.id for unit in units])))

    def _follow_chunks(self, conn: Connection, moves: LaneMoves, episode_id: str, reason: str = "") -> State:
        """Sets the work row of a chunked stage to the aggregate of its chunks. `done` is left to its commit. When it
        has failed, nobody pays for the chunks that nobody has begun."""
        parent = conn.execute(
            select(work).where(work.c.episode_id == episode_id, work.c.stage == "transcribe").with_for_update()
        ).one()
        states = conn.execute(select(chunks.c.state).where(chunks.c.episode_id == episode_id)).scalars()
        state = aggregate(State(value) for value in states)
        if state is not State.DONE and state.value != parent.state:
            reason = reason or (self._held_for(conn, episode_id) if state is State.HELD else "")
            self._move(conn, moves, work, parent, state, reason)
        if state in ENDED:
            self._hold_chunks(conn, moves, episode_id)
        return state

    def _held_for(self, conn: Connection, episode_id: str) -> str:
        """Why the first of the chunks is held that are: it was while others ran, the last of which has ended."""
        query = select(chunks.c.reason).where(chunks.c.episode_id == episode_id, state_is(chunks, State.HELD))
        return conn.execute(query.order_by(chunks.c.n).limit(1)).scalar_one_or_none() or ""

    def _hold_chunks(self, conn: Connection, moves: LaneMoves, episode_id: str) -> None:
        """Another chunk of the episode has failed: those that wait are held. Starting over brings them back."""
        rows = self._not_begun(conn, episode_id)
        if rows:
            this = chunks.c.episode_id == episode_id
            why = select(chunks.c.reason).where(this, state_is(chunks, *ENDED)).order_by(chunks.c.n).limit(1)
            self._hold(conn, moves, rows, f"another chunk failed: {conn.execute(why).scalar_one()}")

    def _not_begun(self, conn: Connection, episode_id: str) -> Sequence[Row[Any]]:
        """Chunks of an episode that wait, locked. One that is locked is just moving, and will be looked at next; to
        wait for it here could deadlock."""
        open_states = state_is(chunks, State.WAITING, State.DISPATCHED, State.DELAYED)
        query = select(chunks).where(chunks.c.episode_id == episode_id, open_states).order_by(chunks.c.id)
        return conn.execute(query.with_for_update(skip_locked=True)).all()

    def _hold(self, conn: Connection, moves: LaneMoves, rows: Sequence[Row[Any]], reason: str) -> None:
        """Chunks that are not leased become `held`."""
        held = column_values(State.HELD, reason, self._clock.now(), not_before=None) | NO_LEASE
        conn.execute(update(chunks).where(chunks.c.id.in_([row.id for row in rows])).values(held))
        for row in rows:
            moves.move(row.lane_id, State(row.state), State.HELD, row.ms)

    def _fail_follower(self, conn: Connection, moves: LaneMoves, row: Row[Any], state: State, reason: str) -> None:
        """A fetch or a plan ended without a result, and so does the transcribe row that was held for it."""
        if row.stage not in _MISSING:
            return
        held_for, _said = _MISSING[row.stage]
        follower = conn.execute(
            select(work).where(work.c.episode_id == row.episode_id, work.c.stage == "transcribe").with_for_update()
        ).first()
        if follower is not None and (follower.state, follower.reason) == (State.HELD.value, held_for):
            self._move(conn, moves, work, follower, state, without(row.stage, reason))

    def _add_chunks(
        self, conn: Connection, moves: LaneMoves, episode: Episode, priority: int, spans: Sequence[Span]
    ) -> None:
        """Makes the chunks of an episode, `waiting`."""
        lane = lane_ids(self._db, conn, CHUNK_LANE, priority, [""])[""]
        rank = next_rank(conn, chunks, lane, episode.feed_id)
        rows = [
            {
                "episode_id": episode.id,
                "feed_id": episode.feed_id,
                "stage": "transcribe",
                "n": span.n,
                "lane_id": lane,
                "rank": rank + index,
                "ms": 0 if span.end is None else milliseconds(span.end - span.start),
                "start": span.start,
                "end": span.end,
            }
            | column_values(State.WAITING, "", self._clock.now())
            for index, span in enumerate(spans)
        ]
        conn.execute(insert(chunks), rows)
        moves.move(lane, None, State.WAITING, sum(int(str(row["ms"])) for row in rows), len(rows))

    def _episode_row(self, conn: Connection, episode_id: str) -> Row[Any]:
        return conn.execute(select(episodes).where(episodes.c.id == episode_id)).one()

    def _episode(self, conn: Connection, episode_id: str) -> Episode:
        return to_episode(conn.execute(episode_query().where(episodes.c.id == episode_id)).one())
