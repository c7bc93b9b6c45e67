"""A decision about the number of gpu workers is good for a while only."""

from podinsight.supervisor.thinning import DeadMan
from podinsight.topology import SCALE_TICK
from tests.support.clock import ManualClock

DESIRED = {"fetch": 1, "gpu": 2}
IDLE_GO = {"fetch": 1, "gpu": 0}


def test_scenario_11_without_decisions_no_gpu_worker_is_wanted_until_somebody_decides_again() -> None:
    """Broker and Redis down: the scaler cannot be called, and holds no GPU on. Other pools stay."""
    clock = ManualClock()
    dead_man = DeadMan(120, clock.now)
    ticks = {SCALE_TICK: clock.now()}
    clock.advance(119)
    assert (dead_man.wanted(DESIRED, ticks), dead_man.trouble) == (DESIRED, "")
    clock.advance(2)
    assert dead_man.wanted(DESIRED, ticks) == IDLE_GO
    assert "nobody has decided for more than 120 s" in dead_man.trouble
    ticks = {SCALE_TICK: clock.now()}
    assert (dead_man.wanted(DESIRED, ticks), dead_man.trouble) == (DESIRED, "")


def test_a_supervisor_that_has_just_started_waits_as_long() -> None:
    clock = ManualClock()
    dead_man = DeadMan(120, clock.now)
    for ticks in ({}, {SCALE_TICK: clock.now() - 9999}):
        assert dead_man.wanted(DESIRED, ticks) == DESIRED
    clock.advance(121)
    assert dead_man.wanted(DESIRED, {}) == IDLE_GO


def test_a_fixed_pool_needs_no_decisions() -> None:
    clock = ManualClock()
    dead_man = DeadMan(None, clock.now)
    clock.advance(1e6)
    assert (dead_man.wanted(DESIRED, {}), dead_man.trouble) == (DESIRED, "")
