"""One price holds for the burn, for what is reserved, for the ledger and for idle time (G1, G2, G5)."""

from dataclasses import replace
from functools import partial

import pytest

from podinsight.adapters.local_fleet import LocalFleet
from podinsight.adapters.memory import MemoryPrices
from podinsight.domain.prices import CUDA, Price
from podinsight.ports import LedgerLine, ObjectStore
from podinsight.services.idle import meter
from podinsight.services.pricing import hour
from podinsight.services.scale import scale
from tests.conftest import STALE_SECONDS
from tests.support.guarding import Guard
from tests.support.rows import LEASE_SECONDS, TOOK, Rows
from tests.support.spending import SECOND, TERMS, recount_money

LISTED = TERMS.prices.device(CUDA)
SPOT = LISTED.micros * 2 // 5


@pytest.fixture
def live() -> MemoryPrices:
    return MemoryPrices({(CUDA, "machine"): SPOT})


@pytest.fixture
def guard(rows: Rows, objects: ObjectStore, live: MemoryPrices) -> Guard:
    """A fleet of workers on a machine whose price a market makes."""
    guard = Guard(rows, objects)
    rate = partial(hour, TERMS.prices, live)
    guard.with_fleet(LocalFleet(guard.store, guard.clock, 4, STALE_SECONDS, rate))
    return guard


def price(line: LedgerLine) -> Price:
    return Price(line.entry.price, line.entry.price_source, line.entry.estimated)


def work_and_wait(guard: Guard, episode_id: str) -> tuple[int, Price, Price]:
    """A tick of the scaler, a chunk and idle time after it: what an hour burns, and at what the ledger has both."""
    scale(guard.ports, guard.rules)
    burns = guard.ports.fleet.state().burn
    lease = guard.rows.claim(episode_id, "transcribe", "g1")
    (kept,) = guard.rows.open()
    assert kept.reservation.micros == -(-burns * 120 // 3600), "two minutes for a minute of audio, at the same price"
    guard.clock.advance(10)
    guard.store.workers.heartbeat("g1")
    assert guard.rows.work.commit_chunk(lease, "part", TOOK, LEASE_SECONDS) is None
    guard.clock.advance(5)
    guard.store.workers.heartbeat("g1")
    assert meter(guard.ports) > 0
    recount_money(guard.store)
    return burns, price(guard.rows.lines("transcribe")[-1]), price(guard.rows.lines("idle")[-1])


def test_scenario_15_the_spot_price_api_fails_and_comes_back(guard: Guard, live: MemoryPrices) -> None:
    """COST-GUARD 15: the list price, marked; never $0. The next lease is at the live price again."""
    episode_id = guard.rows.planned(3)
    live.down = True
    marked = replace(LISTED, estimated=True)
    assert work_and_wait(guard, episode_id) == (LISTED.micros, marked, marked)
    assert {line.entry.micros for line in guard.rows.lines("transcribe")} == {10 * SECOND}
    live.down = False
    found = Price(SPOT, "live")
    assert work_and_wait(guard, episode_id) == (SPOT, found, found)


@pytest.mark.parametrize("held", ["fixed", "shut"])
def test_prices_are_kept_where_nothing_is_scaled_too(guard: Guard, live: MemoryPrices, held: str) -> None:
    guard.rows.device("g1")
    if held == "fixed":
        guard.rules = replace(guard.rules, scales=False)
    else:
        guard.ports.fleet.zero("over the holidays")
    scale(guard.ports, guard.rules)
    assert [view.price for view in guard.store.workers.list()] == [Price(SPOT, "live")]


def test_a_worker_that_starts_keeps_no_guess(guard: Guard) -> None:
    """It may have another device than the others: until it is seen with its own the price book holds."""
    guard.rows.device("g1")
    guard.store.workers.expect("g2", "machine", "gpu", 1)
    scale(guard.ports, guard.rules)
    assert {view.id: view.price for view in guard.store.workers.list()} == {"g1": Price(SPOT, "live"), "g2": None}


def test_one_that_never_said_its_device_is_at_the_dearest(guard: Guard) -> None:
    """G5: in the burn as in the ledger."""
    guard.rows.device("c1", "cpu")
    guard.store.workers.register("g1", "machine", "gpu", 1, 1)
    scale(guard.ports, guard.rules)
    found = {view.id: view.price for view in guard.store.workers.list()}
    assert (found["c1"], found["g1"]) == (Price(0, "local"), Price(LISTED.micros, "dearest list price", estimated=True))
    assert guard.ports.fleet.state().burn == LISTED.micros
