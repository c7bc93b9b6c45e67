"""Transcribing once more what has been transcribed: the rows that have ended go, and fresh ones are made."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, or_, select
from sqlalchemy.sql.elements import ColumnElement

from podinsight.adapters.database.catalogue_tables import episodes
from podinsight.adapters.database.enqueue import Enqueue, with_approval
from podinsight.adapters.database.lanes import LaneMoves
from podinsight.adapters.database.models import chunks, state_is, work
from podinsight.adapters.database.new_rows import batches
from podinsight.adapters.database.units import ENDED, ENQUEUE_LOCK
from podinsight.domain.work import State

_TRANSACTION = 200  # episodes: each has chunks to take away


class Again(Enqueue):
    """The part of ports.WorkRows that does over what is done."""

    def transcribe_again(
        self,
        episode_ids: Sequence[str],
        priority: int,
        params: Mapping[str, object],
        approved: str = "",
        quoted_seconds: Mapping[str, float] | None = None,
    ) -> int:
        started = 0
        for ids in batches(list(dict.fromkeys(episode_ids)), _TRANSACTION):
            with self._transition() as (conn, moves):
                self._db.lock(conn, ENQUEUE_LOCK)
                over = self._clear(conn, moves, ids)
                if over:
                    stamped = with_approval({**params, "same_audio": False}, approved)  # nor is a twin's taken
                    started += self._add_transcriptions(conn, moves, over, priority, stamped, quoted_seconds)
        return started

    def _clear(self, conn: Connection, moves: LaneMoves, ids: Sequence[str]) -> list[str]:
        """Takes away the rows and chunks of the transcriptions that have ended; returns whose they were.

        Their plans go with them: the chunks' audio was swept with the last transcript, and a device that waits while
        chunks are cut from the episode's audio once more is paid for (ADR 9).
        """
        of_these = select(work).where(work.c.episode_id.in_(ids)).order_by(work.c.episode_id, work.c.stage)
        over = [row.episode_id for row in conn.execute(of_these.where(*self._ended)).all()]
        of_over = chunks.c.episode_id.in_(over)
        units = conn.execute(select(chunks).where(of_over).order_by(chunks.c.id).with_for_update()).all()
        stages = work.c.stage.in_(("plan", "transcribe"))
        rows = conn.execute(of_these.where(work.c.episode_id.in_(over), stages).with_for_update()).all()
        for unit in units:  # of an episode that failed some may still run
            self._leave_behind(conn, unit)
        self._drop_chunks(conn, moves, units)
        self._drop_rows(conn, moves, [row for row in rows if State(row.state) in (State.DONE, *ENDED)])
        return over

    @property
    def _ended(self) -> tuple[ColumnElement[bool], ...]:
        """Transcriptions that have ended, their files in place. Without audio they wait for the fetch to start over."""
        has_audio = select(episodes.c.id).where(episodes.c.audio_key.is_not(None))
        done = state_is(work, State.DONE) & work.c.projected
        return (work.c.stage == "transcribe", or_(done, state_is(work, *ENDED)), work.c.episode_id.in_(has_audio))

    def _drop_rows(self, conn: Connection, moves: LaneMoves, rows: Sequence[Row[Any]]) -> None:
        for row in rows:
            moves.move(row.lane_id, State(row.state), None, row.ms)
        conn.execute(delete(work).where(work.c.id.in_([row.id for row in rows])))
