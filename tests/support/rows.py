"""Work rows for tests: episodes in every state, and a recount of everything that the lanes claim."""

import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from functools import wraps
from io import BytesIO
from typing import Any, cast

from sqlalchemy import select

from podinsight.adapters.database import SqlStore
from podinsight.adapters.database.models import chunks, lanes, metadata, work
from podinsight.adapters.database.units import table_of
from podinsight.domain.episode import FetchedAudio, TranscriptFiles
from podinsight.domain.feed import Document, FeedItem, ParsedFeed
from podinsight.domain.held import WAITS_FOR_PLAN, WAITS_FOR_TWIN, awaited
from podinsight.domain.work import IN_FLIGHT_STATES, OPEN_STATES, Lease, Span, State, aggregate, wait_after_loss
from podinsight.ports import Decoded, WorkRows
from podinsight.topology import STAGE_OF_LANE
from tests.support.clock import ManualClock

PARAMS = {"model": "tiny.en"}
FILES = TranscriptFiles((("stage/x/attempts/t/t.json", "stage/x/transcripts/t.json"),), "t.json", "tiny", 9, 60, 2, 2)
LEASE_SECONDS = 90.0
TOOK = Decoded(60.0, 1.0, 0.9, "tiny.en", "cpu", "int8")  # what decoding a chunk took
APPROVED = "test"


def audio(host: str = "cdn.test", sha256: str | None = None) -> FetchedAudio:
    """A minute, of its own each time unless `sha256` says which."""
    key, sha256 = "raw/a/episode.mp3", sha256 or uuid.uuid4().hex * 2
    return FetchedAudio("raw/a/t", key, 1000, sha256, "audio/mpeg", 60.0, f"https://{host}/", host)


def spans(count: int) -> list[Span]:
    """Chunks of a minute each."""
    return [Span(n, 60.0 * n, 60.0 * (n + 1)) for n in range(count)]


def plan_folder(lease: Lease) -> str:
    return f"stage/a/{lease.episode_id}/chunks/{lease.token}"


def snapshot(store: SqlStore) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table."""
    with store.db.read() as conn:
        return {
            table.name: sorted((tuple(row) for row in conn.execute(select(table))), key=repr)
            for table in metadata.sorted_tables
        }


def in_flight(store: SqlStore, lane: str) -> int:
    """Units of a lane stage that are dispatched or running."""
    busy = [state.value for state in IN_FLIGHT_STATES]
    table = table_of(lane)
    with store.db.read() as conn:
        query = select(table.c.id).where(table.c.stage == STAGE_OF_LANE[lane].name, table.c.state.in_(busy))
        return len(conn.execute(query).all())


_AUDIO = {State.WAITING: "ms_waiting", State.DISPATCHED: "ms_in_flight", State.RUNNING: "ms_in_flight"}


def recount(store: SqlStore) -> None:
    """Lanes equal their rows, a chunked stage equals the aggregate of its chunks, a lease is whole or not there."""
    with store.db.read() as conn:
        units = {table.name: conn.execute(select(table)).all() for table in (work, chunks)}
        lane_rows = conn.execute(select(lanes)).all()
    rows = Counter((row.lane_id, row.state) for of_table in units.values() for row in of_table)
    counted = {(row.id, state.value): getattr(row, f"n_{state.value}") for row in lane_rows for state in State}
    assert {key: count for key, count in counted.items() if count} == dict(rows)
    _recount_audio(lane_rows, [row for of_table in units.values() for row in of_table])
    _recount_transcriptions(store, units["work"], units["chunks"])
    for row in (*units["work"], *units["chunks"]):
        leased = row.state == State.RUNNING and (row in units["chunks"] or row.stage != "transcribe")
        assert (row.token is not None, row.worker is not None, row.lease_until is not None) == (leased,) * 3, row


def _recount_audio(lane_rows: Sequence[Any], units: Sequence[Any]) -> None:
    """Milliseconds of audio, by lane."""
    audio: Counter[tuple[int, str]] = Counter()
    for row in units:
        if row.state in _AUDIO:
            audio[row.lane_id, _AUDIO[State(row.state)]] += row.ms
    held = {(row.id, name): getattr(row, name) for row in lane_rows for name in set(_AUDIO.values())}
    assert {key: ms for key, ms in held.items() if ms} == {key: ms for key, ms in audio.items() if ms}


def _recount_transcriptions(store: SqlStore, work_rows: Sequence[Any], chunk_rows: Sequence[Any]) -> None:
    """A transcription follows its chunks; one without is held for what is missing, and a plan for it is on its way."""
    chunk_states: dict[str, list[State]] = {}
    for row in chunk_rows:
        chunk_states.setdefault(row.episode_id, []).append(State(row.state))
    plans = {row.episode_id: row.state for row in work_rows if row.stage == "plan"}
    for row in (row for row in work_rows if row.stage == "transcribe"):
        if row.episode_id in chunk_states:
            assert row.state == aggregate(chunk_states[row.episode_id]), row
        elif row.state == State.HELD:
            plan = plans.get(row.episode_id)
            if row.reason != WAITS_FOR_TWIN:  # that is up to another row
                episode = store.catalogue.episode(row.episode_id)
                assert row.reason == awaited(episode, row.params, plan == State.DONE), row
            assert row.reason != WAITS_FOR_PLAN or plan in OPEN_STATES, row


class _Checked:
    """The work rows, recounted after every call."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._store.work, name)

        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return method(*args, **kwargs)
            finally:
                recount(self._store)

        return call


class Rows:
    """One store with a manual clock. `work` recounts after every call."""

    def __init__(self, store: SqlStore, clock: ManualClock) -> None:
        self.store, self.clock = store, clock
        self.work = cast(WorkRows, _Checked(store))

    def episodes(self, count: int, host: str = "h.test", feed: str = "a") -> list[str]:
        """More episodes of one feed; their ids in feed order."""
        row, _new = self.store.catalogue.add_feed(f"https://feeds.test/{feed}.xml")
        names = [f"{feed}-{row.episodes + index}" for index in range(count)]
        items = tuple(FeedItem(name, name, f"https://{host}/{name}.mp3") for name in names)
        self.store.catalogue.record_poll(row.id, Document(row.url, BytesIO(b"x")), ParsedFeed(feed, items=items), 0)
        return [episode.id for episode in self.store.catalogue.first_episodes(None, row.id)][row.episodes :]

    def fetches(
        self,
        count: int,
        host: str = "h.test",
        feed: str = "a",
        priority: int = 5,
        transcribe: bool = False,
        approved: str = APPROVED,
    ) -> list[str]:
        """Episodes with waiting fetch rows."""
        ids = self.episodes(count, host, feed)
        self.work.enqueue_fetch(ids, priority, PARAMS if transcribe else None, approved)
        return ids

    def worker(self, name: str = "w1", pool: str = "fetch", slots: int = 10) -> str:
        self.store.workers.register(name, "machine", pool, 1, slots)
        return name

    def claim(self, episode_id: str, stage: str = "fetch", worker: str = "w1") -> Lease:
        lease = self.work.claim(stage, episode_id, worker, LEASE_SECONDS)
        assert lease is not None
        return lease

    def wait_out(self) -> None:
        """What waits because its worker died is due again, and every lease has run out."""
        self.clock.advance(max(wait_after_loss(losses) for losses in range(20)))
        self.work.reconcile(60)

    def project(self, stage: str, episode_id: str) -> None:
        for projection in self.store.work.unprojected(10, stage, episode_id):
            self.work.projected(projection)

    def fetch(self, episode_id: str, sha256: str | None = None) -> None:
        self.work.commit_fetch(self.claim(episode_id, worker=self.worker()), audio(sha256=sha256), 1.0)
        self.project("fetch", episode_id)

    def transcribes(self, count: int, chunks: int = 1, feed: str = "a") -> list[str]:
        """Episodes with audio, a plan and waiting chunks of a minute each; worker `g1` is there."""
        ids = self.fetches(count, feed=feed, transcribe=True)
        self.worker("g1", "gpu", 1)
        for episode_id in ids:
            self.fetch(episode_id)
            self.plan(episode_id, chunks)
        return ids

    def commit_plan(self, episode_id: str, chunks: int = 1) -> Lease:
        """The lease under which the plan was made and committed."""
        lease = self.claim(episode_id, "plan", self.worker("p1", "plan", 1))
        self.work.commit_plan(lease, plan_folder(lease), spans(chunks), 1.0)
        return lease

    def plan(self, episode_id: str, chunks: int = 1) -> None:
        """All of it, projected."""
        self.commit_plan(episode_id, chunks)
        self.project("plan", episode_id)

    def transcribe(self, episode_id: str) -> None:
        """All of it, projected."""
        lease: Lease | None = self.claim(episode_id, "transcribe", "g1")
        while lease is not None and lease.span is not None and not lease.span.is_join:
            joined = self.work.commit_chunk(lease, f"part-{lease.span.n}", TOOK, LEASE_SECONDS)
            lease = joined or self.claim(episode_id, "transcribe", "g1")
        assert lease is not None
        self.work.commit_transcript(lease, FILES)
        self.project("transcribe", episode_id)

    def state(self, episode_id: str, stage: str = "fetch") -> State:
        return self.store.work.states(stage, [episode_id])[episode_id][0]

    def reason(self, episode_id: str, stage: str = "fetch") -> str:
        return self.store.work.states(stage, [episode_id])[episode_id][1]

    def expire(self) -> None:
        """Every lease runs out and is taken back."""
        self.clock.advance(LEASE_SECONDS + 1)
        self.work.reconcile(60)
