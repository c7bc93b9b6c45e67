"""Episodes with the same audio, byte by byte (F10): which there are, and which wait for another's transcript."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, or_, select, text

from podinsight.adapters.database.catalogue_tables import episodes
from podinsight.adapters.database.episode_rows import episode_query, to_episode
from podinsight.adapters.database.models import TWIN_HELD, lanes, state_is, work
from podinsight.adapters.database.new_rows import NewRows
from podinsight.domain.economy import HELD_FOR_ECONOMY
from podinsight.domain.episode import Episode, FetchedAudio
from podinsight.domain.held import WAITS_FOR_PLAN
from podinsight.domain.same_audio import Twin, find_twin, shares
from podinsight.domain.work import State

Audio = tuple[str, int | None]  # sha256 and bytes
_RELEASED = 200  # a transaction: each row costs several statements; reconcile comes to the others


def audio_of(episode: Episode) -> Audio | None:
    """What two episodes must have in common; None before it is known."""
    return (episode.audio_sha256, episode.audio_bytes) if episode.audio_sha256 is not None else None


class Twins(NewRows):
    """The part of ports.WorkRows that knows who has the same audio."""

    def takes_from(self, episode_id: str) -> str | None:
        query = select(work.c.params).where(work.c.episode_id == episode_id, work.c.stage == "transcribe")
        with self._db.read() as conn:
            params = conn.execute(query).scalar_one_or_none()
        return str(params["same_as"]) if params and params.get("same_as") else None

    def shared(self, wishes: Mapping[str, Mapping[str, object]]) -> dict[str, str]:
        found: dict[str, str] = {}
        asking = [episode_id for episode_id, params in wishes.items() if shares(params)]
        with self._db.read() as conn:
            for start in range(0, len(asking), 500):
                query = episode_query().where(episodes.c.id.in_(asking[start : start + 500])).order_by(episodes.c.seq)
                known = [to_episode(row) for row in conn.execute(query)]
                others = self._twins(conn, known)
                for episode in known:
                    twin = find_twin(episode, wishes[episode.id], others_of(episode, others))
                    if twin is not None:
                        found[episode.id] = twin.episode.id
                    else:
                        add_twin(others, Twin(episode, wishes[episode.id], ready=False))
        return found

    def _same_audio(self, conn: Connection, episode_id: str, audio: FetchedAudio) -> str | None:
        """The first earlier episode, of any feed, that has this audio in place."""
        this = self._episode_row(conn, episode_id)
        earlier = (
            select(episodes.c.id)
            .where(
                episodes.c.audio_sha256 == audio.sha256,
                episodes.c.seq < this.seq,
                episodes.c.audio_bytes == audio.size,
                episodes.c.audio_key.is_not(None),
            )
            .order_by(episodes.c.seq)
            .limit(1)
        )
        return conn.execute(earlier).scalar_one_or_none()

    def _lock_audio(self, conn: Connection, episode: Episode) -> None:
        """Of two episodes that get this audio at once one sees the other. To be called before any row is locked."""
        if episode.audio_sha256 is not None:
            self._db.lock(conn, f"audio {episode.audio_sha256}")

    def _twin(self, conn: Connection, episode: Episode, params: Mapping[str, object]) -> Twin | None:
        if not shares(params):
            return None
        return find_twin(episode, params, others_of(episode, self._twins(conn, [episode])))

    def _twins(self, conn: Connection, of: Iterable[Episode]) -> dict[Audio, list[Twin]]:
        """All that have the audio of one of these and are transcribed or will be, in the order of discovery. Whose
        transcript that was there was better than what was decoded last is left out: it was asked for otherwise."""
        sums = sorted({audio[0] for each in of if (audio := audio_of(each)) is not None})
        found: dict[Audio, list[Twin]] = defaultdict(list)
        if not sums:
            return found
        busy = (State.WAITING, State.DISPATCHED, State.RUNNING, State.DELAYED)
        query = (
            episode_query()
            .add_columns(work.c.params, work.c.state, work.c.reason, work.c.projected)
            .join(work, and_(work.c.episode_id == episodes.c.id, work.c.stage == "transcribe"))
            .where(
                episodes.c.audio_sha256.in_(sums),
                or_(
                    state_is(work, *busy),
                    and_(state_is(work, State.DONE), work.c.reason == ""),
                    and_(state_is(work, State.HELD), work.c.reason.in_((WAITS_FOR_PLAN, HELD_FOR_ECONOMY))),
                ),
            )
            .order_by(episodes.c.seq)
        )
        for row in conn.execute(query):
            add_twin(found, Twin(to_episode(row), row.params, row.state == State.DONE.value and row.projected))
        return found

    def _waiting_for(self, conn: Connection, episode_id: str) -> Sequence[Row[Any]]:
        """The transcribe rows that are held for the transcript of this episode's audio, locked. One that is locked is
        just moving; reconcile looks at it again."""
        this = self._episode_row(conn, episode_id)
        if this.audio_sha256 is None:
            return []
        same = episodes.c.audio_sha256 == this.audio_sha256
        return conn.execute(self._held_for_twins().where(same).order_by(episodes.c.seq)).all()

    def _waiting_since(self, conn: Connection, until: float) -> Sequence[Row[Any]]:
        """Those that nobody has looked at since, the longest ago first."""
        return conn.execute(
            self._held_for_twins().where(work.c.changed_at <= until).order_by(work.c.changed_at, work.c.id)
        ).all()

    def _any_waiting_since(self, conn: Connection, until: float) -> bool:
        query = select(work.c.id).where(work.c.stage == "transcribe", text(TWIN_HELD), work.c.changed_at <= until)
        return conn.execute(query.limit(1)).first() is not None

    def _held_for_twins(self) -> Select[Any]:
        return (
            select(work, lanes.c.priority)
            .join(lanes, lanes.c.id == work.c.lane_id)
            .join(episodes, episodes.c.id == work.c.episode_id)
            .where(work.c.stage == "transcribe", text(TWIN_HELD))
            .limit(_RELEASED)
            .with_for_update(of=work, skip_locked=True)
        )


def others_of(episode: Episode, found: Mapping[Audio, Sequence[Twin]]) -> list[Twin]:
    audio = audio_of(episode)
    return [each for each in found.get(audio, ()) if each.episode.id != episode.id] if audio is not None else []


def add_twin(found: dict[Audio, list[Twin]], twin: Twin) -> None:
    audio = audio_of(twin.episode)
    if audio is not None:
        found.setdefault(audio, []).append(twin)
