"""What people are told of a stop (G3, G5)."""

from dataclasses import replace

import pytest

from podinsight.domain.alerts import Severity, person_stop_alert, resume_alert, stop_alert
from podinsight.domain.control import RESUME, Control, Mode


@pytest.mark.parametrize(
    ("what", "setting"),
    [
        ("stop:gpu_day:2026-11-22", "stop_gpu_day_usd"),
        ("stop:day:2026-11-22", "stop_day_usd"),
        ("stop:month:2026-11", "stop_month_usd"),
        ("stop:project:all", "stop_project_usd"),
    ],
)
def test_a_stop_names_the_setting_to_raise(what: str, setting: str) -> None:
    """G3: who is told of it need not look up which level it was; a resume alone would be stopped again."""
    told = stop_alert(what, Control(), Control(gpu_frozen=True, why="spent"))
    assert told.body == (f"Raise `{setting}` and `podrun restart` first, or it is stopped again. `{RESUME}` goes on.")
    assert (told.key, told.title) == (what, "GPU work is frozen: spent")


def test_items_that_halt_everything_have_no_such_setting() -> None:
    told = stop_alert("stop:items:1700000000", Control(at=5.0), Control(Mode.HALTED, why="dear"))
    assert (told.key, told.body) == ("stop:items:1700000000:5", f"`{RESUME}` goes on.")


def test_a_freeze_under_a_halt_is_told_as_a_freeze() -> None:
    was, now = Control(Mode.HALTED, by="ada", at=5.0, why="empty"), Control(Mode.HALTED, True, why="spent")
    assert stop_alert("stop:gpu_day:2026-11-22", was, now).title == "GPU work is frozen: spent"
    assert stop_alert("stop:month:2026-11", Control(), now).title == "everything is halted: spent"


def test_a_team_learns_who_stopped_and_who_goes_on() -> None:
    """O7: a warning; pages are for what nobody meant."""
    paused = person_stop_alert(Mode.PAUSED, Control(), "ada", "disk")
    assert (paused.severity, paused.title) == (Severity.WARNING, "paused by ada: disk")
    assert paused.body == f"Nothing new starts. What runs is finished. `{RESUME}` goes on."
    halted = person_stop_alert(Mode.HALTED, Control(at=5.0), "bob", "empty")
    assert (halted.title, halted.body) == ("halted by bob: empty", f"Nothing new starts. `{RESUME}` goes on.")
    was, below = Control(Mode.HALTED, by="bob", at=6.0, why="empty"), Control(Mode.PAUSED, by="ada", why="disk")
    resumed = resume_alert(was, was, below, "eve", "full again")
    assert (resumed.severity, resumed.title) == (Severity.WARNING, "resumed by eve: full again")
    assert resumed.body == "Lifted: halted by bob: empty\nStill paused by ada: disk"
    assert resume_alert(was, was, Control(), "eve", "w").body.endswith("\nWork goes on.")
    assert len({each.key for each in (paused, halted, resumed)}) == 3


def test_each_pause_under_one_halt_is_told() -> None:
    """O7: the halt above them stays as it was, with its time; only the same pause said again is no news."""
    halt = Control(Mode.HALTED, by="ada", at=5.0, why="empty")
    said = [("bob", "disk"), ("eve", "disk"), ("bob", "network"), ("bob", "disk")]
    keys = [person_stop_alert(Mode.PAUSED, halt, by, why).key for by, why in said]
    assert len(set(keys)) == 3
    assert keys[0] == keys[3]
    assert person_stop_alert(Mode.PAUSED, replace(halt, at=6.0), *said[0]).key not in keys
    assert len(person_stop_alert(Mode.PAUSED, halt, "b" * 500, "\udcff" * 500).key) <= 200
