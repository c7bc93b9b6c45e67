"""The purse on every database: reserve before spending, settle with what was spent, and a ledger that adds up."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from podinsight.adapters.database import SqlStore, open_store
from podinsight.adapters.database.purse import SqlPurse
from podinsight.domain.budget import PROJECT_KEY, Budget, Limits, Refusal, Scope, accounts
from podinsight.domain.days import begins_at
from podinsight.domain.money import Unit, micros
from podinsight.errors import Permanent
from podinsight.ports import Bearer, By, Entry, LedgerLine, Reservation, Total
from tests.conftest import LIMITS, STALE_SECONDS
from tests.support.clock import ManualClock
from tests.support.rows import snapshot
from tests.support.spending import entry, recount_money

DAY, MONTH = "2023-11-14", "2023-11"  # of the ManualClock
STOPS = Limits().ceilings()
EVERYWHERE = accounts(DAY, episode_id="e1", run_id="r1", gpu=True)


@pytest.fixture
def purse(store: SqlStore) -> SqlPurse:
    return store.purse


def asked(token: str, usd: str, episode_id: str = "e1", *, gpu: bool = True) -> Reservation:
    return Reservation(token, micros(usd), "chunk", 7, episode_id, "f1", "r1", gpu)


def spend(purse: SqlPurse, usd: str, episode_id: str = "") -> None:
    """So much GPU work today that nobody reserved."""
    token = f"spent-{episode_id}-{usd}"
    assert purse.charge(token, Bearer(DAY, episode_id), [entry(micros(usd))])


def test_what_is_reserved_counts_everywhere(store: SqlStore, purse: SqlPurse) -> None:
    assert purse.reserve(asked("t1", "1.25"), STOPS) is None
    assert purse.budgets(EVERYWHERE) == [Budget(scope, key, micros("1.25"), 0) for scope, key in EVERYWHERE]
    assert purse.reserve(asked("t2", "1", gpu=False), STOPS) is None
    assert (purse.open(Scope.DAY, DAY), purse.open(Scope.GPU_DAY, DAY)) == (micros("2.25"), micros("1.25"))
    recount_money(store)


def test_what_was_spent_takes_the_place_of_what_was_reserved(
    store: SqlStore, purse: SqlPurse, clock: ManualClock
) -> None:
    """G1, G2: less, more and nothing."""
    for token in ("less", "more", "nothing"):
        assert purse.reserve(asked(token, "0.50"), STOPS) is None
    assert purse.settle("less", [entry(micros("0.10")), entry(micros("0.000001"), service="cpu", device_kind="")])
    assert purse.settle("more", [entry(micros("0.75"))])
    assert purse.release("nothing")
    assert purse.budget(Scope.ITEM, "e1") == Budget(Scope.ITEM, "e1", 0, micros("0.850001"))
    assert purse.spent(Scope.GPU_DAY, DAY) == micros("0.85")
    line = purse.entries(DAY, DAY)[0]
    assert line == LedgerLine(line.id, clock.now(), Bearer(DAY, "e1", "f1", "r1"), "less", entry(micros("0.10")))
    recount_money(store)


def test_work_that_was_reserved_for_a_cpu_and_ran_on_a_gpu_counts_there(store: SqlStore, purse: SqlPurse) -> None:
    """And takes nothing from what others have reserved there."""
    assert purse.reserve(asked("gpu", "0.75"), STOPS) is None
    assert purse.reserve(asked("cpu", "0.50", gpu=False), STOPS) is None
    assert purse.settle("cpu", [entry(micros("0.20"))])
    assert purse.budget(Scope.GPU_DAY, DAY) == Budget(Scope.GPU_DAY, DAY, micros("0.75"), micros("0.20"))
    recount_money(store)


def test_no_token_counts_twice(store: SqlStore, purse: SqlPurse) -> None:
    for _ in range(2):
        assert purse.reserve(asked("t1", "3"), STOPS) is None  # the second time nothing more would fit
    assert [purse.settle("t1", [entry(5)]) for _ in range(2)] == [True, False]
    assert not purse.release("t1")
    assert [purse.charge("c1", Bearer(DAY), [entry(7)]) for _ in range(2)] == [True, False]
    assert purse.reserve(asked("t2", "1"), STOPS) is None
    assert [purse.release("t2") for _ in range(2)] == [True, False]
    assert not purse.release("never")
    assert (purse.spent(Scope.DAY, DAY), purse.open(Scope.DAY, DAY)) == (12, 0)
    recount_money(store)


def test_a_token_stands_for_one_thing(store: SqlStore, purse: SqlPurse) -> None:
    assert purse.reserve(asked("t1", "1"), STOPS) is None
    before = snapshot(store)
    for other in (asked("t1", "2"), asked("t1", "1", "e2"), asked("t1", "1", gpu=False)):
        with pytest.raises(Permanent, match="t1 has been used"):
            purse.reserve(other, STOPS)
    with pytest.raises(Permanent, match="nothing was reserved under t9"):
        purse.settle("t9", [entry(1)])
    assert snapshot(store) == before
    purse.release("t1")
    with pytest.raises(Permanent, match="released"):
        purse.reserve(asked("t1", "1"), STOPS)


def test_who_was_given_up_and_had_spent_after_all_is_written_down(store: SqlStore, purse: SqlPurse) -> None:
    assert purse.reserve(asked("t1", "1"), STOPS) is None
    assert purse.release("t1")
    assert [purse.settle("t1", [entry(9)]) for _ in range(2)] == [True, False]
    assert (purse.spent(Scope.ITEM, "e1"), purse.open(Scope.ITEM, "e1")) == (9, 0)
    recount_money(store)


def test_a_refusal_says_why_and_changes_nothing(store: SqlStore, purse: SqlPurse) -> None:
    """G2: to the micro-dollar, and nothing stays reserved in the budgets that were asked before."""
    assert purse.reserve(asked("t1", "2.50"), STOPS) is None
    spend(purse, "0.25", "e1")
    before = snapshot(store)
    more = Reservation("t2", 250_001, episode_id="e1", run_id="new")
    assert purse.reserve(more, STOPS) == Refusal(
        Scope.ITEM, "e1", micros("0.25"), micros("2.50"), 0, 250_001, micros(3)
    )
    assert purse.reserve(asked("t3", "1", "e2"), {**STOPS, Scope.PROJECT: micros("3.74")}) == Refusal(
        Scope.PROJECT, PROJECT_KEY, micros("0.25"), micros("2.50"), 0, micros(1), micros("3.74")
    )
    assert snapshot(store) == before
    assert purse.reserve(Reservation("t2", 250_000, episode_id="e1"), STOPS) is None


def test_budgets_are_asked_in_the_order_of_the_scopes(purse: SqlPurse) -> None:
    full = dict.fromkeys(Scope, 0)
    for scope in Scope:
        refused = purse.reserve(asked("t", "1"), full)
        assert refused is not None
        assert refused.scope is scope
        del full[scope]
    assert purse.reserve(asked("t", "1"), full) is None


def test_what_the_fleet_burns_counts_where_all_share(purse: SqlPurse) -> None:
    """G2; scenario 12: GPU day $39.20, and what burns until the next sweep leaves no room."""
    spend(purse, "39.20")
    refused = purse.reserve(asked("t", "0.50"), STOPS, micros("0.31"))
    assert refused == Refusal(Scope.GPU_DAY, DAY, micros("39.20"), 0, micros("0.31"), micros("0.50"), micros(40))
    assert purse.reserve(asked("t", "0.50"), STOPS, micros("0.30")) is None
    assert purse.reserve(asked("u", "2.50", "e2", gpu=False), STOPS, micros("50")) is None
    own = {Scope.ITEM: micros(3), Scope.RUN: micros(6)}
    assert purse.reserve(asked("v", "2.50"), own, micros("1000")) is None
    with pytest.raises(ValueError, match="burn"):
        purse.reserve(asked("w", "0"), STOPS, -1)


def test_what_costs_nothing_fits_under_ceilings_of_nothing(purse: SqlPurse) -> None:
    """G3: nothing asked is no micro-dollar over, as for the brain and the sweep; what costs anything is."""
    nothing = dict.fromkeys(Scope, 0)
    assert purse.reserve(asked("free", "0"), nothing) is None
    refused = purse.reserve(asked("paid", "0.000001"), nothing)
    assert refused == Refusal(Scope.ITEM, "e1", 0, 0, 0, 1, 0)


def test_alert_levels_never_bind(purse: SqlPurse) -> None:
    """G3: $15 a day, $50 a month, $40 for the project are passed, and work goes on up to the stop levels."""
    spend(purse, "39.00")
    assert purse.charge("cpu", Bearer(DAY), [entry(micros(20), device_kind="")])
    assert purse.reserve(asked("t", "1"), STOPS) is None
    assert Limits().day.reached(purse.spent(Scope.DAY, DAY)) == (micros(5), micros(15))


def test_a_run_has_the_ceiling_that_was_laid_down_for_it(purse: SqlPurse) -> None:
    """G4: `--max-usd` binds the run, whoever reserves for it; the lower of the two holds."""
    purse.limit(Scope.RUN, "r1", micros("0.40"))
    refused = purse.reserve(asked("t", "0.50"), STOPS)
    assert refused is not None
    assert (refused.scope, refused.ceiling) == (Scope.RUN, micros("0.40"))
    assert purse.reserve(Reservation("other", micros("0.50"), run_id="r2"), STOPS) is None
    refused = purse.reserve(asked("t", "0.35"), {Scope.RUN: micros("0.30")})
    assert refused is not None
    assert refused.ceiling == micros("0.30")
    purse.limit(Scope.RUN, "r1", None)
    assert purse.reserve(asked("t", "0.50"), STOPS) is None


def test_a_cost_belongs_to_the_day_it_was_reserved(store: SqlStore, purse: SqlPurse, clock: ManualClock) -> None:
    """Scenario 21: settled after midnight of the last of the month; the new month begins at zero, and stays at it."""
    clock.advance(begins_at("2023-12-01") - clock.now() - 1)
    assert purse.reserve(asked("late", "2"), STOPS) is None
    assert purse.reserve(asked("given up", "0.50"), STOPS) is None
    clock.advance(2)
    assert purse.reserve(asked("early", "0.25"), STOPS) is None
    assert purse.settle("late", [entry(micros("1.50"))])
    assert purse.release("given up")
    assert purse.budgets([(Scope.DAY, "2023-11-30"), (Scope.MONTH, MONTH)]) == [
        Budget(Scope.DAY, "2023-11-30", 0, micros("1.50")),
        Budget(Scope.MONTH, MONTH, 0, micros("1.50")),
    ]
    for scope, key in ((Scope.DAY, "2023-12-01"), (Scope.GPU_DAY, "2023-12-01"), (Scope.MONTH, "2023-12")):
        assert purse.budget(scope, key) == Budget(scope, key, micros("0.25"), 0)
    assert purse.budget(Scope.ITEM, "e1") == Budget(Scope.ITEM, "e1", micros("0.25"), micros("1.50"))
    recount_money(store)


def test_another_process_sees_the_same(store: SqlStore, purse: SqlPurse, another: Callable[[], SqlStore]) -> None:
    assert purse.reserve(asked("t1", "2"), STOPS) is None
    purse.limit(Scope.RUN, "r1", micros("2.50"))
    other = another().purse
    assert other.reserve(asked("t2", "0.60"), STOPS) is not None
    assert other.settle("t1", [entry(micros(1))])
    assert other.reserve(asked("t2", "0.60"), STOPS) is None
    assert not purse.settle("t1", [entry(micros(1))])
    recount_money(store)


def test_a_restored_backup_goes_on_where_it_was(tmp_path: Path, clock: ManualClock) -> None:
    """What was reserved when the backup was made still holds its room, and can be settled once."""
    before = open_store(f"sqlite:///{tmp_path / 'before.db'}", clock, LIMITS, STALE_SECONDS)
    assert before.purse.reserve(asked("t1", "2.50"), STOPS) is None
    with (
        closing(sqlite3.connect(tmp_path / "before.db")) as source,
        closing(sqlite3.connect(tmp_path / "b.db")) as copy,
    ):
        source.backup(copy)
    before.close()
    after = open_store(f"sqlite:///{tmp_path / 'b.db'}", clock, LIMITS, STALE_SECONDS)
    assert after.purse.reserve(asked("t2", "0.75"), STOPS) is not None
    assert [each.reservation for each in after.purse.unsettled(clock.now() + 1, 9)] == [asked("t1", "2.50")]
    assert [after.purse.settle("t1", [entry(micros(2))]) for _ in range(2)] == [True, False]
    assert after.purse.reserve(asked("t2", "0.75"), STOPS) is None
    recount_money(after)
    after.close()


def test_open_reservations_are_found_by_their_age(purse: SqlPurse, clock: ManualClock) -> None:
    for n in range(4):
        assert purse.reserve(asked(f"t{n}", "0.10"), STOPS) is None
        clock.advance(10)
    purse.settle("t0", [])
    found = purse.unsettled(clock.now() - 10, 9)
    assert [(each.reservation.token, each.day) for each in found] == [("t1", DAY), ("t2", DAY)]
    assert [each.reservation.token for each in purse.unsettled(clock.now(), 1)] == ["t1"]


def test_the_ledger_adds_up_whatever_it_is_asked_by(store: SqlStore, purse: SqlPurse) -> None:
    """G1: every micro-dollar by item, stage, service, feed, run, device, day and month."""
    sure = Entry("transcribe", "gpu", 1_000_001, Unit.MILLISECONDS, 526_000, "T4", "spot", note="g4dn.xlarge")
    unsure = Entry("fetch", "egress", 3, Unit.BYTES, 90_000, estimated=True)
    assert (sure.micros, unsure.micros) == (146_112, 1)
    assert purse.charge("a", Bearer(DAY, "e1", "f1", "r1"), [sure, unsure])
    assert purse.charge("b", Bearer("2023-12-01", "e2", "f1"), [sure])
    assert purse.charge("c", Bearer("2023-12-02"), [unsure])
    everything = sure.micros * 2 + unsure.micros * 2
    for by in By:
        assert sum(each.micros for each in purse.totals(by, DAY, "2023-12-02")) == everything
    assert purse.totals(By.SERVICE, DAY, "2023-12-02") == [
        Total("gpu", 292_224, 0, 2, gpu_ms=2_000_002),
        Total("egress", 2, 2, 2, bytes=6),
    ]
    assert purse.totals(By.ITEM, DAY, "2023-12-01", over=146_112) == [Total("e1", 146_113, 1, 2, 1_000_001, bytes=3)]
    assert [each.key for each in purse.totals(By.DAY, DAY, "2023-12-01")] == [DAY, "2023-12-01"]
    assert purse.totals(By.MONTH, "2023-12-01", "2023-12-31") == [Total("2023-12", 146_113, 1, 2, 1_000_001, bytes=3)]
    recount_money(store)


def test_the_ledger_is_read_by_pages(purse: SqlPurse) -> None:
    for n in range(5):
        assert purse.charge(f"c{n}", Bearer(DAY, f"e{n % 2}"), [entry(n)])
    first = purse.entries(DAY, DAY, limit=3)
    rest = purse.entries(DAY, DAY, after=first[-1].id, limit=3)
    assert [line.token for line in first + rest] == [f"c{n}" for n in range(5)]
    assert [line.entry.micros for line in purse.entries(DAY, DAY, episode_id="e1")] == [1, 3]
    assert purse.entries("2023-11-15", "2023-12-31") == []


def test_nothing_is_reserved_or_spent_below_zero() -> None:
    for make in (lambda: Reservation("t", -1), lambda: Reservation("", 1), lambda: entry(-1)):
        with pytest.raises(ValueError, match="cannot be"):
            make()
