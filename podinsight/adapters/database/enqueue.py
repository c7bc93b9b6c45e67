"""Making rows: fetch and transcribe work, and starting failed work over."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, insert, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from podinsight.adapters.database.hosts import stored_limits
from podinsight.adapters.database.lanes import LaneMoves, lane_ids, next_rank
from podinsight.adapters.database.models import chunks, episodes, lanes, state_is, work
from podinsight.adapters.database.units import CHUNK_LANE, ENQUEUE_LOCK, JOIN_N, WAITS_FOR_AUDIO, Units, column_values
from podinsight.domain.identity import bare_host
from podinsight.domain.work import Span, State

_BATCH = 500
_TRANSACTION = 2000  # rows: under half a second of SQLite's only write lock, so that heartbeats come through
_ENDED = (State.FAILED, State.REFUSED)


def batches(values: Sequence[str], size: int = _BATCH) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


def _at_host(key: str, host: str) -> ColumnElement[bool]:
    """Episodes of a host key, also those that were noted before the rule was laid down that makes it one."""
    return or_(episodes.c.host.in_([key, bare_host(host)]), episodes.c.host.endswith(f".{key}", autoescape=True))


class Enqueue(Units):
    """The part of ports.WorkRows that makes rows."""

    def enqueue_fetch(self, episode_ids: Sequence[str], priority: int, transcribe: Mapping[str, object] | None) -> int:
        added = 0
        for ids in batches(list(dict.fromkeys(episode_ids)), _TRANSACTION):
            with self._transition() as (conn, moves):
                self._db.lock(conn, ENQUEUE_LOCK)
                for batch in batches(ids):
                    missing = self._without_row(conn, batch, "fetch")
                    added += self._insert_work(conn, moves, "fetch", missing, priority, {})
                if transcribe is not None:
                    self._enqueue_transcribe(conn, moves, ids, priority, transcribe)
        return added

    def enqueue_transcribe(self, episode_ids: Sequence[str], priority: int, params: Mapping[str, object]) -> int:
        added = 0
        for ids in batches(list(dict.fromkeys(episode_ids)), _TRANSACTION):
            with self._transition() as (conn, moves):
                self._db.lock(conn, ENQUEUE_LOCK)
                added += self._enqueue_transcribe(conn, moves, ids, priority, params)
        return added

    def _enqueue_transcribe(
        self, conn: Connection, moves: LaneMoves, ids: Sequence[str], priority: int, params: Mapping[str, object]
    ) -> int:
        added = 0
        lane_ids(self._db, conn, CHUNK_LANE, priority, [""])  # under the lock, so that a release never has to make it
        for batch in batches(ids):
            missing = self._without_row(conn, batch, "transcribe")
            ready = [row for row in missing if row.audio_key]
            later = [row for row in missing if not row.audio_key]
            added += self._insert_work(conn, moves, "transcribe", ready, priority, params)
            for row in ready:
                self._add_chunks(conn, moves, row.id, row.feed_id, priority, [Span(0, 0.0, None)])
            added += self._insert_work(conn, moves, "transcribe", later, priority, params, State.HELD, WAITS_FOR_AUDIO)
        return added

    def _without_row(self, conn: Connection, ids: Sequence[str], stage: str) -> list[Row[Any]]:
        """Those of the episodes that have no row in this stage, in the order of discovery."""
        query = (
            select(episodes.c.id, episodes.c.feed_id, episodes.c.host, episodes.c.audio_key)
            .outerjoin(work, and_(work.c.episode_id == episodes.c.id, work.c.stage == stage))
            .where(episodes.c.id.in_(ids), work.c.id.is_(None))
            .order_by(episodes.c.seq)
        )
        return list(conn.execute(query))

    def _insert_work(
        self,
        conn: Connection,
        moves: LaneMoves,
        stage: str,
        rows: Sequence[Row[Any]],
        priority: int,
        params: Mapping[str, object],
        state: State = State.WAITING,
        reason: str = "",
    ) -> int:
        if not rows:
            return 0
        hosts = {row.id: row.host if stage == "fetch" else "" for row in rows}
        lane_by_host = lane_ids(self._db, conn, stage, priority, hosts.values())
        ranks: dict[tuple[int, str], int] = {}
        values: list[dict[str, object]] = []
        for row in rows:
            lane = lane_by_host[hosts[row.id]]
            key = (lane, str(row.feed_id))
            rank = ranks[key] + 1 if key in ranks else next_rank(conn, work, lane, row.feed_id)
            ranks[key] = rank
            values.append(
                {
                    "episode_id": row.id,
                    "feed_id": row.feed_id,
                    "stage": stage,
                    "lane_id": lane,
                    "rank": rank,
                    "params": dict(params),
                }
                | column_values(state, reason, self._clock.now())
            )
            moves.move(lane, None, state)
        conn.execute(insert(work), values)
        return len(values)

    def release_transcribe(self, conn: Connection, moves: LaneMoves, episode_id: str) -> None:
        """The audio is in place: a transcribe row that was held for it gets its chunk and waits."""
        row = self._transcribe_row(conn, episode_id)
        if row is not None and row.state == State.HELD.value and row.reason == WAITS_FOR_AUDIO:
            self._start_transcribe(conn, moves, row)

    def _start_transcribe(self, conn: Connection, moves: LaneMoves, row: Row[Any]) -> None:
        self._add_chunks(conn, moves, row.episode_id, row.feed_id, row.priority, [Span(0, 0.0, None)])
        self._move(conn, moves, work, row, State.WAITING, "")

    def _transcribe_row(self, conn: Connection, episode_id: str) -> Row[Any] | None:
        """The transcribe row of an episode with its priority, locked."""
        query = (
            select(work, lanes.c.priority)
            .join(lanes, lanes.c.id == work.c.lane_id)
            .where(work.c.episode_id == episode_id, work.c.stage == "transcribe")
        )
        return conn.execute(query.with_for_update(of=work)).first()

    def retry_failed(self, stage: str | None, host: str | None) -> int:
        """Failed and refused rows start over. `host` is matched as a host key, as the limits are.

        A fetch takes the transcribe row along that failed with it; a transcribe row whose fetch has failed is left.
        """
        with self._transition() as (conn, moves):
            query = (
                select(work)
                .where(state_is(work, *_ENDED))
                .order_by(work.c.episode_id, work.c.stage)
                .with_for_update(of=work)
            )
            if stage is not None:
                query = query.where(work.c.stage == stage)
            if host is not None:
                query = query.join(episodes, episodes.c.id == work.c.episode_id)
                query = query.where(_at_host(stored_limits(conn, self._limits).key(host), host))
            restart = {"fetch": self._restart_fetch, "transcribe": self._restart_transcribe}
            return sum(restart[row.stage](conn, moves, row) for row in conn.execute(query).all())

    def _restart_fetch(self, conn: Connection, moves: LaneMoves, row: Row[Any]) -> bool:
        self._move(conn, moves, work, row, State.WAITING, "", attempts=0, losses=0)
        follower = self._transcribe_row(conn, row.episode_id)
        if follower is not None and State(follower.state) in _ENDED:
            self._move(conn, moves, work, follower, State.HELD, WAITS_FOR_AUDIO)
        return True

    def _restart_transcribe(self, conn: Connection, moves: LaneMoves, found: Row[Any]) -> bool:
        row = self._transcribe_row(conn, found.episode_id)
        if row is None or State(row.state) not in _ENDED:
            return True  # it went along with its fetch just now
        units = conn.execute(select(chunks).where(chunks.c.episode_id == row.episode_id)).all()
        ended = [unit for unit in units if State(unit.state) in _ENDED]
        if any(unit.n == JOIN_N for unit in ended):  # parts that are gone or unreadable: they are to be made again
            ended = list(units)
        if ended:
            self._start_chunks_over(conn, moves, ended, State.WAITING, "", attempts=0, losses=0)
            conn.execute(update(work).where(work.c.id == row.id).values(losses=0))
            return True
        if self._episode_row(conn, row.episode_id).audio_key:
            self._start_transcribe(conn, moves, row)
            return True
        fetch = select(work.c.state).where(work.c.episode_id == row.episode_id, work.c.stage == "fetch")
        if conn.execute(fetch).scalar_one_or_none() in [state.value for state in _ENDED]:
            return False
        self._move(conn, moves, work, row, State.HELD, WAITS_FOR_AUDIO)
        return True
