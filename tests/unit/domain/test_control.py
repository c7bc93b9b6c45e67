"""What stops hold, which comes off next, and that nothing is forgotten (G7, G8)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podinsight.domain.control import Control, Mode, apart, lifted, stopped, stops

PAUSE = Control(Mode.PAUSED, by="ada", at=1.0, why="disk")
FREEZE = Control(gpu_frozen=True, by="cost guard", at=2.0, why="level")
EMERGENCY = Control(Mode.HALTED, True, by="bob", at=3.0, why="fire")
RANK = {mode: rank for rank, mode in enumerate(Mode)}


@pytest.mark.parametrize("stage", ["fetch", "plan", "transcribe"])
@pytest.mark.parametrize("control", [Control(), PAUSE, FREEZE, EMERGENCY, Control(Mode.HALTED)])
def test_what_it_forbids(control: Control, stage: str) -> None:
    forbidden = control.mode is not Mode.RUNNING or (control.gpu_frozen and stage == "transcribe")
    assert (control.forbids(stage) is not None) == forbidden
    assert control.stops == (control not in (Control(),))


def test_economy_and_the_same_stop_again_are_no_stops_of_their_own() -> None:
    saving = Control(Mode.PAUSED, economy=True, by="cost guard", at=4.0, why="80 %")
    again = Control(Mode.PAUSED, by="eve", at=5.0, why="me too")
    assert stops([again, saving, PAUSE, Control()]) == (PAUSE,)
    assert lifted([again, saving, PAUSE]) == Control()
    assert lifted([saving, PAUSE]) == Control(economy=True)


def test_nothing_is_stopped() -> None:
    assert stops([]) == stops([Control(by="ada", at=3.0)]) == ()
    assert lifted([]) == Control()


def test_a_pause_under_a_halt_waits_below_it() -> None:
    """Lifting the halt must not lose the pause; between the rows nothing is ever less than paused."""
    frozen_and_halted = Control(Mode.HALTED, True, by="bob", at=3.0, why="empty")
    rows = stopped([frozen_and_halted, FREEZE], Mode.PAUSED, "ada", "disk")
    assert rows == (Control(Mode.PAUSED, True, by="ada", why="disk"), frozen_and_halted)
    assert stops([*reversed(rows), frozen_and_halted, FREEZE]) == (FREEZE, *rows)


def test_each_stop_is_shown_with_what_it_has_added() -> None:
    """Whoever freezes under a halt has halted nothing; whoever halts under a freeze has frozen nothing."""
    halt = Control(Mode.HALTED, by="bob", at=2.0, why="empty")
    over = Control(Mode.HALTED, True, by="cost guard", at=3.0, why="level")
    assert apart(()) == ()
    assert apart((PAUSE, halt, over)) == (PAUSE, halt, Control(gpu_frozen=True, by="cost guard", at=3.0, why="level"))
    assert apart((FREEZE, EMERGENCY)) == (FREEZE, Control(Mode.HALTED, by="bob", at=3.0, why="fire"))
    assert [each.what for each in (Control(), PAUSE, FREEZE, EMERGENCY)] == [
        "running", "paused", "GPU work frozen", "halted and GPU work frozen",
    ]  # fmt: skip


def do(history: list[Control], step: str, number: int) -> None:
    """One step as the commands, the guard and the emergency shutdown write it; the newest is history[0]."""
    now, at, by = (history[0] if history else Control()), float(number), f"{step}-{number}"
    if step in ("pause", "halt"):
        rows = stopped(history, Mode.PAUSED if step == "pause" else Mode.HALTED, by, "why")
    elif step == "freeze":
        rows = (Control(now.mode, True, now.economy, by, at, "why"),)
    elif step == "emergency":
        rows = (Control(Mode.HALTED, True, now.economy, by, at, "why"),)
    elif step == "economy":
        rows = (Control(now.mode, now.gpu_frozen, not now.economy, now.by, at, now.why),)
    else:
        below = lifted(history)
        rows = (Control(below.mode, below.gpu_frozen, below.economy, by, at, "why"), below)
    for row in rows:
        history.insert(0, Control(row.mode, row.gpu_frozen, row.economy, row.by, row.at or at, row.why))


STEPS = st.lists(st.sampled_from(["pause", "halt", "freeze", "emergency", "economy", "resume"]), max_size=12)


def model(steps: list[str]) -> list[tuple[Mode, bool, str]]:
    """What is stopped in all, and by whom, one over the other: a stop that adds nothing is none; a pause goes below
    the halts."""
    stack: list[tuple[Mode, bool, str]] = []
    for number, step in enumerate(steps, 1):
        mode, frozen, _ = stack[-1] if stack else (Mode.RUNNING, False, "")
        by = f"{step}-{number}"
        if step == "resume":
            stack[-1:] = []
        elif step == "pause" and mode is Mode.HALTED:
            at = next(n for n, each in enumerate(stack) if each[0] is Mode.HALTED)
            below = stack[at - 1] if at else (Mode.RUNNING, False, "")
            if below[0] is not Mode.PAUSED:
                stack.insert(at, (Mode.PAUSED, below[1], by))
        elif step != "economy":
            more = {"pause": (Mode.PAUSED, frozen), "halt": (Mode.HALTED, frozen), "freeze": (mode, True)}
            new = more.get(step, (Mode.HALTED, True))
            if new != (mode, frozen):
                stack.append((*new, by))
    return stack


@given(STEPS)
def test_every_sequence_is_a_stack(steps: list[str]) -> None:
    """Resume gives back exactly what was; economy is nobody's stop and survives all of it."""
    history: list[Control] = []
    for number, step in enumerate(steps, 1):
        do(history, step, number)
        found = stops(history)
        assert [(each.mode, each.gpu_frozen, each.by) for each in found] == model(steps[:number])
        now = history[0]
        assert (now.mode, now.gpu_frozen) == (
            (found[-1].mode, found[-1].gpu_frozen) if found else (Mode.RUNNING, False)
        )
        assert now.economy == bool(steps[:number].count("economy") % 2)


@given(STEPS, st.sampled_from([Mode.PAUSED, Mode.HALTED]))
def test_a_stop_never_lets_anything_start_on_its_way(steps: list[str], mode: Mode) -> None:
    history: list[Control] = []
    for number, step in enumerate(steps, 1):
        do(history, step, number)
    rows = stopped(history, mode, "ada", "disk")
    assert all(RANK[row.mode] >= RANK[Mode.PAUSED] for row in rows)
