"""Which device may decode a chunk: what was approved because a CPU costs nothing is for a CPU (T2)."""

from typing import Any

from sqlalchemy import Connection, Row, select

from podinsight.adapters.database.fleet_tables import workers
from podinsight.adapters.database.meters import READY
from podinsight.adapters.database.models import chunks, work
from podinsight.adapters.database.transcriptions import Transcriptions
from podinsight.adapters.database.units import JOIN_N
from podinsight.adapters.database.worker_prices import PRICED_BY
from podinsight.domain.held import unapproved
from podinsight.domain.quote import CPU, FREE_RULE
from podinsight.domain.work import State


class Devices(Transcriptions):
    """The part of ports.WorkRows that keeps chunks from devices that nobody approved."""

    def _may_decode(self, conn: Connection, episode_id: str, n: int, who: Row[Any]) -> bool:
        """Whether this worker's device may have the chunk. A device that is not known is priced, never free, and a CPU
        may have a price by now; a join needs none."""
        if n == JOIN_N:
            return True
        of_episode = work.c.episode_id == episode_id, work.c.stage == "transcribe"
        params = conn.execute(select(work.c.params).where(*of_episode)).scalar_one()
        if params.get("approved") != FREE_RULE or not self._till.is_heard(conn, episode_id, params):
            return True
        return who.device == CPU and not self._till.hour(who).micros

    def _ask_again(self, episode_id: str, fresh_seconds: float) -> None:
        """A transcription that was approved for a CPU waits for its approval again, without its chunks.

        Not while a CPU has one of them, nor while a CPU worker was heard of in the last `fresh_seconds` that may take
        the next: then it is left to that.
        """
        with self._transition() as (conn, moves):
            query = select(chunks).where(chunks.c.episode_id == episode_id).order_by(chunks.c.id)
            units = conn.execute(query.with_for_update()).all()
            row = self._transcribe_row(conn, episode_id)
            if row is None or not units or row.params.get("approved") != FREE_RULE:
                return
            under_way = any(unit.state == State.RUNNING.value or unit.n == JOIN_N for unit in units)
            if under_way or self._has_cpu(conn, fresh_seconds):
                return
            self._drop_chunks(conn, moves, units)
            params = {name: value for name, value in unapproved(row.params).items() if name != "plan"}
            self._advance(conn, moves, row, params)

    def _has_cpu(self, conn: Connection, fresh_seconds: float) -> bool:
        """A CPU that costs nothing."""
        query = select(*PRICED_BY).where(
            workers.c.pool == "gpu",
            workers.c.state == READY,
            workers.c.device == CPU,
            workers.c.heartbeat_at >= self._clock.now() - fresh_seconds,
        )
        return any(not self._till.hour(row).micros for row in conn.execute(query))
