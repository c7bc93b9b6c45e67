"""What was stopped, by whom and in which order, on every database (G7, G8)."""

import threading
from collections.abc import Callable, Sequence

import pytest

from podinsight.adapters.database import SqlStore
from podinsight.domain.alerts import Alert, Severity
from podinsight.domain.control import Control, Mode, stopped, stops
from tests.support.clock import ManualClock


def test_the_history_goes_back_to_when_nothing_was_stopped(store: SqlStore, clock: ManualClock) -> None:
    assert store.control.history() == []
    for control in (Control(Mode.HALTED), Control(by="cy"), Control(Mode.PAUSED, by="ada"), Control(gpu_frozen=True)):
        store.control.write(control)
        clock.advance(1)
    now = clock.now()
    assert store.control.history() == [
        Control(gpu_frozen=True, at=now - 1),
        Control(Mode.PAUSED, by="ada", at=now - 2),
        Control(by="cy", at=now - 3),
    ]


def test_stops_survive_everything_that_forgets(
    store: SqlStore, another: Callable[[], SqlStore], clock: ManualClock
) -> None:
    """Another process, a new day, a thousand words of economy."""
    store.control.revise(lambda history: stopped(history, Mode.PAUSED, "ada", "disk"))
    store.control.revise(lambda history: stopped(history, Mode.HALTED, "bob", "empty"))
    clock.advance(86_400)
    for number in range(30):
        store.control.write(Control(Mode.HALTED, economy=bool(number % 2), by="cost guard"))
    found = stops(another().control.history())
    assert [(each.mode, each.by, each.at) for each in found] == [
        (Mode.PAUSED, "ada", clock.now() - 86_400),
        (Mode.HALTED, "bob", clock.now() - 86_400),
    ]


def test_a_revision_keeps_times_that_it_is_given(store: SqlStore, clock: ManualClock) -> None:
    def rule(history: Sequence[Control]) -> Sequence[Control]:
        return [Control(Mode.PAUSED, by="ada\0", at=7.0, why="\ud800"), Control(Mode.HALTED, by="bob")]

    written = store.control.revise(rule)
    assert written == [Control(Mode.HALTED, by="bob", at=clock.now()), Control(Mode.PAUSED, by="ada", at=7.0, why="?")]
    assert store.control.revise(lambda history: ()) == written


def test_what_people_are_told_is_written_with_the_stop_or_not_at_all(store: SqlStore) -> None:
    """O7: whoever is killed between the two must not have stopped work without a word."""
    halted, was_seen = Control(Mode.HALTED, by="bob"), []

    def told(was: Control, now: Control) -> Alert:
        was_seen.append((was.by, now.by))
        return Alert("stop:day", Severity.CRITICAL, f"halted by {now.by}")

    def dies(_was: Control, _now: Control) -> Alert:
        raise KeyError("killed")

    with pytest.raises(KeyError):
        store.control.revise(lambda history: [halted], dies)
    assert (store.control.read(), store.alerts.unsent(9)) == (Control(), [])
    store.control.revise(lambda history: [], told)
    assert (was_seen, store.alerts.unsent(9)) == ([], []), "nothing was written"
    store.control.revise(lambda history: [Control(Mode.PAUSED, by="ada"), halted], told)
    assert was_seen == [("default", "bob")]
    assert [each.alert.title for each in store.alerts.unsent(9)] == ["halted by bob"]
    store.control.revise(lambda history: [Control(by="cy")], lambda _was, _now: None)
    assert len(store.alerts.unsent(9)) == 1


def test_a_rule_that_refuses_changes_nothing(store: SqlStore) -> None:
    def rule(_history: Sequence[Control]) -> Sequence[Control]:
        raise KeyError("no")

    with pytest.raises(KeyError):
        store.control.revise(rule)
    assert store.control.read() == Control()


def test_nobody_writes_between_what_a_rule_sees_and_what_it_writes(
    store: SqlStore, another: Callable[[], SqlStore]
) -> None:
    """A freeze of the guard that comes during a resume is neither lost nor lifted."""
    if another() is store:
        pytest.skip("one connection: nobody can be in between")
    store.control.write(Control(Mode.PAUSED, by="ada"))
    freezing = threading.Thread(target=another().control.write, args=(Control(Mode.PAUSED, gpu_frozen=True),))

    def rule(history: Sequence[Control]) -> Sequence[Control]:
        freezing.start()
        freezing.join(0.3)
        assert freezing.is_alive()
        assert len(history) == 1
        return [Control(by="cy")]

    store.control.revise(rule)
    freezing.join(30)
    assert [(each.mode, each.gpu_frozen) for each in store.control.history()] == [
        (Mode.PAUSED, True),
        (Mode.RUNNING, False),
    ]
