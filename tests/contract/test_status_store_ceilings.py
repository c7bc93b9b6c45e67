"""What does not fit under a ceiling is not begun, and goes on no further than is paid for (G2, G3)."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from podinsight.adapters.database import SqlStore
from podinsight.domain.budget import Level, Limits, Scope
from podinsight.domain.control import Control, Mode
from podinsight.domain.days import day_of, month_of
from podinsight.domain.money import micros
from podinsight.domain.prices import Terms
from podinsight.domain.work import Lease, State
from podinsight.errors import LeaseLost
from podinsight.ports import Bearer, Entry
from tests.conftest import LIMITS, STALE_SECONDS
from tests.support.clock import ManualClock
from tests.support.rows import LEASE_SECONDS, TOOK, audio
from tests.support.spending import ALL_PRICED, SECOND, TERMS, Paying, entry, recount_money

WHOLE = 120 * SECOND  # what a chunk reserves


def stop_at(scope: Scope, seconds: float, terms: Terms = TERMS) -> Terms:
    """A stop level of so many seconds of the GPU."""
    level = Level((), int(seconds * SECOND))
    return replace(terms, limits=replace(Limits(), **{scope.value: level}))


@pytest.fixture
def paying(store: SqlStore, clock: ManualClock) -> Iterator[Paying]:
    """Afterwards every budget is the sum of the ledger and of what is open."""
    yield Paying(SqlStore(store.db, clock, LIMITS, STALE_SECONDS, TERMS), clock)
    recount_money(store)


def stopped(paying: Paying) -> tuple[Mode, bool, str]:
    control = paying.store.control.read()
    return control.mode, control.gpu_frozen, control.by


def commit(paying: Paying, lease: Lease) -> None:
    assert lease.span is not None
    paying.work.commit_chunk(lease, f"part-{lease.span.n}", TOOK, LEASE_SECONDS)


def try_claim(paying: Paying, episode_id: str, worker: str = "g1") -> Lease | None:
    return paying.work.claim("transcribe", episode_id, worker, LEASE_SECONDS)


# ------------------------------------------------------------------------------- one episode


def test_scenario_16_an_item_that_reaches_three_dollars_after_retries(paying: Paying) -> None:
    """It is held with what it has, nobody tries it again, and others go on."""
    episode_id, other = paying.planned(3), paying.planned()
    commit(paying, paying.claim(episode_id, "transcribe", "g1"))
    tries = 0
    while (lease := try_claim(paying, episode_id)) is not None:
        paying.clock.advance(85)
        paying.work.hand_back(lease)
        tries += 1
    assert tries == 34
    assert paying.budget(Scope.ITEM, episode_id) == (tries * 85 * SECOND, 0)
    assert paying.chunk_states(episode_id) == [State.DONE, State.HELD, State.HELD]
    assert paying.state(episode_id, "transcribe") is State.HELD
    reason = paying.reason(episode_id, "transcribe")
    assert reason.startswith(f"budget: $0.12 do not fit under the $3.00 of episode {episode_id}: $2.89 spent")
    assert paying.store.work.parts(episode_id)[0] == "part-0"
    assert paying.store.work.waiting_for_approval() == []
    assert paying.store.control.read() == Control()

    assert [each.episode_id for each in paying.work.dispatch("chunk", 10)] == [other]
    assert try_claim(paying, episode_id) is None
    commit(paying, paying.claim(other, "transcribe", "g1"))


def test_what_an_item_was_held_for_is_asked_again(paying: Paying) -> None:
    """`podrun retry --over-budget`, and approving once more changes nothing about it."""
    tight = paying.under(stop_at(Scope.ITEM, 119))
    ids = [paying.planned(2), paying.planned()]
    assert [try_claim(tight, each) for each in ids] == [None, None]
    assert tight.work.approve("ada") == 0
    assert tight.chunk_states(ids[0]) == [State.HELD] * 2
    assert tight.work.release_over_budget() == 2
    assert tight.work.release_over_budget() == 0
    assert tight.chunk_states(ids[0]) == [State.WAITING] * 2
    assert try_claim(tight, ids[0]) is None
    assert tight.chunk_states(ids[0]) == [State.HELD] * 2
    assert tight.work.release_over_budget() == 1
    assert try_claim(paying, ids[0]) is not None


def test_what_else_is_held_stays_so(paying: Paying) -> None:
    episode_id = paying.planned(2)
    paying.work.end(paying.claim(episode_id, "transcribe", "g1"), State.FAILED, "odd")
    assert paying.chunk_states(episode_id) == [State.FAILED, State.HELD]
    assert paying.work.release_over_budget() == 0


def test_chunks_that_run_go_on_when_another_is_refused(paying: Paying) -> None:
    tight = paying.under(stop_at(Scope.ITEM, 130))
    episode_id = paying.planned(3)
    lease = tight.claim(episode_id, "transcribe", "g1")
    assert try_claim(tight, episode_id) is None
    assert tight.chunk_states(episode_id) == [State.RUNNING, State.DELAYED, State.WAITING], "it may fit afterwards"
    paying.clock.advance(20)
    commit(tight, lease)
    assert try_claim(tight, episode_id) is None
    assert tight.chunk_states(episode_id) == [State.DONE, State.HELD, State.HELD], "and it does not"
    assert tight.state(episode_id, "transcribe") is State.HELD
    assert tight.budget(Scope.ITEM, episode_id) == (20 * SECOND, 0)


def test_a_renewal_that_does_not_fit_takes_the_lease_back(paying: Paying) -> None:
    """Never leased beyond the ceiling; what was spent is settled, and no loss is counted."""
    tight = paying.under(stop_at(Scope.ITEM, 200))
    episode_id = paying.planned(2)
    lease = tight.claim(episode_id, "transcribe", "g1")
    for _ in range(2):
        paying.clock.advance(50)
        tight.work.renew(lease, LEASE_SECONDS)
    paying.clock.advance(50)
    with pytest.raises(LeaseLost, match=r"budget: \$0.05 do not fit"):
        tight.work.renew(lease, LEASE_SECONDS)
    assert tight.chunk_states(episode_id) == [State.DELAYED, State.WAITING]
    assert (tight.open(), tight.budget(Scope.ITEM, episode_id)) == ([], (150 * SECOND, 0))
    assert try_claim(tight, episode_id) is None
    assert tight.chunk_states(episode_id) == [State.HELD] * 2
    with pytest.raises(LeaseLost):
        tight.work.renew(lease, LEASE_SECONDS)
    with pytest.raises(LeaseLost):
        commit(tight, lease)
    assert len(tight.lines()) == 1
    assert len(tight.store.work.leftovers(float("inf"), 5)) == 1
    tight.work.release_over_budget()
    assert paying.claim(episode_id, "transcribe", "g1").losses == 0


def test_a_run_has_a_ceiling_of_its_own(paying: Paying) -> None:
    """`--max-usd`."""
    first, second = (paying.planned(run="r1") for _ in range(2))
    paying.store.purse.limit(Scope.RUN, "r1", WHOLE + 10 * SECOND)
    lease = paying.claim(first, "transcribe", "g1")
    assert try_claim(paying, second) is None
    assert "of run r1" in paying.reason(second, "transcribe")
    assert paying.state(second, "transcribe") is State.DELAYED, "there is room again when the first has ended"
    paying.clock.advance(10)
    commit(paying, lease)
    paying.clock.advance(30)
    assert paying.work.reconcile(60).due == 1
    assert paying.claim(second, "transcribe", "g1") is not None
    assert paying.budget(Scope.RUN, "r1") == (10 * SECOND, WHOLE)
    assert paying.store.control.read() == Control()


def test_what_is_held_over_its_budget_is_told_with_its_run(paying: Paying) -> None:
    """Of each transcription once, and what runs held is left alone when it is asked to be."""
    tight = paying.under(stop_at(Scope.ITEM, 119))
    dear, free = paying.planned(2, run="r1"), paying.planned(run="r1")
    first, second, other = paying.planned(2, run="r1"), paying.planned(run="r1"), paying.planned(run="r2")
    assert try_claim(tight, dear) is None
    for run in ("r1", "r2"):
        paying.store.purse.limit(Scope.RUN, run, WHOLE - 1)
    assert [try_claim(paying, each) for each in (first, second, other)] == [None] * 3
    found = paying.work.over_budget(10)
    assert [(each.episode_id, each.run_id) for each in found] == [
        (dear, "r1"),
        (first, "r1"),
        (second, "r1"),
        (other, "r2"),
    ]
    assert [each.reason for each in found] == [paying.reason(each.episode_id, "transcribe") for each in found]
    assert paying.work.over_budget(1) == found[:1]
    assert paying.state(free, "transcribe") is State.WAITING

    assert paying.work.release_over_budget(["r1", "r"]) == 2, "what the episode's ceiling holds is no run's"
    assert [each.episode_id for each in paying.work.over_budget(10)] == [first, second]
    assert paying.chunk_states(first) == [State.HELD] * 2
    assert paying.work.release_over_budget() == 2
    assert paying.work.over_budget(10) == []


def test_somebody_is_told_once_of_an_episode_or_a_run_that_is_held(paying: Paying) -> None:
    tight = paying.under(stop_at(Scope.ITEM, 119))
    dear, first, second = paying.planned(2), paying.planned(run="r1"), paying.planned(run="r1")
    paying.store.purse.limit(Scope.RUN, "r1", 1)
    assert [try_claim(tight, dear), try_claim(paying, first), try_claim(paying, second)] == [None] * 3
    paying.work.release_over_budget()
    assert [try_claim(tight, dear), try_claim(paying, first)] == [None] * 2
    told = [each.alert for each in paying.store.alerts.unsent(10)]
    assert [(each.key, each.severity.value) for each in told] == [
        (f"held:item:{dear}", "warning"),
        ("held:run:r1", "warning"),
    ]
    assert told[0].title.startswith("transcriptions are held: $0.12 do not fit under the $0.119 of episode")
    assert "`podrun retry --over-budget --max-usd AMOUNT`" in told[1].body


def test_room_that_is_only_reserved_is_told_to_nobody(paying: Paying) -> None:
    first, second = (paying.planned(run="r1") for _ in range(2))
    paying.store.purse.limit(Scope.RUN, "r1", WHOLE)
    paying.claim(first, "transcribe", "g1")
    assert try_claim(paying, second) is None
    assert paying.state(second, "transcribe") is State.DELAYED
    assert (paying.store.alerts.unsent(10), paying.work.over_budget(10)) == ([], [])


def test_who_was_held_while_another_chunk_ran_says_why_in_the_end(paying: Paying) -> None:
    """Somebody follows it, and sees by the reason that nothing comes any more."""
    episode_id = paying.planned(2)
    lease = paying.claim(episode_id, "transcribe", "g1")
    tight = paying.under(stop_at(Scope.ITEM, 119))
    assert try_claim(tight, episode_id) is None
    assert tight.chunk_states(episode_id) == [State.RUNNING, State.HELD]
    commit(tight, lease)
    assert tight.state(episode_id, "transcribe") is State.HELD
    assert tight.reason(episode_id, "transcribe").startswith("budget: $0.12 do not fit")


# ------------------------------------------------------------------------------- everybody


def test_the_gpu_day_freezes_gpu_work_and_nothing_else(paying: Paying) -> None:
    """G3, scenario 12: by the guard, with an alert, in the claim's transaction; CPU downloads go on."""
    tight = paying.under(stop_at(Scope.GPU_DAY, 200))
    first, second = paying.planned(), paying.planned()
    lease = tight.claim(first, "transcribe", "g1")
    assert [each.episode_id for each in tight.work.dispatch("chunk", 1)] == []
    assert [each.episode_id for each in tight.work.dispatch("chunk", 2)] == [second]
    assert try_claim(tight, second) is None
    assert tight.state(second, "transcribe") is State.WAITING, "and not dispatched for ever"
    assert stopped(tight) == (Mode.RUNNING, True, "cost guard")
    day = day_of(tight.clock.now())
    (posted,) = tight.store.alerts.unsent(10)
    assert (posted.alert.key, posted.alert.severity.value) == (f"stop:gpu_day:{day}", "critical")
    assert posted.alert.title.startswith("GPU work is frozen: $0.12 do not fit under the $0.20 of GPU work on")
    assert tight.store.control.read().why in posted.alert.title

    assert try_claim(tight, second) is None
    assert len(tight.store.alerts.unsent(10)) == 1
    assert tight.work.dispatch("chunk", 5) == []
    paying.clock.advance(1)
    commit(tight, lease)  # what runs is paid for, and goes on to its end
    tight.fetch(tight.fetches(1)[0])


def test_what_the_fleet_burns_is_reckoned_with(paying: Paying) -> None:
    """G5: until somebody looks again."""
    tight = paying.under(stop_at(Scope.GPU_DAY, 200))
    episode_id = paying.planned()
    paying.store.memory.remember("burn", {"micros": 80 * SECOND + 1})
    assert try_claim(tight, episode_id) is None
    assert "burning" in tight.store.control.read().why
    tight.store.control.write(Control(by="ada"))
    paying.store.memory.remember("burn", {"micros": 80 * SECOND})
    assert try_claim(tight, episode_id) is not None


@pytest.mark.parametrize("scope", [Scope.DAY, Scope.GPU_DAY, Scope.PROJECT])
def test_a_renewal_over_everybodys_ceiling_freezes_too(paying: Paying, scope: Scope) -> None:
    """The unit goes back without a loss, and waits until somebody goes on."""
    tight = paying.under(stop_at(scope, 150))
    episode_id = paying.planned()
    lease = tight.claim(episode_id, "transcribe", "g1")
    paying.clock.advance(80)
    with pytest.raises(LeaseLost):
        tight.work.renew(lease, LEASE_SECONDS)
    assert tight.state(episode_id, "transcribe") is State.WAITING
    assert stopped(tight) == (Mode.RUNNING, True, "cost guard")
    assert (tight.open(), tight.budget(Scope.ITEM, episode_id)) == ([], (80 * SECOND, 0))


def test_the_month_halts_everything(paying: Paying) -> None:
    """G3: also what an economy mode before it has left on."""
    tight = paying.under(stop_at(Scope.MONTH, 100))
    episode_id = paying.planned()
    (waiting,) = paying.fetches(1)
    paying.store.control.write(Control(economy=True, by="ada"))
    assert try_claim(tight, episode_id) is None
    assert stopped(tight) == (Mode.HALTED, True, "cost guard")
    assert tight.store.control.read().economy
    month = month_of(tight.clock.now())
    assert tight.store.alerts.unsent(10)[0].alert.key == f"stop:month:{month}:{tight.clock.now():.0f}"
    assert tight.work.claim("fetch", waiting, tight.worker(), LEASE_SECONDS) is None


def test_a_freeze_that_turns_into_a_halt_is_told_of_twice(paying: Paying) -> None:
    day, month = paying.under(stop_at(Scope.GPU_DAY, 150)), paying.under(stop_at(Scope.MONTH, 150))
    first, second = (paying.claim(paying.planned(), "transcribe", "g1") for _ in range(2))
    paying.clock.advance(80)
    for store, lease in ((day, first), (month, second)):
        with pytest.raises(LeaseLost):
            store.work.renew(lease, LEASE_SECONDS)
    assert stopped(paying) == (Mode.HALTED, True, "cost guard")
    assert len(paying.store.alerts.unsent(10)) == 2


def test_a_device_without_a_price_is_never_refused(paying: Paying) -> None:
    """G3: what costs nothing fits under levels of nothing, from dispatch to commit; what costs anything does not."""
    nothing = Level((), 0)
    broke = paying.under(replace(TERMS, limits=Limits(nothing, nothing, nothing, nothing, nothing, nothing)))
    episode_id, other = broke.planned(2, run="r1"), broke.planned()
    broke.store.purse.limit(Scope.RUN, "r1", 0)
    free = broke.device("c1", "cpu")
    assert [each.episode_id for each in broke.work.dispatch("chunk", 10)] == [episode_id, episode_id, other]
    for _ in range(2):
        lease = broke.work.claim("transcribe", episode_id, free, LEASE_SECONDS)
        assert lease is not None
        broke.clock.advance(80)
        broke.work.renew(lease, LEASE_SECONDS)
        commit(broke, lease)
    assert broke.store.control.read() == Control()
    assert try_claim(broke, other) is None
    assert broke.chunk_states(other) == [State.HELD], "its device has a price"


# ------------------------------------------------------------------------------- fetch and plan


@pytest.mark.parametrize("scope", [Scope.ITEM, Scope.DAY])
def test_a_fetch_that_does_not_fit_is_asked_again_in_a_quarter_of_an_hour(paying: Paying, scope: Scope) -> None:
    tight = paying.under(stop_at(scope, 98, ALL_PRICED))
    (episode_id,) = tight.fetches(1)
    tight.work.dispatch("fetch", 5)
    tight.worker()
    assert tight.work.claim("fetch", episode_id, "w1", LEASE_SECONDS) is None
    assert tight.state(episode_id) is State.DELAYED
    assert tight.reason(episode_id).startswith("budget: ")
    assert (tight.store.control.read(), tight.open()) == (Control(), [])
    tight.clock.advance(899)
    assert tight.work.dispatch("fetch", 5) == []
    tight.clock.advance(1)
    assert len(tight.work.dispatch("fetch", 5)) == 1
    lease = paying.claim(episode_id)
    assert (lease.attempts, lease.losses) == (0, 0)


def test_a_fetch_over_the_month_halts_everything(paying: Paying) -> None:
    tight = paying.under(stop_at(Scope.MONTH, 98, ALL_PRICED))
    (episode_id,) = tight.fetches(1)
    assert tight.work.claim("fetch", episode_id, tight.worker(), LEASE_SECONDS) is None
    assert tight.state(episode_id) is State.DELAYED
    assert stopped(tight) == (Mode.HALTED, True, "cost guard")


def test_a_fetch_that_takes_longer_than_it_may_is_paid_or_stopped(paying: Paying) -> None:
    tight = paying.under(stop_at(Scope.ITEM, 100, ALL_PRICED))
    (episode_id,) = tight.fetches(1)
    lease = tight.claim(episode_id, worker=tight.worker())
    paying.clock.advance(850)
    tight.work.renew(lease, LEASE_SECONDS)
    assert tight.budget(Scope.ITEM, episode_id) == (0, 99_400)
    paying.clock.advance(100)
    with pytest.raises(LeaseLost):
        tight.work.renew(lease, LEASE_SECONDS)
    assert tight.state(episode_id) is State.DELAYED
    assert tight.budget(Scope.ITEM, episode_id) == (9_400, 0), "to the end of its lease, and no further"
    with pytest.raises(LeaseLost):
        tight.work.commit_fetch(lease, audio(), 1.0)


def test_scenario_14_the_ledger_alone_binds(paying: Paying) -> None:
    """Whatever the provider's bill says: what was spent without a lease counts too."""
    episode_id, day = paying.planned(), day_of(paying.clock.now())
    idle: Entry = entry(micros(40) - WHOLE + 1, "idle", "idle", "cuda")
    paying.store.purse.charge("idle:g1", Bearer(day), [idle])
    assert try_claim(paying, episode_id) is None
    assert stopped(paying) == (Mode.RUNNING, True, "cost guard")
