"""The cost sweep: items that halt everything, and economy mode (G3, G8)."""

from dataclasses import replace

import pytest

from podinsight.domain.budget import Level, Limits, Scope
from podinsight.domain.control import Control, Mode
from podinsight.domain.levels import Halt
from podinsight.domain.money import micros
from podinsight.domain.work import State
from podinsight.services.guard import GUARD
from tests.support.guarding import Guard
from tests.support.rows import LEASE_SECONDS

NONE = Limits(Level(), Level(), Level(), Level(), Level(), Level())


def hold(guard: Guard, count: int) -> list[str]:
    """Episodes that reached $3.00, each held at its next claim."""
    ids = []
    for _ in range(count):
        episode_id = guard.rows.planned()
        guard.spend("3.00", episode_id)
        assert guard.store.work.claim("transcribe", episode_id, "g1", LEASE_SECONDS) is None
        ids.append(episode_id)
    return ids


def test_three_items_held_within_an_hour_halt_the_pipeline(guard: Guard) -> None:
    """G3; two do not, and a person who has gone on after that is not fought."""
    hold(guard, 2)
    guard.sweep(60)
    assert not guard.control.stops
    hold(guard, 1)
    assert "within an hour" in guard.sweep(60)
    assert guard.control.mode is Mode.HALTED
    guard.clock.advance(60)
    guard.go_on()
    guard.sweep(60)
    assert not guard.control.stops
    hold(guard, 3)
    guard.sweep(60)
    assert guard.control.mode is Mode.HALTED


def test_items_that_were_held_hours_apart_halt_nothing(guard: Guard) -> None:
    for _ in range(3):
        hold(guard, 1)
        guard.sweep(2400)
    assert not guard.control.stops


def test_items_that_are_held_for_their_run_halt_nothing(guard: Guard) -> None:
    """`--max-usd` is reached: that is no fault of the items."""
    guard.store.purse.limit(Scope.RUN, "r1", 1)
    for _ in range(4):
        episode_id = guard.rows.planned(run="r1")
        assert guard.store.work.claim("transcribe", episode_id, "g1", LEASE_SECONDS) is None
        assert guard.rows.state(episode_id, "transcribe") is State.HELD
    guard.sweep(60)
    assert not guard.control.stops


def test_items_that_cost_too_much_on_average_halt_the_pipeline(guard: Guard) -> None:
    for number in range(3):
        guard.spend("3.01", f"e{number}")
    assert "on average" in guard.sweep()
    assert guard.control.mode is Mode.HALTED


@pytest.mark.parametrize("stop", [micros(5), None], ids=["higher", "none"])
def test_items_may_cost_no_more_on_average_whatever_one_of_them_may(guard: Guard, stop: int | None) -> None:
    """G3: an average over $3 halts the pipeline; $3 an item is another level, and each is settable by itself."""
    guard.under(item=Level((), stop))
    ids = [guard.rows.planned() for _ in range(3)]
    for episode_id in ids:
        guard.spend("3.00", episode_id)
    guard.sweep()
    assert not guard.control.stops, "at the level, and not over it"
    guard.spend("1.50", ids[0])
    assert "cost $3.50 on average today, which is over $3.00" in guard.sweep(60)
    assert guard.control.mode is Mode.HALTED
    guard.rules = replace(guard.rules, halt=Halt(mean=micros(4)))
    guard.go_on()
    guard.sweep(60)
    assert not guard.control.stops, "the level was raised"


def test_how_many_items_halt_the_pipeline_and_within_how_long_is_settable(guard: Guard) -> None:
    """G3: all settable."""
    guard.rules = replace(guard.rules, halt=Halt(items=2, seconds=600, mean=None))
    hold(guard, 1)
    guard.clock.advance(700)
    hold(guard, 1)
    guard.sweep()
    assert not guard.control.stops
    hold(guard, 1)
    assert "2 episodes reached their stop level within 600 s" in guard.sweep(60)


# ----------------------------------------------------------------------------------------------------------- economy


def test_economy_mode_begins_at_80_per_cent_and_ends_below_60(guard: Guard) -> None:
    """G8, with what it found of control kept."""
    guard.under(project=Level((), micros(10)), gpu_day=Level((), micros(40)))
    guard.spend("7.99")
    guard.sweep()
    assert not guard.saves()
    guard.spend("0.01")
    guard.sweep()
    assert (guard.control.economy, guard.control.by, guard.control.mode) == (True, GUARD, Mode.RUNNING)
    guard.under(project=Level((), micros("13.30")))  # 60.2 %
    guard.sweep(60)
    assert guard.saves()
    guard.under(project=Level((), micros("13.40")))  # 59.7 %
    guard.sweep(60)
    assert not guard.saves()


def test_an_item_near_its_level_saves_until_it_is_done_with(guard: Guard) -> None:
    episode_id = guard.rows.planned()
    guard.spend("2.50", episode_id)
    guard.sweep()
    assert guard.saves()
    guard.spend("0.50", episode_id)
    assert guard.store.work.claim("transcribe", episode_id, "g1", LEASE_SECONDS) is None
    guard.sweep(60)
    assert not guard.saves(), "it is held, and costs no more"


@pytest.mark.parametrize(
    ("alerts", "stop", "own", "begins"),
    [
        ((), None, "2.50", "2.50"),
        (("5",), "10", "2.50", "2.50"),
        (("5",), "3", "2.50", "2.40"),
        (("2.50",), "3", "2.50", "2.40"),
        ((), "2", "2.50", "1.60"),
        ((), "10", None, "8"),
        ((), "10", "4", "4"),
    ],
)
def test_an_item_begins_economy_mode_whatever_people_are_told(
    guard: Guard, alerts: tuple[str, ...], stop: str | None, own: str | None, begins: str
) -> None:
    """G8: at $2.50, or 80 % of its stop level if that is less; alert levels have no part in it."""
    guard.rules = replace(guard.rules, limits=NONE, economy_item=micros(own) if own else None)
    guard.under(item=Level(tuple(micros(each) for each in alerts), micros(stop) if stop else None))
    episode_id = guard.rows.planned()
    guard.spend(f"{(micros(begins) - 1) / 1e6:.6f}", episode_id)
    guard.sweep()
    assert not guard.saves()
    guard.spend("0.000001", episode_id)
    guard.sweep(60)
    assert guard.saves()


def test_an_item_never_begins_economy_mode_where_nobody_wants_it(guard: Guard) -> None:
    guard.rules = replace(guard.rules, limits=NONE, economy_item=None)
    guard.spend("99", guard.rows.planned())
    guard.sweep()
    assert not guard.saves()


def test_long_episodes_wait_while_economy_mode_is_on(guard: Guard) -> None:
    """G8: the longest are held; what has begun is finished."""
    guard.rules = type(guard.rules)(NONE, guard.rules.fleet, True, 1.0, "tiny.en", 50.0)
    guard.under(project=Level((), micros(10)))
    ids = guard.rows.transcribes(2, chunks=2)
    guard.rows.device("g1")
    begun = guard.rows.claim(ids[0], "transcribe", "g1")
    guard.spend("8")
    assert "1 long episodes held" in guard.sweep()
    assert guard.rows.reason(ids[1], "transcribe").startswith("economy: ")
    guard.rows.work.hand_back(begun)
    guard.under(project=Level((), micros(100)))
    assert "1 long episodes go on" in guard.sweep(60)
    assert guard.rows.chunk_states(ids[1]) == [State.WAITING, State.WAITING]
    assert guard.rows.state(ids[1], "transcribe") is State.WAITING


def test_who_stopped_everything_finds_control_as_it_was(guard: Guard) -> None:
    """Economy mode never lifts nor hides a stop."""
    guard.store.control.write(Control(Mode.PAUSED, by="ada", why="disk"))
    before = guard.control
    guard.under(project=Level((), micros(10)))
    guard.spend("9")
    guard.sweep()
    assert guard.control == before
