"""The cost sweep as a whole (G3, G5, G8)."""

import threading
from collections.abc import Callable

import pytest

from podinsight.domain.alerts import Severity
from podinsight.domain.budget import Level, Scope
from podinsight.domain.control import Control, Mode
from podinsight.domain.days import begins_at, day_of
from podinsight.domain.fleet import FleetState, Group
from podinsight.domain.money import cost, micros
from podinsight.errors import LeaseLost
from podinsight.ports import Reservation
from podinsight.services.guard import GUARD, freeze
from podinsight.services.scale import scale
from podinsight.services.stop_mark import KEY
from tests.support.guarding import Guard
from tests.support.rows import LEASE_SECONDS


def test_a_sweep_of_nothing_says_so_and_leaves_its_mark(guard: Guard) -> None:
    assert guard.sweep() == "all well"
    assert guard.store.control.ticks()["sweep"] == guard.clock.now()
    assert guard.control == Control()
    assert guard.told() == []


# --------------------------------------------------------------------------------------------------- the stop levels


def test_scenario_12_gpu_work_is_frozen_before_its_day_is_spent_and_downloads_go_on(guard: Guard) -> None:
    """GPU day $39.20, burn $10 an hour: frozen before $40.00; CPU downloads go on."""
    chunked, (to_fetch,) = guard.rows.planned(), guard.rows.fetches(1)
    guard.fleet.scale(1)
    guard.spend("39.20")
    for _ in range(60):
        guard.sweep()
        if guard.control.gpu_frozen:
            break
        guard.clock.advance(60)
        guard.spend(f"{cost(60, micros(10)) / 1e6:.6f}")
    spent = guard.store.purse.spent(Scope.GPU_DAY, guard.today)
    assert micros("39.60") < spent < micros(40)
    assert spent + cost(80, micros(10)) < micros("40.20")
    assert (guard.control.mode, guard.control.by) == (Mode.RUNNING, GUARD)
    (alert,) = [each for each in guard.notifier.told if each.severity is Severity.CRITICAL]
    assert alert.key.startswith(f"stop:gpu_day:{guard.today}")
    assert guard.store.work.claim("transcribe", chunked, "g1", LEASE_SECONDS) is None
    assert guard.rows.claim(to_fetch).stage == "fetch"


def test_scenario_17_a_freeze_outlives_sweeps_scaling_and_midnight_until_a_named_resume(guard: Guard) -> None:
    guard.rows.transcribes(2)
    guard.spend("40")
    guard.sweep()
    assert guard.control.gpu_frozen
    for _ in range(3):
        guard.clock.advance(begins_at(guard.today) + 86_400 + 60 - guard.clock.now())
        for _ in range(3):
            guard.sweep(60)
            scale(guard.ports, guard.rules)
            assert guard.control.gpu_frozen, "a new day's budget is empty, and yet"
            assert guard.fleet.state().living == ()
    guard.go_on()
    guard.sweep(60)
    scale(guard.ports, guard.rules)
    assert (guard.control.gpu_frozen, guard.control.by) == (False, "ada")
    assert guard.fleet.state().living


def test_a_month_that_is_spent_halts_everything_and_the_fleet_goes(guard: Guard) -> None:
    """G3: $100 a month are an emergency stop."""
    guard.fleet.scale(2)
    guard.spend("100", device="")
    said = guard.sweep()
    assert "halted" in said
    assert (guard.control.mode, guard.control.gpu_frozen) == (Mode.HALTED, True)
    guard.sweep(60)
    assert guard.fleet.state().is_zero
    kept = guard.fleet.state().kept
    assert kept is not None
    assert kept.groups[0].desired == 2
    assert f"stop:month:{guard.today[:7]}" in guard.told()


def test_what_was_stopped_by_a_person_is_left_as_it_is(guard: Guard) -> None:
    guard.store.control.write(Control(Mode.PAUSED, by="ada", why="disk"))
    guard.spend("40")
    guard.sweep()
    assert (guard.control.mode, guard.control.gpu_frozen) == (Mode.PAUSED, True)
    guard.go_on()
    assert (guard.control.mode, guard.control.gpu_frozen, guard.control.why) == (Mode.PAUSED, False, "disk")


def test_alert_levels_tell_once_and_stop_nothing(guard: Guard) -> None:
    """G3."""
    episode_id = guard.rows.planned()
    guard.spend("2.60", episode_id)
    guard.spend("2.60", device="")
    for _ in range(3):
        guard.sweep(60)
    assert sorted(guard.told()) == [
        f"alert:day:{guard.today}:5000000",
        f"alert:item:{episode_id}:2500000",
        f"economy:{guard.today}",
    ]
    assert not guard.control.stops


def test_scenario_21_what_a_month_has_cost_in_its_last_minute_is_told_after_midnight(guard: Guard) -> None:
    """G3: $50 a month tell; what is written down for November on the first of December is November's, and told once."""
    guard.under(project=Level())
    guard.clock.advance(begins_at("2023-11-30") + 86_400 - 30 - guard.clock.now())
    guard.spend("49.99", day="2023-11-02", device="")
    guard.sweep()
    assert guard.told() == []
    guard.clock.advance(60)
    guard.spend("0.02", day="2023-11-30", device="")
    for _ in range(3):
        guard.sweep(60)
    assert (guard.today, guard.told()) == ("2023-12-01", ["alert:month:2023-11:50000000"])
    guard.spend("0.02", day="2023-12-01", device="")
    guard.clock.advance(86_400)
    guard.sweep()
    assert guard.told() == ["alert:month:2023-11:50000000"]
    assert not guard.control.stops


def test_what_ended_long_ago_is_told_no_more(guard: Guard) -> None:
    """Of a day and a month that are over nobody is told but on the day after."""
    guard.under(project=Level())
    guard.clock.advance(begins_at("2023-12-02") + 60 - guard.clock.now())
    guard.spend("60", day="2023-11-30", device="")
    guard.sweep()
    assert guard.told() == []


def test_an_unknown_fleet_burns_what_it_did(guard: Guard) -> None:
    """Scenario 10 and G5: what does not answer is not zero."""
    guard.fleet.scale(4)
    guard.clock.advance(10)
    scale(guard.ports, guard.rules)
    guard.store.memory.remember("burn", {"micros": micros("0.90")})
    guard.fleet.denied.add("zone")
    guard.spend("39.20")
    guard.sweep()
    assert guard.control.gpu_frozen


# ---------------------------------------------------------------------------------------------------------- findings


def test_an_idle_machine_is_told_once_and_the_finding_goes_with_it(guard: Guard) -> None:
    """G5: with dollars a day."""
    guard.fleet.scale(1)
    for _ in range(5):
        guard.sweep(60)
    idle = [each.finding for each in guard.store.findings.open()]
    assert {each.day_micros for each in idle} == {micros(240)}
    alerts = [each for each in guard.notifier.told if each.key.startswith("finding:")]
    assert len(alerts) == len(idle)
    assert "($240.00 a day)" in alerts[0].title
    guard.fleet.scale(0)
    guard.clock.advance(10)
    guard.sweep(60)
    assert guard.store.findings.open() == []


def test_a_minimum_is_found_at_once(guard: Guard) -> None:
    """COST-GUARD scenario 3's trap: a group with min=1 and an empty queue."""
    guard.fleet.resize(Group("zone", 1, 1, 4))
    guard.sweep()
    assert [each.finding.subject for each in guard.store.findings.open()] == ["group zone: minimum"]


# ------------------------------------------------------------------------------------------------------ reservations


def test_what_is_reserved_for_work_that_is_gone_is_spent(guard: Guard) -> None:
    """Never given back unseen: it is settled at what it reserved, as an estimate."""
    episode_id = guard.rows.planned()
    lease = guard.rows.claim(episode_id, "transcribe", "g1")
    assert guard.store.purse.reserve(Reservation("lost", 5_000, "chunk", 9, episode_id), {}) is None
    guard.sweep(1800)
    assert len(guard.rows.open()) == 2
    for _ in range(2):
        guard.sweep(1801)
    assert [each.reservation.token for each in guard.rows.open()] == [lease.token], "its lease runs"
    (line,) = [each for each in guard.rows.lines() if each.token == "lost"]
    assert (line.entry.micros, line.entry.estimated, line.bearer.episode_id) == (5_000, True, episode_id)
    assert guard.store.purse.open(Scope.GPU_DAY, day_of(guard.clock.now() - 5402)) == lease_micros(guard)


def lease_micros(guard: Guard) -> int:
    return sum(each.reservation.micros for each in guard.rows.open())


# ------------------------------------------------------------------------------------------------- faults and company


def test_each_part_is_tried_whatever_fails(guard: Guard) -> None:
    """The fleet, the notifier and the object store are away: the stop level holds all the same, and all of it is
    said."""
    guard.spend("40")
    guard.without("fleet", "notifier", "objects", "billing")
    said = guard.sweep()
    assert guard.control.gpu_frozen
    assert "frozen" in said
    assert "mark: " in said
    assert "alerts could not be sent" in said
    assert guard.store.control.ticks()["sweep"] == guard.clock.now()


def test_a_fleet_that_raises_is_unknown(guard: Guard) -> None:
    class Odd:
        name = "odd"

        def state(self) -> FleetState:
            raise KeyError("x")

    guard.with_fleet(Odd())  # type: ignore[arg-type]
    guard.spend("40")
    guard.sweep()
    assert guard.control.gpu_frozen


def test_a_database_that_does_not_answer_leaves_no_tick(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object) -> None:
        raise LeaseLost("gone")

    monkeypatch.setattr(guard.store.purse, "budgets", broken)
    assert "levels: gone" in guard.sweep()
    assert "sweep" not in guard.store.control.ticks()


def test_two_sweeps_at_once_do_no_harm(guard: Guard) -> None:
    """Idle time once, one freeze, one mark, one alert of each."""
    guard.rows.device("g1")
    guard.store.workers.register("g2", "machine", "gpu", 1, 1, "cuda")
    guard.clock.advance(20)
    guard.spend("40")
    at_once(guard.sweep, 4)
    idle = guard.rows.lines("idle")
    assert sorted((each.entry.note, each.entry.quantity) for each in idle) == [("g1", 20_000), ("g2", 20_000)]
    assert sum(each.gpu_frozen for each in guard.store.control.since(0.0)) == 1
    assert guard.ports.objects.exists(KEY)
    assert len({each.id for each in guard.store.alerts.unsent(100)}) == 0


def at_once(work: Callable[[], object], count: int) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()


def test_who_freezes_again_after_a_resume_is_heard_again(guard: Guard) -> None:
    """Once for each stop, and not once for each day."""
    for round_ in range(2):
        assert freeze(guard.store, "spent", "stop:gpu_day:x")
        assert not freeze(guard.store, "spent", "stop:gpu_day:x")
        guard.clock.advance(60)
        guard.store.control.write(Control(by="ada", why=f"round {round_}"))
        guard.clock.advance(60)
    assert [each.alert.key.partition(":x")[0] for each in guard.store.alerts.unsent(10)] == ["stop:gpu_day"] * 2
