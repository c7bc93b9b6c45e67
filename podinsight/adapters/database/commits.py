"""Writes that end a unit with a result, each under its fence, and the projection that follows."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from podinsight.adapters.database.again import Again
from podinsight.adapters.database.catalogue_tables import episodes
from podinsight.adapters.database.episode_rows import audio_columns, episode_query, to_episode
from podinsight.adapters.database.history import record_run
from podinsight.adapters.database.hosts import stored_limits, utc_day
from podinsight.adapters.database.lanes import LaneMoves
from podinsight.adapters.database.leases import Leases
from podinsight.adapters.database.models import chunks, inline, leftovers, state_is, work
from podinsight.adapters.database.speech_days import add_speech
from podinsight.adapters.database.spending import Spent
from podinsight.adapters.database.units import ENQUEUE_LOCK, JOIN_N, column_values, set_aside
from podinsight.domain.episode import Episode, FetchedAudio, Projection, PublisherTranscript, TranscriptFiles
from podinsight.domain.held import WAITS_FOR_PLAN
from podinsight.domain.work import Lease, Span, State
from podinsight.errors import LeaseLost
from podinsight.ports import Decoded
from podinsight.ports.work import NO_DEVICE
from podinsight.topology import STAGES


def _as_committed(known: Episode, columns: Mapping[str, Any]) -> Episode:
    """An episode as it will be once the columns of a result are written."""
    fields = dict(columns)
    if "publisher" in fields:
        fields["publisher"] = tuple(PublisherTranscript(**each) for each in fields["publisher"])
    return replace(known, **fields)


class Commits(Again, Leases):
    """The part of ports.WorkRows that commits."""

    def commit_fetch(self, lease: Lease, audio: FetchedAudio, wall_seconds: float, received: int | None = None) -> None:
        with self._transition() as (conn, moves):
            row = self._held_row(conn, lease)
            result = self._fetched(conn, lease.episode_id, audio)
            moves.spent[lease.token] = Spent(wall_seconds, audio.size if received is None else received)
            self._move(conn, moves, work, row, State.DONE, "", result=result, projected=False)
            moves.downloads[row.feed_id].update(downloaded=1, received=audio.size)
            record_run(conn, self._clock, lease, "done", wall_seconds=wall_seconds)

    def _fetched(self, conn: Connection, episode_id: str, audio: FetchedAudio) -> dict[str, object]:
        return {
            "episode": {
                **audio_columns(audio),
                "fetched_at": self._clock.now(),
                "host": stored_limits(conn, self._limits).key(audio.final_host),
                "same_as": self._same_audio(conn, episode_id, audio),
                "publisher": [asdict(each) for each in audio.publisher],
            },
            "copies": [[audio.attempt_key, audio.audio_key], *map(list, audio.copies)],
            "detail": asdict(audio),
        }

    def commit_plan(self, lease: Lease, folder: str, spans: Sequence[Span], wall_seconds: float) -> None:
        with self._transition() as (conn, moves):
            row = self._held_row(conn, lease)
            episode = self._episode(conn, lease.episode_id)
            result = {
                "episode": {},
                "copies": [[f"{folder}/plan.json", episode.plan_name]],
                "detail": {"folder": folder, "spans": [[span.n, span.start, span.end] for span in spans]},
            }
            moves.spent[lease.token] = Spent(wall_seconds)
            self._move(conn, moves, work, row, State.DONE, "", result=result, projected=False)
            if not self.release_transcribe(conn, moves, lease.episode_id):
                conn.execute(insert(leftovers).values(prefix=f"{folder}/", at=self._clock.now()))
            record_run(conn, self._clock, lease, "done", wall_seconds=wall_seconds)

    def commit_chunk(self, lease: Lease, part_key: str, took: Decoded, lease_seconds: float) -> Lease | None:
        with self._transition() as (conn, moves):
            row = self._held_row(conn, lease)
            moves.spent[lease.token] = Spent(model=took.model, heard=took.device != NO_DEVICE)
            self._move(conn, moves, chunks, row, State.DONE, "", part_key=part_key, losses=0)
            self._forget_losses(conn, lease.episode_id)
            record_run(conn, self._clock, lease, "done", took=took)
            add_speech(self._db, conn, utc_day(self._clock.now()), took)
            state = self._follow_chunks(conn, moves, lease.episode_id)
            return self._lease_join(conn, moves, lease, row, lease_seconds) if state is State.DONE else None

    def _forget_losses(self, conn: Connection, episode_id: str) -> None:
        """Of the chunks that are still to be done. One that is locked is just moving, and has the next commit."""
        siblings = (
            select(chunks.c.id)
            .where(
                chunks.c.episode_id == episode_id,
                chunks.c.losses > 0,
                state_is(chunks, State.WAITING, State.DISPATCHED, State.RUNNING, State.DELAYED),
            )
            .with_for_update(skip_locked=True)
        )
        ids = conn.execute(siblings).scalars().all()
        if ids:
            conn.execute(update(chunks).where(chunks.c.id.in_(ids)).values(losses=0))

    def _lease_join(
        self, conn: Connection, moves: LaneMoves, lease: Lease, last: Row[Any], lease_seconds: float
    ) -> Lease:
        """Makes the join, already leased to who committed the last chunk. If that worker dies, it is a unit like
        any other and goes back to its lane."""
        key = {"episode_id": lease.episode_id, "n": JOIN_N}
        conn.execute(
            insert(chunks).values(
                key
                | {"feed_id": last.feed_id, "stage": "transcribe", "lane_id": last.lane_id, "rank": last.rank}
                | {"start": 0.0, "end": None}
                | column_values(State.WAITING, "", self._clock.now())
            )
        )
        moves.move(last.lane_id, None, State.WAITING, 0)
        row = conn.execute(select(chunks).where(chunks.c.episode_id == key["episode_id"], chunks.c.n == JOIN_N)).one()
        return self._lease(conn, moves, chunks, row, lease.worker, lease_seconds)

    def parts(self, episode_id: str) -> list[str]:
        with self._db.read() as conn:
            query = select(chunks.c.part_key).where(chunks.c.episode_id == episode_id, chunks.c.n >= 0)
            return [str(key) for key in conn.execute(query.order_by(chunks.c.n)).scalars()]

    def lose_parts(self, lease: Lease, part_keys: Sequence[str], reason: str) -> None:
        with self._transition() as (conn, moves):
            join = self._held_row(conn, lease)
            lost = (chunks.c.episode_id == lease.episode_id) & chunks.c.part_key.in_(part_keys)
            units = conn.execute(select(chunks).where(lost).order_by(chunks.c.id).with_for_update()).all()
            parent = self._transcribe_row(conn, lease.episode_id)
            if not units or parent is None:
                raise LeaseLost(f"episode {lease.episode_id} has none of these parts")
            losses = int(parent.losses) + 1
            conn.execute(update(work).where(work.c.id == parent.id).values(losses=losses))
            self._leave_behind(conn, join)
            self._undo_chunks(conn, moves, losses, [join, *units], reason)
            record_run(conn, self._clock, lease, "parts lost", reason)

    def commit_transcript(self, lease: Lease, files: TranscriptFiles) -> None:
        result = {
            "episode": {"transcript_key": files.transcript_key, "model": files.model},
            "copies": [list(pair) for pair in files.files],
            "detail": asdict(replace(files, files=())),
        }
        with self._transition() as (conn, moves):
            row = self._held_row(conn, lease)
            self._move(conn, moves, chunks, row, State.DONE, "", losses=0)
            parent = conn.execute(
                select(work).where(work.c.episode_id == lease.episode_id, work.c.stage == lease.stage).with_for_update()
            ).one()
            self._move(conn, moves, work, parent, State.DONE, files.kept, result=result, projected=False)
            record_run(conn, self._clock, lease, "done", wall_seconds=files.wall_seconds)

    def unprojected(self, limit: int, stage: str | None = None, episode_id: str | None = None) -> list[Projection]:
        query = select(work).where(work.c.projected == inline(False)).order_by(work.c.changed_at).limit(limit)
        if stage is not None:
            query = query.where(work.c.stage == stage)
        if episode_id is not None:
            query = query.where(work.c.episode_id == episode_id)
        with self._db.read() as conn:
            found: list[Projection] = []
            for row in conn.execute(query).all():
                known = to_episode(conn.execute(episode_query().where(episodes.c.id == row.episode_id)).one())
                episode = _as_committed(known, row.result["episode"])
                copies = tuple((str(source), str(target)) for source, target in row.result["copies"])
                found.append(Projection(row.id, row.stage, episode, copies, episode.scratch(row.stage)))
            return found

    def projected(self, projection: Projection) -> bool:
        episode_id = projection.episode.id
        with self._transition() as (conn, moves):
            # Who enqueues sees the audio, or is seen here: else a row could be held for audio that is there.
            self._db.lock(conn, ENQUEUE_LOCK, shared=True)
            self._lock_audio(conn, projection.episode)
            row = self._unprojected_row(conn, projection)
            if row is None:
                return False
            conn.execute(update(work).where(work.c.id == row.id).values(projected=True, losses=0))
            if row.result["episode"]:
                columns = row.result["episode"] | self._to_register(row.result["episode"])
                conn.execute(update(episodes).where(episodes.c.id == episode_id).values(columns))
            if row.stage == "fetch":
                self.release_transcribe(conn, moves, episode_id)
            if row.stage == "transcribe":
                moves.settled.add(episode_id)
            return True

    def _to_register(self, columns: Mapping[str, object]) -> dict[str, object]:
        """What landed just now waits to be registered in the table of all segments."""
        return {"unregistered": self._clock.now()} if columns.get("transcript_key") else {}

    def postpone(self, projection: Projection) -> None:
        behind = update(work).where(work.c.id == projection.work_id, work.c.projected == inline(False))
        with self._db.write() as conn:
            conn.execute(behind.values(changed_at=self._clock.now()))

    def redo(self, projection: Projection, reason: str) -> bool:
        with self._transition() as (conn, moves):
            of_episode = select(chunks).where(chunks.c.episode_id == projection.episode.id).order_by(chunks.c.id)
            units = [] if projection.stage == "fetch" else conn.execute(of_episode.with_for_update()).all()
            row = self._unprojected_row(conn, projection)
            if row is None:
                return False
            conn.execute(update(work).where(work.c.id == row.id).values(projected=True, losses=row.losses + 1))
            if projection.stage == "transcribe":
                self._undo_chunks(conn, moves, int(row.losses) + 1, units, reason)
            elif projection.stage == "fetch" or self._undo_plan(conn, moves, units):
                self._lose(conn, moves, work, row, reason)
            return True

    def _undo_plan(self, conn: Connection, moves: LaneMoves, units: Sequence[Row[Any]]) -> bool:
        """Chunks of a plan that is gone go with it, unless one of them is decoded already: what was paid for stays, and
        a chunk is decoded as well without its plan. Returns whether a plan is to be made again."""
        row = self._transcribe_row(conn, units[0].episode_id) if units else None
        if row is None or any(unit.state == State.DONE.value for unit in units):
            return False
        for unit in units:
            self._leave_behind(conn, unit)
        self._drop_chunks(conn, moves, units)
        params = {name: value for name, value in row.params.items() if name != "plan"}
        self._move(conn, moves, work, row, State.HELD, WAITS_FOR_PLAN, params=params)
        return True

    def _undo_chunks(
        self, conn: Connection, moves: LaneMoves, losses: int, units: Sequence[Row[Any]], reason: str
    ) -> None:
        """Chunks are to be made once more, and the join. The losses are those of the work row, because a chunk's are
        forgotten with each commit."""
        if losses > STAGES["transcribe"].max_losses:
            self._start_chunks_over(conn, moves, units, State.FAILED, set_aside(losses, reason), losses=losses)
        else:
            self._start_chunks_over(conn, moves, units, State.WAITING, reason, losses=losses)

    def _unprojected_row(self, conn: Connection, projection: Projection) -> Row[Any] | None:
        """None when somebody else has made it; also when the work was done over since, so that this is not its own."""
        query = select(work).where(work.c.id == projection.work_id, work.c.projected == inline(False))
        row = conn.execute(query.with_for_update()).first()
        if row is None or row.stage != projection.stage or row.episode_id != projection.episode.id:
            return None
        return row if [tuple(pair) for pair in row.result["copies"]] == list(projection.copies) else None
