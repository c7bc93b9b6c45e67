"""What a transaction on PostgreSQL waits for while it holds something else: nothing that could come to a deadlock."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, func, select, text, update

from podinsight.adapters.database import SqlStore
from podinsight.adapters.database.models import chunks
from podinsight.adapters.database.money_tables import budgets
from podinsight.adapters.database.reservations import read_budgets
from podinsight.domain.budget import PROJECT_KEY, Scope
from podinsight.domain.days import begins_at, day_of, next_day
from podinsight.domain.money import Unit
from podinsight.domain.prices import CUDA
from podinsight.ports import Entry
from tests.conftest import LIMITS, STALE_SECONDS
from tests.support.clock import ManualClock
from tests.support.lobby import wait_for
from tests.support.spending import SECOND, TERMS, Paying

WAITS_FOR = text("SELECT count(*) FROM pg_stat_activity WHERE :pid = ANY(pg_blocking_pids(pid))")


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("postgres_with_schema"))


@pytest.fixture
def paying(store: SqlStore, clock: ManualClock) -> Paying:
    return Paying(SqlStore(store.db, clock, LIMITS, STALE_SECONDS, TERMS), clock)


@pytest.fixture
def wait_for_waiter(another: Callable[[], SqlStore]) -> Callable[[Connection], None]:
    """Waits until somebody waits for what this connection has locked."""
    watching = another().db

    def wait(holder: Connection) -> None:
        pid = holder.execute(select(func.pg_backend_pid())).scalar_one()

        def waits() -> bool:
            with watching.read() as conn:
                return bool(conn.execute(WAITS_FOR, {"pid": pid}).scalar_one())

        wait_for(waits, 20)

    return wait


def test_a_claim_that_waited_in_vain_lets_go_before_it_waits_again(
    paying: Paying, another: Callable[[], SqlStore], wait_for_waiter: Callable[[Connection], None]
) -> None:
    """It would else hold chunks in an order of its own: a claim and a worker's end could each wait for the other."""
    episode_id = paying.planned(2)
    of_first, of_second = (chunks.c.episode_id == episode_id) & (chunks.c.n == 0), chunks.c.n == 1
    taker, holder = another().db, another().db
    with ThreadPoolExecutor(1) as threads, holder.write() as held:
        held.execute(select(chunks.c.id).where(of_second).with_for_update())
        with taker.write() as taken:
            taken.execute(update(chunks).where(of_first).values(state="delayed"))
            claim = threads.submit(paying.store.work.claim, "transcribe", episode_id, "g1", 90.0)
            wait_for_waiter(taken)
        wait_for_waiter(held)
        held.execute(select(chunks.c.id).where(of_first).with_for_update(nowait=True))
        held.rollback()
        lease = claim.result(timeout=60)
    assert lease is not None
    assert lease.span is not None
    assert lease.span.n == 1


def test_idle_time_of_two_days_is_charged_in_the_order_of_all_budgets(
    paying: Paying, another: Callable[[], SqlStore], wait_for_waiter: Callable[[Connection], None]
) -> None:
    """G1: a claim just after midnight locks the new day, then the month; idle time over midnight is of both days."""
    yesterday = day_of(paying.clock.now())
    today = next_day(yesterday)
    for key in (yesterday, today):
        paying.store.purse.limit(Scope.DAY, key, None)
    for account in ((Scope.MONTH, today[:7]), (Scope.PROJECT, PROJECT_KEY)):
        paying.store.purse.limit(*account, None)
    paying.clock.advance(begins_at(today) - 10 - paying.clock.now())
    paying.device("g1")
    paying.clock.advance(20)
    (meter,) = paying.store.workers.meters("gpu")
    entries = {day: Entry("idle", "idle", ms, Unit.MILLISECONDS, 3600 * SECOND, CUDA) for day, ms in meter.by_day()}
    with ThreadPoolExecutor(1) as threads, another().db.write() as claiming:
        read_budgets(claiming, [(Scope.DAY, today)], lock=True)
        metered = threads.submit(paying.store.workers.metered, meter, entries)
        wait_for_waiter(claiming)
        claiming.execute(select(budgets).where(budgets.c.scope == Scope.MONTH.value).with_for_update(nowait=True))
        claiming.rollback()
        assert metered.result(timeout=60)
    assert paying.budget(Scope.DAY, yesterday) == paying.budget(Scope.DAY, today) == (10 * SECOND, 0)
    assert paying.budget(Scope.MONTH, today[:7]) == (20 * SECOND, 0)
