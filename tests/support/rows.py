"""Work rows for tests: episodes in every state, and a recount of everything that the lanes claim."""

from collections import Counter
from collections.abc import Callable
from functools import wraps
from io import BytesIO
from typing import Any, cast

from sqlalchemy import select

from podinsight.adapters.database import SqlStore
from podinsight.adapters.database.models import chunks, lanes, metadata, work
from podinsight.adapters.database.units import table_of
from podinsight.domain.episode import FetchedAudio, TranscriptFiles
from podinsight.domain.feed import Document, FeedItem, ParsedFeed
from podinsight.domain.work import IN_FLIGHT_STATES, Lease, Span, State, aggregate
from podinsight.ports import WorkRows
from podinsight.topology import STAGE_OF_LANE
from tests.support.clock import ManualClock

PARAMS = {"model": "tiny.en"}
FILES = TranscriptFiles((("stage/x/attempts/t/t.json", "stage/x/transcripts/t.json"),), "t.json", "tiny", 9, 60, 2, 2)
LEASE_SECONDS = 90.0


def audio(host: str = "cdn.test") -> FetchedAudio:
    return FetchedAudio("raw/a/t", "raw/a/episode.mp3", 1000, "ab" * 32, "audio/mpeg", 60.0, f"https://{host}/", host)


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


def recount(store: SqlStore) -> None:
    """Lanes equal their rows, a chunked stage equals the aggregate of its chunks, a lease is whole or not there."""
    with store.db.read() as conn:
        units = {table.name: conn.execute(select(table)).all() for table in (work, chunks)}
        lane_rows = conn.execute(select(lanes)).all()
    rows = Counter((row.lane_id, row.state) for of_table in units.values() for row in of_table)
    counted = {(row.id, state.value): getattr(row, f"n_{state.value}") for row in lane_rows for state in State}
    assert {key: count for key, count in counted.items() if count} == dict(rows)
    chunk_states: dict[str, list[State]] = {}
    for row in units["chunks"]:
        chunk_states.setdefault(row.episode_id, []).append(State(row.state))
    for row in units["work"]:
        if row.stage == "transcribe" and row.episode_id in chunk_states:
            assert row.state == aggregate(chunk_states[row.episode_id]), row
    for row in (*units["work"], *units["chunks"]):
        leased = row.state == State.RUNNING and (row in units["chunks"] or row.stage != "transcribe")
        assert (row.token is not None, row.worker is not None, row.lease_until is not None) == (leased,) * 3, row


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
        self, count: int, host: str = "h.test", feed: str = "a", priority: int = 5, transcribe: bool = False
    ) -> list[str]:
        """Episodes with waiting fetch rows."""
        ids = self.episodes(count, host, feed)
        self.work.enqueue_fetch(ids, priority, PARAMS if transcribe else None)
        return ids

    def worker(self, name: str = "w1", pool: str = "fetch", slots: int = 10) -> str:
        self.store.workers.register(name, "machine", pool, 1, slots)
        return name

    def claim(self, episode_id: str, stage: str = "fetch", worker: str = "w1") -> Lease:
        lease = self.work.claim(stage, episode_id, worker, LEASE_SECONDS)
        assert lease is not None
        return lease

    def project(self, stage: str, episode_id: str) -> None:
        for projection in self.store.work.unprojected(10, stage, episode_id):
            self.work.projected(projection)

    def fetch(self, episode_id: str) -> None:
        self.work.commit_fetch(self.claim(episode_id, worker=self.worker()), audio(), 1.0)
        self.project("fetch", episode_id)

    def transcribes(self, count: int, chunks: int = 1, feed: str = "a") -> list[str]:
        """Episodes with audio and waiting chunks; worker `g1` is there."""
        ids = self.fetches(count, feed=feed, transcribe=True)
        self.worker("g1", "gpu", 1)
        for episode_id in ids:
            self.fetch(episode_id)
            if chunks > 1:
                self.add_chunks(episode_id, chunks - 1)
        return ids

    def add_chunks(self, episode_id: str, count: int) -> None:
        """What the plan stage will do: more chunks after the first."""
        episode = self.store.catalogue.episode(episode_id)
        assert episode is not None
        spans = [Span(n, 60.0 * n, 60.0 * (n + 1)) for n in range(1, count + 1)]
        inside = self.store.work
        with inside._transition() as (conn, moves):
            inside._add_chunks(conn, moves, episode_id, episode.feed_id, 5, spans)

    def transcribe(self, episode_id: str) -> None:
        """All of it, projected."""
        lease: Lease | None = self.claim(episode_id, "transcribe", "g1")
        while lease is not None and lease.span is not None and not lease.span.is_join:
            joined = self.work.commit_chunk(lease, f"part-{lease.span.n}", 1.0, LEASE_SECONDS)
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
