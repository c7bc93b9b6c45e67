"""Many workers for the last dollars, through their claims: never over, nobody waits for ever, and it all adds up."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, select

from podinsight.adapters.clock import SystemClock
from podinsight.adapters.database import SqlStore
from podinsight.adapters.database.fleet_tables import control
from podinsight.domain.budget import Level, Limits, Scope
from podinsight.domain.days import day_of
from podinsight.domain.money import micros
from podinsight.domain.prices import Terms
from podinsight.domain.work import Lease, State
from tests.conftest import LIMITS, STALE_SECONDS
from tests.support.rows import recount
from tests.support.spending import SECOND, TERMS, Paying, recount_money, work_all

THREADS = 100
WHOLE = 120 * SECOND
AT_ONCE = 8


@pytest.fixture(params=["file", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        return f"sqlite:///{tmp_path / 'podinsight.db'}"
    return str(request.getfixturevalue("postgres_with_schema"))


@pytest.fixture
def paying(store: SqlStore) -> Iterator[Paying]:
    """With a clock that goes on."""
    clock = SystemClock()
    yield Paying(SqlStore(store.db, clock, LIMITS, STALE_SECONDS, TERMS), clock)  # type: ignore[arg-type]
    recount(store)
    recount_money(store)


def claim_all(paying: Paying, episode_ids: list[str]) -> list[Lease]:
    """Each of a hundred workers claims one chunk at once."""
    workers = [paying.device(f"g{n}") for n in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as threads:
        claims = [
            threads.submit(paying.store.work.claim, "transcribe", episode_ids[n % len(episode_ids)], worker, 90.0)
            for n, worker in enumerate(workers)
        ]
        return [lease for claim in claims if (lease := claim.result(timeout=120)) is not None]


def test_scenario_13_a_hundred_workers_claim_the_last_three_dollars(paying: Paying) -> None:
    """Never more reserved than the ceiling, and not a chunk less than fits."""
    episode_id = paying.planned(THREADS)
    leases = claim_all(paying, [episode_id])
    assert len(leases) == micros(3) // WHOLE == 25
    assert paying.budget(Scope.ITEM, episode_id) == (0, 25 * WHOLE)
    states = paying.chunk_states(episode_id)
    assert states.count(State.RUNNING) == 25
    assert State.DISPATCHED not in states
    for lease in leases:
        paying.store.work.hand_back(lease)
    recount_money(paying.store)
    assert paying.open() == []


def test_a_hundred_that_are_refused_freeze_once(paying: Paying) -> None:
    """G3: the same stop, one row of control, one alert."""
    tight = paying.under(replace(TERMS, limits=replace(Limits(), gpu_day=Level((), 5 * WHOLE))))
    leases = claim_all(tight, [tight.planned(4) for _ in range(25)])
    assert len(leases) == 5
    assert tight.budget(Scope.GPU_DAY, day_of(tight.clock.now())) == (0, 5 * WHOLE)
    assert tight.store.control.read().gpu_frozen
    assert len(tight.store.alerts.unsent(10)) == 1
    with tight.store.db.read() as conn:
        assert conn.execute(select(func.count()).select_from(control)).scalar_one() == 1


@pytest.mark.parametrize("terms", [TERMS, replace(TERMS, limits=Limits(Level((), 500 * SECOND)))])
def test_workers_that_claim_renew_commit_and_die_lock_nobody_out(
    paying: Paying, another: Callable[[], SqlStore], terms: Terms
) -> None:
    """No deadlock (PostgreSQL would end one of the two after a second, and the call with it), and never over."""
    tight = paying.under(terms)
    ids = [tight.planned(6) for _ in range(4)]
    stores = [SqlStore(another().db, SystemClock(), LIMITS, STALE_SECONDS, terms) for _ in range(2)]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        racers = [threads.submit(work_all, "", n, ids, stores[n % 2]) for n in range(AT_ONCE)]
        joined = [episode_id for racer in racers for episode_id in racer.result(timeout=120)]
    assert len(joined) == len(set(joined))
    ceiling = terms.limits.item.stop
    assert ceiling is not None
    for episode_id in ids:
        assert sum(tight.budget(Scope.ITEM, episode_id)) <= ceiling
