"""Making work rows: each in its lane, at the end of its feed's turn."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, insert, select

from podinsight.adapters.database.catalogue_tables import episodes
from podinsight.adapters.database.lanes import LaneMoves, lane_ids, next_rank
from podinsight.adapters.database.models import work
from podinsight.adapters.database.units import Units, column_values, milliseconds
from podinsight.domain.work import State

_BATCH = 500


def batches(values: Sequence[str], size: int = _BATCH) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


def quoted_for(episode_id: str, quoted_seconds: Mapping[str, float] | None) -> dict[str, object]:
    """What the params of a row say of the quote that its approval was given for."""
    seconds = (quoted_seconds or {}).get(episode_id)
    return {} if seconds is None else {"quoted_seconds": seconds}


class NewRows(Units):
    """The part of ports.WorkRows that inserts."""

    def _without_row(self, conn: Connection, ids: Sequence[str], stage: str) -> list[Row[Any]]:
        """Those of the episodes that have no row in this stage, in the order of discovery."""
        names = ("id", "feed_id", "host", "audio_key", "audio_seconds")
        query = (
            select(*(episodes.c[name] for name in names))
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
        quoted_seconds: Mapping[str, float] | None = None,
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
            ms = milliseconds(row.audio_seconds) if stage == "plan" else 0
            values.append(
                {
                    "episode_id": row.id,
                    "feed_id": row.feed_id,
                    "stage": stage,
                    "lane_id": lane,
                    "rank": rank,
                    "ms": ms,
                    "params": dict(params) | quoted_for(row.id, quoted_seconds),
                }
                | column_values(state, reason, self._clock.now())
            )
            moves.move(lane, None, state, ms)
        conn.execute(insert(work), values)
        return len(values)
