"""Making rows: fetch and transcribe work, and starting failed work over."""

from collections.abc import Mapping, Sequence

from sqlalchemy import or_, select
from sqlalchemy.sql.elements import ColumnElement

from podinsight.adapters.database.catalogue_tables import episodes
from podinsight.adapters.database.hosts import stored_limits
from podinsight.adapters.database.models import state_is, work
from podinsight.adapters.database.new_rows import batches
from podinsight.adapters.database.transcriptions import Transcriptions
from podinsight.adapters.database.units import ENDED, ENQUEUE_LOCK
from podinsight.domain.identity import bare_host

_TRANSACTION = 2000  # rows: under half a second of SQLite's only write lock, so that heartbeats come through


def _at_host(key: str, host: str) -> ColumnElement[bool]:
    """Episodes of a host key, also those that were noted before the rule was laid down that makes it one."""
    return or_(episodes.c.host.in_([key, bare_host(host)]), episodes.c.host.endswith(f".{key}", autoescape=True))


def with_approval(params: Mapping[str, object], approved: str) -> Mapping[str, object]:
    return {**params, "approved": approved} if approved else params


class Enqueue(Transcriptions):
    """The part of ports.WorkRows that makes rows."""

    def enqueue_fetch(
        self,
        episode_ids: Sequence[str],
        priority: int,
        transcribe: Mapping[str, object] | None,
        approved: str = "",
        quoted_seconds: Mapping[str, float] | None = None,
    ) -> int:
        added = 0
        for ids in batches(list(dict.fromkeys(episode_ids)), _TRANSACTION):
            with self._transition() as (conn, moves):
                self._db.lock(conn, ENQUEUE_LOCK)
                for batch in batches(ids):
                    missing = self._without_row(conn, batch, "fetch")
                    added += self._insert_work(conn, moves, "fetch", missing, priority, {})
                if transcribe is not None:
                    params = with_approval(transcribe, approved)
                    self._add_transcriptions(conn, moves, ids, priority, params, quoted_seconds)
        return added

    def enqueue_transcribe(
        self,
        episode_ids: Sequence[str],
        priority: int,
        params: Mapping[str, object],
        approved: str = "",
        quoted_seconds: Mapping[str, float] | None = None,
    ) -> int:
        added = 0
        for ids in batches(list(dict.fromkeys(episode_ids)), _TRANSACTION):
            with self._transition() as (conn, moves):
                self._db.lock(conn, ENQUEUE_LOCK)
                stamped = with_approval(params, approved)
                added += self._add_transcriptions(conn, moves, ids, priority, stamped, quoted_seconds)
        return added

    def retry_failed(self, stage: str | None, host: str | None) -> int:
        """Failed and refused rows start over. `host` is matched as a host key, as the limits are.

        A fetch or a plan takes the transcribe row along that failed with it; a transcribe row whose fetch has failed is
        left, one whose plan has failed has it made again.
        """
        wanted = {"transcribe": ("plan", "transcribe")}.get(stage or "", (stage,))
        with self._transition() as (conn, moves):
            self._db.lock(conn, ENQUEUE_LOCK)  # who transcribes again locks chunks first, and here rows are
            query = (
                select(work)
                .where(state_is(work, *ENDED))
                .order_by(work.c.episode_id, work.c.stage)
                .with_for_update(of=work)
            )
            if stage is not None:  # the plans along with the transcriptions, so that they are locked in order
                query = query.where(work.c.stage.in_(wanted))
            if host is not None:
                query = query.join(episodes, episodes.c.id == work.c.episode_id)
                query = query.where(_at_host(stored_limits(conn, self._limits).key(host), host))
            restart = {
                "fetch": self._restart_fetch,
                "plan": self._restart_plan,
                "transcribe": self._restart_transcribe,
            }
            rows = [row for row in conn.execute(query).all() if stage in (None, row.stage)]
            return sum(restart[row.stage](conn, moves, row) for row in rows)
