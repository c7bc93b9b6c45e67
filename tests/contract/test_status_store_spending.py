"""A lease is paid up to its end, in whatever way it ends (G1, G2)."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from sqlalchemy import select

from podinsight.adapters.database import SqlStore
from podinsight.adapters.database.models import work
from podinsight.adapters.database.money_tables import budgets, reservations
from podinsight.domain.budget import Scope
from podinsight.domain.days import begins_at, day_of, next_day
from podinsight.domain.episode import PublisherTranscript
from podinsight.domain.money import Unit
from podinsight.domain.prices import CUDA, Price, PriceBook, Terms
from podinsight.domain.quote import CPU, FREE_RULE
from podinsight.domain.work import Lease, State
from podinsight.ports import Bearer, Decoded
from podinsight.ports.work import NO_DEVICE
from tests.conftest import LIMITS, STALE_SECONDS
from tests.support.clock import ManualClock
from tests.support.rows import LEASE_SECONDS, PARAMS, TOOK, audio, plan_folder, spans
from tests.support.spending import ALL_PRICED, SECOND, TERMS, Paying, recount_money

WHOLE = 120 * SECOND  # a minute of audio at half of real time
FROM_PUBLISHER = Decoded(60.0, 0.1, 0.0, "publisher", NO_DEVICE, "none")


@pytest.fixture
def paying(store: SqlStore, clock: ManualClock) -> Iterator[Paying]:
    """Afterwards every budget is the sum of the ledger and of what is open."""
    yield Paying(SqlStore(store.db, clock, LIMITS, STALE_SECONDS, TERMS), clock)
    recount_money(store)


def test_a_claim_reserves_what_its_chunk_takes_at_worst(paying: Paying) -> None:
    """Under the lease's token, in every budget of the work; more than one lease holds that much."""
    episode_id = paying.planned(2, run="r1")
    lease = paying.claim(episode_id, "transcribe", "g1")
    (kept,) = paying.open()
    asked, day = kept.reservation, day_of(paying.clock.now())
    assert (asked.token, asked.unit_kind, asked.unit_id) == (lease.token, "chunk", lease.unit_id)
    assert (asked.micros, asked.episode_id, asked.run_id, asked.gpu) == (WHOLE, episode_id, "r1", True)
    assert (kept.at, kept.day) == (paying.clock.now(), day)
    for account in ((Scope.ITEM, episode_id), (Scope.RUN, "r1"), (Scope.GPU_DAY, day), (Scope.MONTH, day[:7])):
        assert paying.budget(*account) == (0, WHOLE)
    paying.claim(episode_id, "transcribe", paying.device("g2"))
    assert paying.budget(Scope.ITEM, episode_id) == (0, 2 * WHOLE)


def test_a_lease_that_is_longer_than_its_chunk_is_reserved_whole(paying: Paying) -> None:
    episode_id = paying.planned()
    assert paying.work.claim("transcribe", episode_id, "g1", 500.0) is not None
    assert paying.open()[0].reservation.micros == 500 * SECOND


def test_a_renewal_reserves_what_is_missing(paying: Paying) -> None:
    """G2: never leased for longer than is paid for."""
    lease = paying.claim(paying.planned(), "transcribe", "g1")
    paying.clock.advance(30)
    paying.work.renew(lease, LEASE_SECONDS)
    assert paying.open()[0].reservation.micros == WHOLE
    paying.clock.advance(60.5)
    paying.work.renew(lease, LEASE_SECONDS)
    assert paying.open()[0].reservation.micros == 180_500
    paying.work.renew(lease, LEASE_SECONDS)
    assert paying.open()[0].reservation.micros == 180_500
    recount_money(paying.store)


def commit(paying: Paying, lease: Lease) -> None:
    paying.work.commit_chunk(lease, "part-0", TOOK, LEASE_SECONDS)


ENDS: dict[str, Callable[[Paying, Lease], object]] = {
    "committed": commit,
    "handed back": lambda paying, lease: paying.work.hand_back(lease),
    "delayed": lambda paying, lease: paying.work.delay(lease, "later", 60),
    "failed": lambda paying, lease: paying.work.end(lease, State.FAILED, "odd"),
    "refused": lambda paying, lease: paying.work.end(lease, State.REFUSED, "no speech"),
    "its worker is dead": lambda paying, lease: paying.work.expire_worker(lease.worker),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("device", [CUDA, CPU])
def test_whatever_ends_a_lease_settles_it(paying: Paying, end: str, device: str) -> None:
    """G1, scenario 18: to the millisecond, with the model, the price and where that is from; once."""
    episode_id = paying.planned(run="r1")
    lease = paying.claim(episode_id, "transcribe", paying.device("d1", device))
    paying.clock.advance(12.345)
    ENDS[end](paying, lease)
    assert paying.open() == []
    (line,) = paying.lines()
    entry, priced = line.entry, device == CUDA
    assert (line.token, line.at) == (lease.token, paying.clock.now())
    assert line.bearer == Bearer(day_of(line.at), episode_id, lease_feed(paying, episode_id), "r1")
    assert (entry.service, entry.quantity, entry.unit, entry.note) == ("gpu", 12_345, Unit.MILLISECONDS, "tiny.en")
    assert (entry.device_kind, entry.micros, entry.estimated) == (device, 12_345 * priced, False)
    assert entry.price_source == ("test" if priced else "local")
    assert paying.budget(Scope.ITEM, episode_id) == (12_345 * priced, 0)
    assert paying.busy("d1") == 12_345


def lease_feed(paying: Paying, episode_id: str) -> str:
    episode = paying.store.catalogue.episode(episode_id)
    assert episode is not None
    return episode.feed_id


def test_a_device_without_a_price_touches_no_budget(paying: Paying) -> None:
    lease = paying.claim(paying.planned(), "transcribe", paying.device("c1", CPU))
    paying.work.renew(lease, LEASE_SECONDS)
    commit(paying, lease)
    with paying.store.db.read() as conn:
        assert conn.execute(select(budgets)).all() == []
        assert conn.execute(select(reservations)).all() == []


@pytest.mark.parametrize("device", ["", "l4.unheard-of"])
def test_a_device_that_nobody_knows_is_priced_and_marked(paying: Paying, device: str) -> None:
    """G5: never free."""
    lease = paying.claim(paying.planned(), "transcribe", paying.device("g2", device))
    paying.clock.advance(2)
    commit(paying, lease)
    (line,) = paying.lines()
    assert (line.entry.device_kind, line.entry.micros) == (device or "gpu", 2 * SECOND)
    assert line.entry.estimated


def test_a_lease_that_ran_out_is_paid_to_its_end_and_no_further(paying: Paying) -> None:
    """Whenever it is noticed: after that nobody has worked under it."""
    episode_id = paying.planned()
    paying.claim(episode_id, "transcribe", "g1")
    paying.clock.advance(1000)
    paying.work.reconcile(60)
    assert paying.lines()[0].entry.quantity == 90_000
    assert paying.budget(Scope.ITEM, episode_id) == (90 * SECOND, 0)
    assert paying.state(episode_id, "transcribe") is State.WAITING


def test_the_leases_of_a_dead_worker_are_paid_up_to_now(paying: Paying) -> None:
    ids = [paying.planned(), paying.planned(2)]
    for episode_id in (*ids, ids[1]):
        paying.claim(episode_id, "transcribe", "g1")
    paying.clock.advance(10)
    assert paying.work.expire_worker("g1") == 3
    assert [line.entry.quantity for line in paying.lines()] == [10_000] * 3
    assert paying.busy() == 30_000
    recount_money(paying.store)


def test_what_fails_while_others_run_is_settled_when_those_end(paying: Paying) -> None:
    """Transcribing again takes their rows away: their time is paid all the same."""
    episode_id = paying.planned(2)
    failing, running = (paying.claim(episode_id, "transcribe", "g1") for _ in range(2))
    paying.work.end(failing, State.FAILED, "odd")
    paying.clock.advance(5)
    assert paying.work.transcribe_again([episode_id], 5, PARAMS, "ada") == 1
    assert {line.token: line.entry.quantity for line in paying.lines()} == {failing.token: 0, running.token: 5000}
    assert paying.open() == []


def test_a_join_is_not_paid(paying: Paying) -> None:
    episode_id = paying.planned()
    lease = paying.claim(episode_id, "transcribe", "g1")
    join = paying.work.commit_chunk(lease, "part-0", TOOK, LEASE_SECONDS)
    assert join is not None
    assert paying.open() == []
    paying.clock.advance(10)
    paying.work.hand_back(join)
    assert paying.claim(episode_id, "transcribe", "g1").span == join.span
    assert paying.open() == []
    assert [line.token for line in paying.lines()] == [lease.token]


def test_what_its_publisher_wrote_is_not_paid(paying: Paying) -> None:
    """F12: no device hears it. Where it turns out to be useless, the time that it took is nobody's."""
    (episode_id,) = paying.fetches(1, transcribe=True)
    taken = PublisherTranscript("raw/a/0.vtt", "https://h.test/t.vtt", "text/vtt", None, accepted=True)
    fetched = replace(audio(), publisher=(taken,))
    paying.work.commit_fetch(paying.claim(episode_id, worker=paying.worker()), fetched, 1.0)
    paying.project("fetch", episode_id)
    lease = paying.claim(episode_id, "transcribe", paying.device("g1"))
    assert paying.open() == []
    paying.clock.advance(1)
    paying.work.hand_back(lease)
    paying.work.decode_instead(paying.claim(episode_id, "transcribe", "g1"))
    assert paying.lines() == []
    paying.plan(episode_id)
    paying.claim(episode_id, "transcribe", "g1")
    assert len(paying.open()) == 1, "now it is decoded"


def test_a_twins_transcript_is_not_paid(paying: Paying) -> None:
    """F10."""
    first, second = paying.fetches(2, transcribe=True)
    paying.fetch(first, sha256="a" * 64)
    paying.plan(first)
    paying.device("g1")
    paying.transcribe(first)
    paying.fetch(second, sha256="a" * 64)
    lease = paying.claim(second, "transcribe", "g1")
    assert lease.params["same_as"] == first
    assert paying.open() == []
    paying.work.commit_chunk(lease, "part-0", FROM_PUBLISHER, LEASE_SECONDS)
    assert {line.bearer.episode_id for line in paying.lines()} == {first}


def test_a_lease_over_midnight_belongs_to_the_day_of_its_claim(paying: Paying) -> None:
    day = next_day(day_of(paying.clock.now()))
    paying.clock.advance(begins_at(next_day(day)) - 10 - paying.clock.now())
    lease = paying.claim(paying.planned(), "transcribe", "g1")
    for _ in range(4):
        paying.clock.advance(40)
        paying.work.renew(lease, LEASE_SECONDS)
    commit(paying, lease)
    assert paying.budget(Scope.GPU_DAY, day) == (160 * SECOND, 0)
    assert paying.budget(Scope.GPU_DAY, next_day(day)) == (0, 0)
    assert paying.lines()[0].bearer.day == day


def test_prices_that_change_under_a_lease_leave_nothing_reserved(paying: Paying) -> None:
    """A restart with other settings: what is reserved is settled at the new price."""
    free = paying.under(Terms(PriceBook({CUDA: Price(0, "mine")})))
    episode_id = paying.planned(2)
    lease = paying.claim(episode_id, "transcribe", "g1")
    before = free.claim(episode_id, "transcribe", "g1")
    paying.clock.advance(3)
    commit(free, lease)
    commit(paying, before)
    assert (paying.open(), paying.budget(Scope.ITEM, episode_id)) == ([], (3 * SECOND, 0))


# ------------------------------------------------------------------------------- fetch and plan


def test_fetch_and_plan_are_written_down(paying: Paying) -> None:
    """G1: at no price a line alone."""
    paying.planned(run="r1")
    cpu, nat = paying.lines("fetch")
    assert (cpu.entry.service, cpu.entry.quantity, cpu.entry.unit) == ("cpu", 1000, Unit.MILLISECONDS)
    assert (nat.entry.service, nat.entry.quantity, nat.entry.unit) == ("nat", 1000, Unit.BYTES)
    (plan,) = paying.lines("plan")
    assert (plan.entry.service, plan.entry.quantity, plan.entry.micros) == ("cpu", 1000, 0)
    assert {line.bearer.run_id for line in (cpu, nat, plan)} == {"r1"}
    with paying.store.db.read() as conn:
        assert conn.execute(select(budgets)).all() == []


ENDED_EARLY: dict[str, Callable[[Paying, Lease], object]] = {
    "handed back": lambda paying, lease: paying.work.hand_back(lease, received=700_000_000),
    "delayed": lambda paying, lease: paying.work.delay(lease, "later", 60, received=700_000_000),
    "failed": lambda paying, lease: paying.work.end(lease, State.FAILED, "404", received=700_000_000),
    "begun again": lambda paying, lease: paying.work.commit_fetch(lease, audio(), 2.0, received=700_000_000),
}


@pytest.mark.parametrize("end", ENDED_EARLY)
def test_all_bytes_that_a_fetch_brings_in_are_paid(paying: Paying, end: str) -> None:
    """G1: also those that were thrown away."""
    dear = Paying(SqlStore(paying.store.db, paying.clock, LIMITS, STALE_SECONDS, ALL_PRICED), paying.clock)
    (episode_id,) = dear.fetches(1)
    lease = dear.claim(episode_id, worker=dear.worker())
    dear.clock.advance(2)
    ENDED_EARLY[end](dear, lease)
    cpu, nat = dear.lines("fetch")
    assert (cpu.entry.quantity, nat.entry.quantity, nat.entry.micros) == (2000, 700_000_000, 31_500)
    assert dear.open() == []
    recount_money(dear.store)


def test_fetch_and_plan_with_a_price_are_reserved_and_settled(paying: Paying) -> None:
    """900 s at $0.036 an hour and 2 GB at $0.045 at worst; a second and a kilobyte at last."""
    dear = paying.under(ALL_PRICED)
    (episode_id,) = dear.fetches(1, transcribe=True)
    lease = dear.claim(episode_id, worker=dear.worker())
    assert dear.budget(Scope.ITEM, episode_id) == (0, 9_000 + 90_000)
    assert dear.open()[0].reservation.gpu is False
    dear.work.renew(lease, LEASE_SECONDS)
    dear.work.commit_fetch(lease, audio(), 1.0)
    assert dear.budget(Scope.ITEM, episode_id) == (10 + 1, 0)
    dear.project("fetch", episode_id)
    lease = dear.claim(episode_id, "plan", dear.worker("p1", "plan"))
    assert dear.budget(Scope.ITEM, episode_id) == (11, 9_000)
    dear.clock.advance(5)
    dear.work.hand_back(lease)
    assert dear.budget(Scope.ITEM, episode_id) == (11 + 50, 0)
    lease = dear.claim(episode_id, "plan", "p1")
    dear.work.commit_plan(lease, plan_folder(lease), spans(1), 2.0)
    assert dear.budget(Scope.ITEM, episode_id) == (61 + 20, 0)
    assert dear.budget(Scope.GPU_DAY, day_of(dear.clock.now())) == (0, 0)


# ------------------------------------------------------------------------------- what was approved for nothing


def test_a_cpu_with_a_price_asks_before_it_decodes_what_was_free(paying: Paying) -> None:
    """T2: approved because the device costs nothing, and now it does."""
    dear = paying.under(ALL_PRICED)
    episode_id = paying.planned(2, FREE_RULE)
    dear.device("c1", CPU)
    assert dear.work.claim("transcribe", episode_id, "c1", LEASE_SECONDS) is None
    assert dear.reason(episode_id, "transcribe") == "waits for approval"
    assert dear.work.approve("ada") == 1
    lease = dear.claim(episode_id, "transcribe", "c1")
    dear.clock.advance(10)
    commit(dear, lease)
    day = day_of(dear.clock.now())
    assert dear.budget(Scope.GPU_DAY, day) == (SECOND, 0), "a CPU that has a price counts there too"


def test_a_row_that_is_gone_has_a_line_without_a_model(paying: Paying) -> None:
    """Nothing is left unsettled because what it belonged to cannot be read."""
    episode_id = paying.planned()
    lease = paying.claim(episode_id, "transcribe", "g1")
    with paying.store.db.write() as conn:
        conn.execute(work.update().where(work.c.stage == "transcribe").values(params={}))
    paying.clock.advance(1)
    paying.work.hand_back(lease)
    assert [(line.entry.quantity, line.entry.note) for line in paying.lines()] == [(1000, "")]
