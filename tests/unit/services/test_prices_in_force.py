"""One price holds for the burn, for what is reserved, for the ledger and for idle time (G1, G2, G5)."""

from dataclasses import replace
from functools import partial

import pytest

from podinsight.adapters.local_fleet import LocalFleet
from podinsight.adapters.memory import MemoryPrices, NoPrices
from podinsight.domain.prices import CPU, CUDA, Price, PriceBook, Terms
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


def prices(guard: Guard) -> dict[str, Price | None]:
    """As the rows of the gpu workers say them."""
    return {view.id: view.price for view in guard.store.workers.list() if view.pool == "gpu"}


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
    assert prices(guard) == {"c1": None, "g1": None}, "no market has either"
    assert guard.ports.fleet.state().burn == LISTED.micros
    guard.clock.advance(5)
    guard.store.workers.heartbeat("g1")
    meter(guard.ports)
    (line,) = [each for each in guard.rows.lines("idle") if each.entry.micros]
    assert price(line) == Price(LISTED.micros, "dearest list price", estimated=True)


def test_what_one_machines_book_says_of_a_device_is_for_its_own_workers(rows: Rows, objects: ObjectStore) -> None:
    """G1, G2: of two with other settings either may be the guard; what a claim reserves does not follow that."""
    said = PriceBook({CPU: Price(2 * 3600 * SECOND, "settings"), CUDA: LISTED})
    guard = Guard(rows, objects)
    theirs = guard.rows.under(Terms(said, least_speed=0.5))
    episode_id = theirs.planned(2)
    theirs.store.workers.mark("g1", "dead")
    theirs.device("c1", CPU)
    for book in (TERMS.prices, said, TERMS.prices):
        rate = partial(hour, book, NoPrices())
        guard.with_fleet(LocalFleet(guard.store, guard.clock, 4, STALE_SECONDS, rate))
        scale(guard.ports, guard.rules)
        assert prices(guard) == {"c1": None}
    lease = theirs.claim(episode_id, "transcribe", "c1")
    assert [each.reservation.micros for each in theirs.open()] == [240 * SECOND]
    guard.clock.advance(10)
    assert theirs.work.commit_chunk(lease, "part", TOOK, LEASE_SECONDS) is None
    assert [(line.entry.micros, price(line).source) for line in theirs.lines()] == [(20 * SECOND, "settings")]


def test_what_is_free_here_is_on_no_row_when_the_market_does_not_answer(guard: Guard, live: MemoryPrices) -> None:
    """G5: never $0 for a machine that costs something, by another's settings or by what the market said last."""
    guard.rows.device("c1", CPU)
    live.down = True
    scale(guard.ports, guard.rules)
    assert prices(guard) == {"c1": None}
    live.prices[(CPU, "machine")] = SPOT
    for live.down in (False, True):
        scale(guard.ports, guard.rules)
        assert prices(guard) == {"c1": Price(SPOT, "live")}


def test_a_price_that_no_market_makes_any_more_is_forgotten(guard: Guard, live: MemoryPrices) -> None:
    """Then the price book holds again, for what is decoded from then on; one that does not answer is another thing."""
    episode_id = guard.rows.planned(3)
    assert work_and_wait(guard, episode_id)[1] == Price(SPOT, "live")
    del live.prices[(CUDA, "machine")]
    assert work_and_wait(guard, episode_id) == (LISTED.micros, LISTED, LISTED)
    assert prices(guard) == {"g1": None}
