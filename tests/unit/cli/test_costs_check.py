"""podrun costs check (G5, G7): 0 clean, 1 found, 2 unproven; it changes nothing."""

import json
import time
from typing import Any

import pytest
from click.testing import CliRunner

from podinsight.cli.main import cli
from podinsight.domain.control import Control, Mode
from podinsight.domain.findings import Finding
from podinsight.domain.money import micros
from podinsight.services.guard import freeze
from podinsight.services.look import SWEEP
from tests.support.rows import snapshot
from tests.unit.cli.desk import Desk

CHECK = ("costs", "check")


def document(desk: Desk, code: int) -> Any:
    result = desk.run(*CHECK, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def test_before_the_first_sweep_nothing_is_proven(desk: Desk) -> None:
    """G7: a database that is empty shows nothing, and that is no proof. A database without a stack has no tick."""
    found = document(desk, 2)
    assert found["unproven"] == ["nothing was checked yet: beat sweeps for the first time a minute after `podrun up`"]
    assert (found["clean"], found["swept_seconds_ago"]) == (False, None)
    text = desk.run(*CHECK).output
    assert "UNPROVEN: nothing was checked yet" in text
    assert "last sweep: never" in text
    assert "clean" not in text


def test_a_stack_that_is_not_up_is_clean(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing runs, so nobody has to sweep."""
    desk.store.control.tick(SWEEP)
    swept = desk.store.control.ticks()[SWEEP]
    monkeypatch.setattr(time, "time", lambda: swept + 86_400)
    before = snapshot(desk.store)  # type: ignore[arg-type]
    found = document(desk, 0)
    assert (found["clean"], found["unproven"], found["findings"]) == (True, [], [])
    assert found["swept_seconds_ago"] == 86_400
    levels = {each["scope"]: each for each in found["levels"]}
    assert (levels["gpu_day"]["ceiling_micros"], levels["month"]["ceiling_micros"]) == (micros(40), micros(100))
    text = desk.run(*CHECK).output
    assert "clean: nothing runs for nothing" in text
    assert "last sweep: 86400 s ago" in text
    assert snapshot(desk.store) == before, "it changes nothing"  # type: ignore[arg-type]


def test_what_was_found_is_shown_with_dollars_a_day(desk: Desk) -> None:
    desk.store.control.tick(SWEEP)
    desk.store.findings.report("bill", [Finding("the bill says $9.00", "bill of 2026-11-20", micros(8), "compare")])
    found = document(desk, 1)
    assert found["findings"] == [
        {"what": "the bill says $9.00", "subject": "bill of 2026-11-20", "day_micros": micros(8), "fix": "compare"}
    ]
    text = desk.run(*CHECK).output
    assert "1 finding, $8.00 a day" in text
    assert "clean" not in text


@pytest.mark.parametrize("control", [Control(gpu_frozen=True, by="cost guard", why="spent"), Control(Mode.PAUSED)])
def test_what_is_stopped_is_not_clean(desk: Desk, control: Control) -> None:
    desk.store.control.tick(SWEEP)
    desk.store.control.write(control)
    assert document(desk, 1)["control"]["gpu_frozen"] is control.gpu_frozen


def test_a_freeze_under_a_halt_is_no_halt_by_the_guard(desk: Desk) -> None:
    """G3, G7: each stop with its own name and reason, the last one first, wherever stops are shown."""
    assert desk.run("halt", "--by", "ada", "--why", "empty").exit_code == 0
    freeze(desk.store, "spent", "stop:gpu_day:x")
    for command in (CHECK, ("status",), ("fleet", "status")):
        said = desk.run(*command).output
        assert "halted by cost guard" not in said, command
        assert "halted and GPU" not in said, command
        assert said.index("frozen by cost guard") < said.index("halted by ada"), command
    lifted = desk.run("resume", "--by", "bob", "--why", "raised").stdout
    assert "lifted: GPU work frozen by cost guard" in lifted
    assert "still halted by ada" in lifted
    freeze(desk.store, "spent", "stop:gpu_day:x")
    said = desk.run("pause", "--by", "bob", "--why", "disk").stdout
    assert "what was stopped before stays so: GPU work frozen by cost guard" in said


def test_workers_that_nobody_sweeps_after_are_unproven(desk: Desk) -> None:
    desk.start_worker()
    assert document(desk, 2)["unproven"] == [
        "nothing was checked yet: beat sweeps for the first time a minute after `podrun up`"
    ]
    desk.store.control.tick(SWEEP)
    assert document(desk, 0)["swept_seconds_ago"] < 60
    assert "UNPROVEN" not in desk.run(*CHECK).output


def test_a_database_that_is_away_is_unproven(state: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODINSIGHT_DATABASE_URL", "postgresql+psycopg://ann:secret@127.0.0.1:9/podinsight")
    result = CliRunner().invoke(cli, list(CHECK), prog_name="podrun")
    assert result.exit_code == 2, result.output
    assert "UNPROVEN" in result.output
    assert "secret" not in result.output
