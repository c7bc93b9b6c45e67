"""How a transcribe row comes by its chunks: audio, approval, plan (domain.held), and how it starts over."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, TextClause, func, select, text, update

from podinsight.adapters.database.catalogue_tables import episodes
from podinsight.adapters.database.episode_rows import episode_query, to_episode
from podinsight.adapters.database.history import record_run
from podinsight.adapters.database.lanes import LaneMoves, lane_ids
from podinsight.adapters.database.models import UNAPPROVED, chunks, lanes, state_is, work
from podinsight.adapters.database.new_rows import batches, quoted_for
from podinsight.adapters.database.spending import Spent
from podinsight.adapters.database.twins import Twins, add_twin, others_of
from podinsight.adapters.database.units import CHUNK_LANE, ENDED, ENQUEUE_LOCK, is_awaited, without
from podinsight.domain.episode import Episode
from podinsight.domain.held import (
    WAITS_FOR_APPROVAL,
    WAITS_FOR_AUDIO,
    WAITS_FOR_PLAN,
    WAITS_FOR_TWIN,
    awaited,
    unapproved,
)
from podinsight.domain.same_audio import Twin, find_twin
from podinsight.domain.work import Lease, Span, State
from podinsight.errors import LeaseLost
from podinsight.topology import STAGES

_PLAN_LANE = STAGES["plan"].lane
_APPROVALS = 200  # a transaction: each row goes its own way, so each costs several statements
_WHOLE = Span(0, 0.0, None)


class Transcriptions(Twins):
    """The part of ports.WorkRows that makes transcriptions claimable."""

    def _add_transcriptions(
        self,
        conn: Connection,
        moves: LaneMoves,
        ids: Sequence[str],
        priority: int,
        params: Mapping[str, object],
        quoted_seconds: Mapping[str, float] | None = None,
    ) -> int:
        added, quoted = 0, quoted_seconds if params.get("approved") else None
        for lane in (CHUNK_LANE, _PLAN_LANE):  # under the lock, so that a release never has to make it
            lane_ids(self._db, conn, lane, priority, [""])
        for batch in batches(ids):
            missing = self._without_row(conn, batch, "transcribe")
            fetched = [row.id for row in missing if row.audio_key]
            query = episode_query().where(episodes.c.id.in_(fetched))
            known = {row.id: to_episode(row) for row in conn.execute(query)} if fetched else {}
            lost = self._lost(conn, [row.id for row in missing if not row.audio_key])
            for row in (row for row in missing if row.id in lost):
                added += self._insert_work(conn, moves, "transcribe", [row], priority, params, *lost[row.id])
            groups = self._grouped(conn, [row for row in missing if row.id not in lost], known, params)
            for (reason, taken), rows in groups.items():
                said = taking(params, taken)
                state = State.HELD if reason else State.WAITING
                added += self._insert_work(conn, moves, "transcribe", rows, priority, said, state, reason, quoted)
                for row in rows if not reason else []:
                    self._add_chunks(conn, moves, known[row.id], priority, [_WHOLE])
            to_plan = self._without_row(conn, [row.id for row in groups[WAITS_FOR_PLAN, None]], "plan")
            self._insert_work(conn, moves, "plan", to_plan, priority, {})
        return added

    def _grouped(
        self, conn: Connection, rows: Sequence[Row[Any]], known: Mapping[str, Episode], params: Mapping[str, object]
    ) -> dict[tuple[str, str | None], list[Row[Any]]]:
        """New rows by what they are held for, and by whose transcript they take; each sees those before it."""
        groups: dict[tuple[str, str | None], list[Row[Any]]] = defaultdict(list)
        others = self._twins(conn, known.values())
        for row in rows:
            episode = known.get(row.id)
            twin = find_twin(episode, params, others_of(episode, others)) if episode is not None else None
            reason = awaited(episode, params, planned=False, twin=twin)
            groups[reason, _taken(twin)].append(row)
            if episode is not None and is_awaited(State.HELD if reason else State.WAITING, reason):
                add_twin(others, Twin(episode, taking(params, _taken(twin)), ready=False))
        return groups

    def _lost(self, conn: Connection, ids: Sequence[str]) -> dict[str, tuple[State, str]]:
        """How the transcriptions of those of these episodes end whose fetch has ended without audio."""
        query = (
            select(work.c.episode_id, work.c.state, work.c.reason)
            .where(work.c.episode_id.in_(ids), work.c.stage == "fetch", state_is(work, *ENDED))
            .order_by(work.c.episode_id)
            .with_for_update()
        )
        rows = conn.execute(query).all() if ids else []
        return {row.episode_id: (State(row.state), without("fetch", row.reason)) for row in rows}

    def approve(
        self,
        by: str,
        episode_ids: Sequence[str] | None = None,
        models: Mapping[str, str] | None = None,
        quoted_seconds: Mapping[str, float] | None = None,
    ) -> int:
        if not by:
            raise ValueError("an approval says whose it is")
        ids = self.waiting_for_approval() if episode_ids is None else list(dict.fromkeys(episode_ids))
        approved = 0
        for batch in batches(ids, _APPROVALS):
            with self._transition() as (conn, moves):
                self._db.lock(conn, ENQUEUE_LOCK)  # of two with the same audio the second sees that the first goes on
                query = (
                    select(work.c.id, work.c.episode_id, work.c.reason, work.c.params)
                    .where(work.c.episode_id.in_(batch), self._unapproved)
                    .order_by(work.c.episode_id)
                    .with_for_update()
                )
                for row in conn.execute(query).all():
                    if models is not None and models.get(row.episode_id) != row.params.get("model"):
                        continue
                    params = {**row.params, "approved": by} | quoted_for(row.episode_id, quoted_seconds)
                    conn.execute(update(work).where(work.c.id == row.id).values(params=params))
                    self.release_transcribe(conn, moves, row.episode_id)
                    approved += row.reason == WAITS_FOR_APPROVAL
        return approved

    def waiting_for_approval(self, episode_ids: Sequence[str] | None = None) -> list[str]:
        query = self._waiting()
        with self._db.read() as conn:
            if episode_ids is None:
                return list(conn.execute(query).scalars())
            of_batches = (query.where(work.c.episode_id.in_(batch)) for batch in batches(episode_ids))
            return [episode_id for each in of_batches for episode_id in conn.execute(each).scalars()]

    def count_waiting_for_approval(self) -> int:
        with self._db.read() as conn:
            return int(conn.execute(self._how_many()).scalar_one())

    def _how_many(self) -> Select[Any]:
        return select(func.count()).select_from(work).where(self._unapproved)

    def _waiting(self) -> Select[Any]:
        query = select(episodes.c.id).join(work, work.c.episode_id == episodes.c.id).where(self._unapproved)
        return query.order_by(episodes.c.seq)

    @property
    def _unapproved(self) -> TextClause:
        return text(UNAPPROVED["sqlite" if self._db.is_sqlite else "postgresql"])

    def decode_instead(self, lease: Lease) -> None:
        with self._transition() as (conn, moves):
            unit = self._held_row(conn, lease)
            moves.spent[lease.token] = Spent(heard=False)
            self._drop_chunks(conn, moves, [unit])
            row = self._transcribe_row(conn, lease.episode_id)
            if row is None:
                raise LeaseLost(f"the transcription of episode {lease.episode_id} is gone")
            twin = row.params.get("same_as")
            whose = "the publisher's transcript" if twin is None else f"the transcript of {twin}, the same audio,"
            record_run(conn, self._clock, lease, "handed back", f"{whose} cannot be used")
            unusable = [*row.params.get("not_from", ()), twin]
            instead = {"publisher": False} if twin is None else {"not_from": unusable}
            self._advance(conn, moves, row, {**row.params, **instead})

    def release_transcribe(self, conn: Connection, moves: LaneMoves, episode_id: str) -> bool:
        """What a transcribe row was held for may be there now: it goes as far as it can. False: none was held."""
        row = self._transcribe_row(conn, episode_id)
        if row is None or row.state != State.HELD.value or self._has_chunks(conn, episode_id):
            return False
        self._advance(conn, moves, row, row.params)
        return True

    def _has_chunks(self, conn: Connection, episode_id: str) -> bool:
        """Then it is its chunks that are held."""
        return conn.execute(select(chunks.c.id).where(chunks.c.episode_id == episode_id).limit(1)).first() is not None

    def release_twins(self, waited_seconds: float) -> int:
        until = self._clock.now() - waited_seconds
        with self._db.read() as conn:
            if not self._any_waiting_since(conn, until):
                return 0
        with self._transition() as (conn, moves):
            self._db.lock(conn, ENQUEUE_LOCK)
            return sum(self._go_on(conn, moves, row) for row in self._waiting_since(conn, until))

    def _let_go(self, conn: Connection, moves: LaneMoves, episode_id: str) -> None:
        for row in self._waiting_for(conn, episode_id):
            self._go_on(conn, moves, row)

    def _go_on(self, conn: Connection, moves: LaneMoves, row: Row[Any]) -> bool:
        """A row that is held for its twin goes as far as it can. Returns whether it goes on."""
        return self._advance(conn, moves, row, row.params) != WAITS_FOR_TWIN

    def _advance(self, conn: Connection, moves: LaneMoves, row: Row[Any], params: Mapping[str, object]) -> str:
        """A transcribe row without chunks gets them, or is held for what is missing; a plan that is missing is made.
        Returns what it is held for."""
        # The plan is read under the transcribe row's lock, and only one that has ended is written to: who ends one
        # locks it first and the transcribe row after it.
        plan = conn.execute(select(work).where(work.c.episode_id == row.episode_id, work.c.stage == "plan")).first()
        made = plan.result["detail"] if plan is not None and plan.state == State.DONE.value else None
        episode = self._episode(conn, row.episode_id)
        twin = self._twin(conn, episode, params)
        params = taking(params, _taken(twin))
        reason = awaited(episode, params, planned=made is not None, twin=twin)
        if reason:
            if reason == WAITS_FOR_PLAN:
                self._want_plan(conn, moves, plan, row)
            if reason == WAITS_FOR_APPROVAL:
                params = unapproved(params)
            self._move(conn, moves, work, row, State.HELD, reason, params=params)
            return reason
        spans = [_WHOLE]
        if made is not None and awaited(episode, params, planned=False, twin=twin):
            spans, params = [Span(*span) for span in made["spans"]], {**params, "plan": made["folder"]}
        self._add_chunks(conn, moves, episode, row.priority, spans)
        self._move(conn, moves, work, row, State.WAITING, "", params=params)
        return reason

    def _want_plan(self, conn: Connection, moves: LaneMoves, plan: Row[Any] | None, row: Row[Any]) -> None:
        """Makes the plan's row, or starts over one that has ended without a plan."""
        if plan is None:
            missing = self._without_row(conn, [row.episode_id], "plan")
            self._insert_work(conn, moves, "plan", missing, row.priority, {})
        elif State(plan.state) in ENDED:
            self._move(conn, moves, work, plan, State.WAITING, "", attempts=0, losses=0, not_before=None)

    def _transcribe_row(self, conn: Connection, episode_id: str) -> Row[Any] | None:
        """The transcribe row of an episode with its priority, locked."""
        query = (
            select(work, lanes.c.priority)
            .join(lanes, lanes.c.id == work.c.lane_id)
            .where(work.c.episode_id == episode_id, work.c.stage == "transcribe")
        )
        return conn.execute(query.with_for_update(of=work)).first()

    def _drop_plan(self, conn: Connection, moves: LaneMoves, row: Row[Any] | None) -> None:
        """Nobody needs a plan any more: its row goes, unless it is made just now or was made."""
        if row is None or State(row.state) in (State.RUNNING, State.DONE):
            return
        moves.move(row.lane_id, State(row.state), None, row.ms)
        conn.execute(work.delete().where(work.c.id == row.id))

    def _restart_fetch(self, conn: Connection, moves: LaneMoves, row: Row[Any]) -> bool:
        self._move(conn, moves, work, row, State.WAITING, "", attempts=0, losses=0)
        follower = self._transcribe_row(conn, row.episode_id)
        if follower is not None and State(follower.state) in ENDED:
            self._move(conn, moves, work, follower, State.HELD, WAITS_FOR_AUDIO)
        return True

    def _restart_plan(self, conn: Connection, moves: LaneMoves, row: Row[Any]) -> bool:
        self._move(conn, moves, work, row, State.WAITING, "", attempts=0, losses=0, not_before=None)
        follower = self._transcribe_row(conn, row.episode_id)
        if follower is not None and State(follower.state) in ENDED:
            self._move(conn, moves, work, follower, State.HELD, WAITS_FOR_PLAN)
        return True

    def _restart_transcribe(self, conn: Connection, moves: LaneMoves, found: Row[Any]) -> bool:
        row = self._transcribe_row(conn, found.episode_id)
        if row is None or State(row.state) not in ENDED:
            return True  # it went along with its fetch or its plan just now
        units = conn.execute(select(chunks).where(chunks.c.episode_id == row.episode_id)).all()
        over = [unit for unit in units if State(unit.state) in (*ENDED, State.HELD)]
        if over:
            for unit in over:  # a join that finds parts gone or unreadable says so itself (lose_parts)
                self._move(conn, moves, chunks, unit, State.WAITING, "", attempts=0, losses=0)
            conn.execute(update(work).where(work.c.id == row.id).values(losses=0))
            return True
        fetch = select(work.c.state).where(work.c.episode_id == row.episode_id, work.c.stage == "fetch")
        fetched = conn.execute(fetch).scalar_one_or_none()
        if not self._episode_row(conn, row.episode_id).audio_key and fetched in [state.value for state in ENDED]:
            return False
        self._advance(conn, moves, row, row.params)
        return True


def taking(params: Mapping[str, object], twin: str | None) -> dict[str, object]:
    """The params of a row that takes the transcript of the episode `twin`, or nobody's."""
    others = {name: value for name, value in params.items() if name != "same_as"}
    return others if twin is None else {**others, "same_as": twin}


def _taken(twin: Twin | None) -> str | None:
    return twin.episode.id if twin is not None and twin.ready else None
