"""Several threads and processes at one database: nothing is done twice, no window and no host overfills."""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from podinsight.adapters.database import SqlStore
from podinsight.domain.feed import FeedItem
from podinsight.domain.work import State
from podinsight.ports import StageCount
from tests.support.racers import dispatch_all, enqueue_all, fetch_all, open_fresh, transcribe_all
from tests.support.rows import APPROVED, PARAMS, Rows, audio, recount

Race = Callable[..., list[Any]]


@pytest.fixture(scope="module")
def processes() -> Iterator[Executor]:
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.fixture(
    params=["memory-threads", "file-threads", "file-processes", "postgresql-threads", "postgresql-processes"]
)
def way(request: pytest.FixtureRequest) -> str:
    """Who races where; a database in memory belongs to one process."""
    return str(request.param)


@pytest.fixture
def database_url(request: pytest.FixtureRequest, way: str, tmp_path: Path) -> str:
    match way.partition("-")[0]:
        case "memory":
            return "sqlite://"
        case "file":
            return f"sqlite:///{tmp_path / 'podinsight.db'}"
        case _:
            return str(request.getfixturevalue("postgres_with_schema"))


@pytest.fixture
def race(request: pytest.FixtureRequest, way: str, store: SqlStore, database_url: str) -> Race:
    """Runs a function of tests.support.racers in several threads of this process, or in several processes."""
    if way.endswith("processes"):
        pool: Executor = request.getfixturevalue("processes")

        def run(function: Callable[..., Any], racers: int, *args: object) -> list[Any]:
            started = [pool.submit(function, database_url, racer, *args) for racer in range(racers)]
            return [future.result(timeout=60) for future in started]

    else:

        def run(function: Callable[..., Any], racers: int, *args: object) -> list[Any]:
            with ThreadPoolExecutor(racers) as threads:
                started = [threads.submit(function, "", racer, *args, store) for racer in range(racers)]
                return [future.result(timeout=60) for future in started]

    return run


def test_each_unit_is_done_once(rows: Rows, race: Race) -> None:
    ids = rows.fetches(200)
    done = [episode_id for each in race(fetch_all, 8, ids) for episode_id in each]
    assert sorted(done) == sorted(ids)
    assert rows.store.work.counts() == [StageCount("fetch", State.DONE, 200)]
    recount(rows.store)


def test_four_dispatchers_never_overfill_the_window(rows: Rows, race: Race) -> None:
    ids = rows.fetches(30, "a.megaphone.fm", priority=9) + rows.fetches(30, "b.megaphone.fm", feed="b", priority=0)
    ids += rows.fetches(40, "free.test", feed="c", priority=0)
    results = race(dispatch_all, 4, 7)
    assert sorted(episode_id for got, _most, _at_host in results for episode_id in got) == sorted(ids)
    assert max(most for _got, most, _at_host in results) <= 7
    assert max(at_host for _got, _most, at_host in results) <= 7
    recount(rows.store)


def test_no_host_passes_its_limit_under_four_dispatchers(rows: Rows, race: Race) -> None:
    for priority in (0, 5, 9):
        rows.fetches(12, "cdn.megaphone.fm", priority=priority)
    results = race(dispatch_all, 4, 20)
    assert max(at_host for _got, _most, at_host in results) <= 5
    assert sum(len(got) for got, _most, _at_host in results) == 36
    recount(rows.store)


def test_each_episode_is_joined_once(rows: Rows, race: Race) -> None:
    ids = rows.transcribes(5, chunks=5)
    joined = [episode_id for each in race(transcribe_all, 4, ids) for episode_id in each]
    assert sorted(joined) == sorted(ids)
    recount(rows.store)


def test_each_row_is_made_once(rows: Rows, race: Race) -> None:
    ids = [each for n in range(6) for each in rows.episodes(20, f"h{n}.test", f"f{n}")]
    assert sum(race(enqueue_all, 4, ids)) == len(ids)
    assert rows.store.work.counts() == [
        StageCount("fetch", State.WAITING, len(ids)),
        StageCount("transcribe", State.HELD, len(ids)),
    ]
    recount(rows.store)


@pytest.mark.parametrize("way", ["memory-threads", "file-threads", "postgresql-threads"], indirect=True)
def test_who_enqueues_while_the_audio_arrives_is_not_forgotten(rows: Rows, another: Callable[[], SqlStore]) -> None:
    """However the two fall together, the row does not stay held for audio that is there."""
    ids = rows.fetches(40)
    rows.worker()
    for episode_id in ids:
        rows.store.work.commit_fetch(rows.claim(episode_id), audio(), 1.0)
    projections = rows.store.work.unprojected(len(ids))
    other = another()
    with ThreadPoolExecutor(2) as threads:
        shown = threads.map(rows.store.work.projected, projections)
        made = threads.map(lambda each: other.work.enqueue_transcribe([each], 5, PARAMS, APPROVED), ids)
        assert (len(list(shown)), sum(made)) == (len(ids), len(ids))
    assert set(rows.store.work.states("transcribe", ids).values()) == {(State.HELD, "waits for its plan")}
    assert set(rows.store.work.states("plan", ids).values()) == {(State.WAITING, "")}
    recount(rows.store)


@pytest.mark.parametrize("way", ["memory-threads", "file-threads", "postgresql-threads"], indirect=True)
def test_one_feed_and_one_episode_however_many_add_it(store: SqlStore, another: Callable[[], SqlStore]) -> None:
    stores = [another() for _ in range(4)]
    item = FeedItem("d1", "One", "https://a.test/1.mp3")
    with ThreadPoolExecutor(4) as threads:
        feeds = list(threads.map(lambda each: each.catalogue.add_feed("https://feeds.test/a.xml"), stores))
        episodes = list(threads.map(lambda each: each.catalogue.add_direct(item), stores))
    assert sorted(new for _feed, new in feeds) == [False, False, False, True]
    assert len({feed.id for feed, _new in feeds}) == 1
    assert {episode.id for episode in episodes} == {store.catalogue.first_episodes(None)[0].id}


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_fresh_database_may_be_opened_by_many_at_once(
    request: pytest.FixtureRequest, processes: Executor, tmp_path: Path, database: str
) -> None:
    url = f"sqlite:///{tmp_path}/new.db" if database == "sqlite" else request.getfixturevalue("postgres_url")
    started = [processes.submit(open_fresh, url, racer) for racer in range(4)]
    assert [future.result(timeout=60) for future in started] == [True] * 4
