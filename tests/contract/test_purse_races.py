"""Scenario 13: threads and processes race for an episode's last $3; never a micro-dollar over (G2)."""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from podinsight.adapters.database import SqlStore
from podinsight.domain.budget import Limits, Scope
from podinsight.domain.money import micros
from podinsight.ports import Reservation
from tests.support.spending import recount_money, spend_all

THREADS, PROCESSES = 100, 8


@pytest.fixture(params=["file", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        return f"sqlite:///{tmp_path / 'podinsight.db'}"
    return str(request.getfixturevalue("postgres_with_schema"))


@pytest.fixture(scope="module")
def processes() -> Iterator[Executor]:
    with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


def race(pool: Executor, url: str, racers: int, tries: int, *store: SqlStore) -> list[Any]:
    started = [pool.submit(spend_all, url, racer, "e1", tries, *store) for racer in range(racers)]
    return [future.result(timeout=90) for future in started]


def check(store: SqlStore, results: list[Any]) -> None:
    """Never over; and it was the ceiling that ended it, not a want of tries."""
    assert max(most for most, _let_in in results) <= micros(3)
    budget = store.purse.budget(Scope.ITEM, "e1")
    assert micros(1) < budget.spent + budget.reserved <= micros(3)
    assert sum(let_in for _most, let_in in results) > 15
    recount_money(store)


def test_a_hundred_threads(store: SqlStore, database_url: str) -> None:
    with ThreadPoolExecutor(THREADS) as threads:
        check(store, race(threads, database_url, THREADS, 3, store))


def test_eight_processes(store: SqlStore, database_url: str, processes: Executor) -> None:
    check(store, race(processes, database_url, PROCESSES, 40))


def test_one_token_of_a_hundred_is_reserved_and_spent_once(store: SqlStore, another: Callable[[], SqlStore]) -> None:
    purses, asked = [another().purse for _ in range(4)], Reservation("t", 7, episode_id="e1")
    with ThreadPoolExecutor(20) as threads:
        refused = threads.map(lambda n: purses[n % 4].reserve(asked, Limits().ceilings()), range(THREADS))
        assert set(refused) == {None}
        assert store.purse.open(Scope.ITEM, "e1") == 7
        assert sum(threads.map(lambda n: purses[n % 4].release("t"), range(THREADS))) == 1
        assert sum(threads.map(lambda n: purses[n % 4].settle("t", []), range(THREADS))) == 1
    recount_money(store)
