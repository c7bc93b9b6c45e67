"""What costs by the day (G1): each day once, whether anything was up on it or not."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from podinsight.domain.budget import Scope
from podinsight.domain.days import begins_at, day_of
from podinsight.domain.money import Micros, micros
from podinsight.domain.prices import Price, PriceBook, Service
from podinsight.domain.quote import CPU
from podinsight.errors import Unavailable
from podinsight.ports import ObjectStore
from podinsight.services.standing import MOST_DAYS, charge_days
from tests.support.guarding import Guard
from tests.support.rows import Rows, audio
from tests.support.spending import recount_money

DAY = 86_400
CLOUD = PriceBook(
    {CPU: Price(0, "x")},
    {
        Service.STORAGE: Price(micros("0.023"), "list"),
        Service.NAT_HOURS: Price(micros("0.045"), "list"),
        Service.ADDRESS_HOURS: Price(micros("0.005"), "list"),
        Service.METRICS: Price(micros("0.30"), "list"),
    },
)
STANDING = {
    "storage": 1,  # a few kB: one MB-hour, rounded up to a micro-dollar
    "nat_hours": micros("1.08"),
    "address_hours": micros("0.12"),
    "metrics": 98_631,  # 10 for 24 of 730 hours
}


@pytest.fixture
def guard(rows: Rows, objects: ObjectStore) -> Guard:
    guard = Guard(rows, objects)
    guard.ports = replace(guard.ports, prices=CLOUD)
    guard.clock.advance(begins_at(guard.today) + DAY + 60 - guard.clock.now())
    return guard


def ago(guard: Guard, days: int) -> str:
    return day_of(guard.clock.now() - days * DAY)


def charge(guard: Guard) -> str:
    return charge_days(guard.ports, ago(guard, 1))


def by_service(guard: Guard, day: str) -> dict[str, Micros]:
    """Of the lines of that day that nobody worked for."""
    names = ("storage", "nat_hours", "address_hours", "metrics")
    lines = guard.store.purse.entries(day, day)
    return {each.entry.service: each.entry.micros for each in lines if each.entry.service in names}


def fetched(guard: Guard, size: int) -> None:
    """So many bytes of audio are in place from now on."""
    (episode_id,) = guard.rows.fetches(1, feed="large")
    lease = guard.rows.claim(episode_id, worker=guard.rows.worker())
    guard.rows.work.commit_fetch(lease, replace(audio(), size=size), 1.0)
    guard.rows.project("fetch", episode_id)


def is_up(guard: Guard) -> None:
    """A light worker lives now."""
    guard.store.workers.register("l1", "here", "light", 1, 1)


def test_a_day_on_which_something_ran_bears_gateway_address_and_metrics(guard: Guard) -> None:
    """G1: NAT hours, address hours and metrics are lines of the ledger, as a quote reckons with them (G4)."""
    guard.rows.transcribes(3)
    guard.clock.advance(DAY)
    assert charge(guard) == "$1.298632 of storage, gateway and metrics"
    day = ago(guard, 1)
    lines = {each.entry.service: each for each in guard.store.purse.entries(day, day)}
    assert {name: lines[name].entry.micros for name in STANDING} == STANDING
    assert {name: (lines[name].entry.quantity, lines[name].entry.unit) for name in STANDING} == {
        "storage": (1, "MB-hours"),
        "nat_hours": (24 * 3_600_000, "ms"),
        "address_hours": (24 * 3_600_000, "ms"),
        "metrics": (240, "metric-h"),
    }
    assert {lines[name].entry.stage for name in STANDING} == {"storage", "network", "metrics"}
    assert not any(lines[name].bearer.episode_id for name in STANDING)


def test_a_gap_of_three_days_is_charged_once_each(guard: Guard) -> None:
    """G1: the disk is paid for while the stack is down. What was fetched today was not there before."""
    guard.rows.transcribes(1)
    guard.clock.advance(DAY)
    assert charge(guard)
    guard.clock.advance(4 * DAY)  # down for three days and the rest of that one, up now
    is_up(guard)
    fetched(guard, 730_000_000_000)
    assert "$0.000004 of storage" in charge(guard), "the day that was, and three more"
    for days in (1, 2, 3, 4):
        assert by_service(guard, ago(guard, days)) == {"storage": 1}, "nothing ran"
    assert by_service(guard, ago(guard, 0)) == {}
    assert charge(guard) == ""
    recount_money(guard.store)
    spent = sum(guard.store.purse.spent(Scope.DAY, ago(guard, days)) for days in range(1, 6))
    assert spent == 4 + sum(STANDING.values())
    guard.clock.advance(DAY)
    charge(guard)
    assert by_service(guard, ago(guard, 1)) == STANDING | {"storage": 24 * 23_000 + 1}  # of 730 GB and a few kB


def test_a_worker_that_lives_all_day_without_work_is_something_that_runs(guard: Guard) -> None:
    is_up(guard)
    for _ in range(2):
        guard.clock.advance(DAY)
        guard.store.workers.heartbeat("l1")
        charge(guard)
    assert set(by_service(guard, ago(guard, 1))) == {"nat_hours", "address_hours", "metrics"}
    guard.clock.advance(2 * DAY)
    charge(guard)
    assert by_service(guard, ago(guard, 2)), "it was heard of in the first minute of that day"
    assert by_service(guard, ago(guard, 1)) == {}, "it was not heard of on that day"


def test_twice_at_once_charges_once(guard: Guard) -> None:
    guard.rows.transcribes(1)
    guard.clock.advance(DAY)
    with ThreadPoolExecutor(4) as threads:
        said = list(threads.map(lambda _: charge(guard), range(8)))
    assert sum(bool(each) for each in said) >= 1
    services = [each.entry.service for each in guard.store.purse.entries(ago(guard, 1), ago(guard, 1))]
    assert {name: services.count(name) for name in STANDING} == dict.fromkeys(STANDING, 1)
    recount_money(guard.store)


def test_a_forgotten_memory_charges_nothing_again(guard: Guard) -> None:
    guard.rows.transcribes(1)
    guard.clock.advance(DAY)
    assert charge(guard)
    guard.store.memory.remember("standing", {})
    before = guard.store.purse.entries("2000-01-01", ago(guard, 0))
    assert charge(guard) == ""
    assert guard.store.purse.entries("2000-01-01", ago(guard, 0)) == before
    guard.clock.advance(3 * DAY)
    for _ in range(2):
        charge(guard)
        guard.store.memory.remember("standing", {})
        assert by_service(guard, ago(guard, 1)) == {"storage": 1}, "what is written here is nothing that ran"


def test_what_is_cut_off_is_done_by_the_next(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    """The days that were written stay written, the others follow."""
    guard.rows.transcribes(1)
    charge(guard)
    guard.clock.advance(3 * DAY)
    asked = guard.store.catalogue.audio_bytes
    calls: list[float] = []

    def once(before: float) -> int:
        calls.append(before)
        if len(calls) > 1:
            raise Unavailable("away")
        return asked(before)

    with monkeypatch.context() as patch:
        patch.setattr(guard.store.catalogue, "audio_bytes", once)
        with pytest.raises(Unavailable):
            charge(guard)
    charge(guard)
    assert [by_service(guard, ago(guard, days)).get("storage") for days in (3, 2, 1)] == [1, 1, 1]
    recount_money(guard.store)


def test_no_more_than_a_month_is_charged_at_once(guard: Guard, caplog: pytest.LogCaptureFixture) -> None:
    guard.rows.transcribes(1)
    charge(guard)
    guard.clock.advance((MOST_DAYS + 9) * DAY)
    charge(guard)
    assert by_service(guard, ago(guard, MOST_DAYS)) == {"storage": 1}
    assert by_service(guard, ago(guard, MOST_DAYS + 1)) == {}
    assert "was not charged" in caplog.text


def test_a_clock_that_was_set_back_charges_nothing_twice(guard: Guard) -> None:
    guard.rows.transcribes(1)
    guard.clock.advance(DAY)
    assert charge(guard)
    assert charge_days(guard.ports, ago(guard, 5)) == ""
    assert guard.store.memory.recall("standing") == {"day": ago(guard, 1)}
    assert charge(guard) == ""


def test_at_home_nothing_of_it_costs_or_is_written(guard: Guard) -> None:
    """A local machine: no price, no line; and a move to the cloud does not charge what was before it."""
    guard.ports = replace(guard.ports, prices=PriceBook({CPU: Price(0, "x")}, {}))
    guard.rows.transcribes(3)
    guard.clock.advance(DAY)
    assert charge(guard) == ""
    assert by_service(guard, ago(guard, 1)) == {}
    guard.ports = replace(guard.ports, prices=CLOUD)
    guard.clock.advance(DAY)
    charge(guard)
    assert by_service(guard, ago(guard, 2)) == {}
    assert by_service(guard, ago(guard, 1)) == {"storage": 1}
