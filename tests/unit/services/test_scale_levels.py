"""Scaling under stop levels, and after them (G2, G3, G7)."""

from dataclasses import replace

import pytest

from podinsight.adapters.memory_fleet import MemoryFleet
from podinsight.domain.budget import Level, Limits, Scope, accounts
from podinsight.domain.control import Control, Mode
from podinsight.domain.days import day_of
from podinsight.domain.fleet import Group
from podinsight.domain.money import DOLLAR, micros
from podinsight.domain.prices import Price
from podinsight.services import in_force
from podinsight.services.guard import freeze
from podinsight.services.resume import ResumePorts, reached, resume
from podinsight.services.sweep import sweep
from tests.support.scaling import MAKE, Guarded


def test_a_stop_level_that_leaves_no_room_freezes_gpu_work_and_says_so_once(guarded: Guarded) -> None:
    """G3, scenario 12: before the level is reached, not after."""
    guarded.rules = replace(guarded.rules, limits=Limits(gpu_day=Level((), micros(2))))
    guarded.rows.transcribes(6)
    guarded.spend(micros("1.95"))
    assert guarded.run(10) == [0, 0]
    assert guarded.control.gpu_frozen
    assert guarded.control.mode is Mode.RUNNING, "CPU work goes on"
    assert "of the $2.00 of GPU work on 2023-11-14" in guarded.control.why
    assert guarded.control.why.endswith("(stop_gpu_day_usd)"), "so that nobody has to resume in vain to learn it"
    (alert,) = guarded.rows.store.alerts.unsent(5)
    assert alert.alert.key == "stop:gpu_day:2023-11-14"


def test_a_fixed_fleet_that_is_paid_for_is_at_zero_while_its_work_is_frozen(guarded: Guarded) -> None:
    """G3: a stop level holds for machines that always run, too; a resume brings back as many as there were."""
    guarded.rules = replace(guarded.rules, scales=False)
    guarded.fleet.scale(3)
    assert guarded.run(20)[-1] == 3
    freeze(guarded.rows.store, "it costs too much", "stop:test")
    assert guarded.run(20)[-1] == 0
    resume(ResumePorts(guarded.rows.store, guarded.fleet, guarded.clock), guarded.rules.limits, "ada", "paid")
    assert guarded.run(20)[-1] == 3


def test_machines_that_cost_nothing_come_under_levels_of_nothing(guarded: Guarded) -> None:
    """G3: neither the brain nor the sweep freezes what costs nothing, and a resume sees no level that would; the first
    micro-dollar does."""
    nothing = Level((), 0)
    limits = Limits(day=nothing, gpu_day=nothing, month=nothing, project=nothing)
    free = replace(MAKE, rate=Price(0, "settings"))
    guarded.fleet = MemoryFleet(guarded.clock, [Group("zone-0", 0, 0, 4)], free)
    guarded.rules = replace(guarded.rules, limits=limits)
    guarded.rows.transcribes(6)
    guarded.rows.store.workers.register("g1", "machine", "gpu", 1, 1, "cpu")
    assert guarded.run(20) == [3] * 4
    sweep(guarded.ports(), guarded.rules)
    assert guarded.control == Control()
    assert guarded.rows.store.alerts.unsent(5) == []
    at_rest = ResumePorts(guarded.rows.store, guarded.fleet, guarded.clock, 90.0)
    assert reached(at_rest, limits) == ()

    guarded.spend(1)
    assert [each.scope for each in reached(at_rest, limits)] == [Scope.DAY, Scope.GPU_DAY, Scope.MONTH, Scope.PROJECT]
    assert guarded.run(10)[-1] == 0
    assert guarded.control.gpu_frozen


@pytest.mark.parametrize("scales", [True, False])
def test_it_leaves_word_of_the_levels_that_hold_here(guarded: Guarded, scales: bool) -> None:
    """G3, G7: what `podrun resume` compares its own with."""
    guarded.rules = replace(guarded.rules, limits=Limits(gpu_day=Level((), 7), month=Level()), scales=scales)
    guarded.decide()
    ceilings = in_force.held(guarded.rows.store, guarded.clock.now() + 10, 10) or {}
    assert (ceilings[Scope.GPU_DAY], ceilings.get(Scope.MONTH)) == (7, None)
    assert in_force.held(guarded.rows.store, guarded.clock.now() + 11, 10) is None


def test_the_month_halts_everything(guarded: Guarded) -> None:
    guarded.rules = replace(guarded.rules, limits=Limits(month=Level((), DOLLAR), gpu_day=Level()))
    guarded.rows.transcribes(1)
    guarded.spend(DOLLAR)
    guarded.run(5)
    assert guarded.control.mode is Mode.HALTED


def test_scenario_17_a_freeze_outlives_scaling_and_midnight_until_a_named_person_resumes(guarded: Guarded) -> None:
    """Frozen; then sweep and scaler come again and again, and midnight with a fresh budget: it stays frozen."""
    guarded.rules = replace(guarded.rules, limits=Limits(gpu_day=Level((), micros(2))))
    guarded.rows.transcribes(2)
    guarded.spend(micros("1.99"))
    guarded.run(5)
    assert guarded.control.gpu_frozen
    first = day_of(guarded.clock.now())
    while day_of(guarded.clock.now()) == first:
        guarded.clock.advance(3600)
        sweep(guarded.ports(), guarded.rules)
        assert guarded.run(5) == [0]
    budget = guarded.rows.store.purse.budgets(accounts(day_of(guarded.clock.now()), gpu=True))[1]
    assert budget.spent == 0, "the new day has all its money"
    assert guarded.run(60)[-1] == 0
    assert guarded.control.gpu_frozen

    done = resume(ResumePorts(guarded.rows.store, guarded.fleet, guarded.clock), guarded.rules.limits, "ada", "new day")
    assert (done.held, done.reached) == ((), ())
    assert guarded.control.by == "ada"
    assert guarded.run(10)[-1] == 1


@pytest.mark.parametrize("room", [90_000, 94_000, 184_999, 185_000, 185_001, 200_000])
def test_after_a_resume_that_warns_no_worker_starts(guarded: Guarded, room: int) -> None:
    """G2, G3, G7: whoever lifts a freeze without raising the level is warned exactly when nothing could be claimed; it
    is frozen again, and no machine has started for it."""
    fleet = replace(guarded.rules.fleet, lease=90.0)
    guarded.rules = replace(guarded.rules, fleet=fleet, limits=Limits(gpu_day=Level((), micros(2)), month=Level()))
    guarded.rows.transcribes(2)
    guarded.spend(micros(2) - room)
    freeze(guarded.rows.store, "spent", "stop:gpu_day:x")
    ports = ResumePorts(guarded.rows.store, guarded.fleet, guarded.clock, fleet.launch)
    warned = bool(resume(ports, guarded.rules.limits, "ada", "again").reached)
    assert warned == (room <= fleet.launch * 1000)
    assert guarded.run(10) == ([0, 0] if warned else [1, 1])
    assert guarded.control.gpu_frozen == warned
    assert bool(guarded.fleet.state().instances) != warned, "nothing was started for it"
