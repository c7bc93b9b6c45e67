"""What people ask: counts, states of some episodes, what runs, what failed and why."""

from collections.abc import Sequence

from sqlalchemy import Connection, func, select

from podinsight.adapters.database.catalogue_tables import episodes, feeds
from podinsight.adapters.database.models import chunks, lanes, state_is, work
from podinsight.adapters.database.new_rows import batches
from podinsight.adapters.database.units import Units
from podinsight.domain.work import State
from podinsight.ports import Demand, StageCount, WorkView
from podinsight.topology import STAGES


class Views(Units):
    """The part of ports.WorkRows that only reads."""

    def demand(self, stage: str) -> Demand:
        names = ("n_waiting", "n_dispatched", "n_running", "ms_waiting", "ms_in_flight")
        sums = [func.coalesce(func.sum(lanes.c[name]), 0).label(name) for name in names]
        with self._db.read() as conn:
            row = conn.execute(select(*sums).where(lanes.c.stage == STAGES[stage].lane)).one()
        in_flight = int(row.n_dispatched) + int(row.n_running)
        return Demand(int(row.n_waiting), in_flight, (int(row.ms_waiting) + int(row.ms_in_flight)) / 1000)

    def counts(self) -> list[StageCount]:
        sums = [func.coalesce(func.sum(lanes.c[f"n_{state.value}"]), 0).label(state.value) for state in State]
        query = select(lanes.c.stage, *sums).where(lanes.c.stage.in_(list(STAGES))).group_by(lanes.c.stage)
        with self._db.read() as conn:
            rows = {row.stage: row for row in conn.execute(query)}
        return [
            StageCount(stage, state, int(getattr(rows[stage], state.value)))
            for stage in STAGES
            if stage in rows
            for state in State
            if getattr(rows[stage], state.value)
        ]

    def states(self, stage: str, episode_ids: Sequence[str]) -> dict[str, tuple[State, str]]:
        found: dict[str, tuple[State, str]] = {}
        with self._db.read() as conn:
            for batch in batches(episode_ids):
                query = select(work.c.episode_id, work.c.state, work.c.reason, work.c.projected).where(
                    work.c.stage == stage, work.c.episode_id.in_(batch)
                )
                for row in conn.execute(query):
                    publishing = row.state == State.DONE and not row.projected
                    state = State.RUNNING if publishing else State(row.state)
                    found[row.episode_id] = (state, "publishing" if publishing else row.reason)
        return found

    def views(self, state: State, limit: int) -> list[WorkView]:
        query = (
            select(
                *(work.c[name] for name in ("episode_id", "stage", "reason", "attempts", "losses", "worker")),
                work.c.changed_at.label("since"),
                work.c.not_before.label("until"),
                episodes.c.host,
                episodes.c.title,
                feeds.c.slug.label("feed_slug"),
            )
            .join(episodes, episodes.c.id == work.c.episode_id)
            .join(feeds, feeds.c.id == episodes.c.feed_id)
            .where(state_is(work, state))
            .order_by(work.c.stage, work.c.changed_at, work.c.id)
            .limit(limit)
        )
        with self._db.read() as conn:
            rows = conn.execute(query).all()
            chunked = self._chunk_facts(conn, state, [row.episode_id for row in rows if row.stage == "transcribe"])
        found: list[WorkView] = []
        for row in rows:
            facts = chunked.get(row.episode_id, {}) if row.stage == "transcribe" else {}
            found.append(WorkView(**dict(row._mapping) | {"state": state} | facts))
        return found

    def _chunk_facts(self, conn: Connection, state: State, episode_ids: Sequence[str]) -> dict[str, dict[str, object]]:
        """Episode → what its work row does not know: attempts, losses, worker and due time of a chunk in this state."""
        found: dict[str, dict[str, object]] = {}
        for batch in batches(episode_ids):
            query = (
                select(
                    *(chunks.c[name] for name in ("episode_id", "attempts", "losses", "worker")),
                    chunks.c.not_before.label("until"),
                )
                .where(chunks.c.episode_id.in_(batch), state_is(chunks, state))
                .order_by(chunks.c.episode_id, chunks.c.n)
            )
            for row in conn.execute(query):
                found.setdefault(row.episode_id, dict(row._mapping))
        return found
