"""What people are told of a stop (G3, G5)."""

import pytest

from podinsight.domain.alerts import stop_alert
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
