"""podrun retry --over-budget: what a ceiling has held is asked again."""

import json
from typing import cast

import pytest

from podinsight.adapters.database import SqlStore
from podinsight.domain.budget import Scope, asked_by
from podinsight.domain.money import usd
from podinsight.domain.work import State
from podinsight.ports import Reservation
from tests.support.clock import ManualClock
from tests.support.spending import Paying, entry
from tests.unit.cli.desk import Desk


def test_what_is_over_its_budget_waits_again(desk: Desk) -> None:
    """G3, scenario 16: until its ceiling is another, it is held once more at its next claim."""
    rows = Paying(cast(SqlStore, desk.store), ManualClock())
    episode_id = rows.planned(2)
    desk.store.purse.limit(Scope.ITEM, episode_id, 1)
    assert rows.work.claim("transcribe", episode_id, "g1", 90) is None
    assert rows.state(episode_id, "transcribe") is State.HELD
    assert desk.run("retry", "--over-budget").stdout == "1 transcription waits again\n"
    assert rows.chunk_states(episode_id) == [State.DISPATCHED, State.WAITING], "and is on its way at once"
    assert rows.work.claim("transcribe", episode_id, "g1", 90) is None
    assert desk.json("retry", "--over-budget") == {"released": 1, "held": 0, "runs": []}
    desk.store.purse.limit(Scope.ITEM, episode_id, None)
    assert rows.work.claim("transcribe", episode_id, "g1", 90) is not None
    assert desk.run("retry", "--over-budget").stdout == "nothing is held by a ceiling\n"


@pytest.mark.parametrize("words", [(), ("--failed", "--over-budget"), ("--over-budget", "--stage", "fetch")])
def test_what_is_retried_is_said(desk: Desk, words: tuple[str, ...]) -> None:
    result = desk.run("retry", *words)
    assert result.exit_code == 2
    assert "--over-budget" in result.stderr


def held_by_runs(desk: Desk) -> tuple[Paying, list[str]]:
    """Two transcriptions of r1 and one of r2, held by what these may cost."""
    rows = Paying(cast(SqlStore, desk.store), ManualClock())
    ids = [rows.planned(run=run) for run in ("r1", "r1", "r2")]
    for run in ("r1", "r2"):
        desk.store.purse.limit(Scope.RUN, run, 1)
    assert [rows.work.claim("transcribe", each, "g1", 90) for each in ids] == [None] * 3
    return rows, ids


def stand(rows: Paying, ids: list[str]) -> list[State]:
    return [rows.state(each, "transcribe") for each in ids]


def test_what_a_commands_own_ceiling_holds_needs_another(desk: Desk) -> None:
    """G2, G3: to let it wait again would only have it held again."""
    rows, ids = held_by_runs(desk)
    result = desk.run("retry", "--over-budget")
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.startswith("podrun: 3 transcriptions are held by their command's --max-usd (budget: $")
    assert result.stderr.endswith("`podrun retry --over-budget --max-usd USD` gives them another\n")
    assert stand(rows, ids) == [State.HELD] * 3
    said = desk.run("retry", "--over-budget", "--json")
    assert (said.exit_code, json.loads(said.stdout)) == (4, {"released": 0, "held": 3, "runs": []})

    result = desk.run("retry", "--over-budget", "--max-usd", "$2.50")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "2 runs: at most $2.50\n3 transcriptions wait again\n"
    assert [desk.store.purse.budget(Scope.RUN, run).ceiling for run in ("r1", "r2")] == [2_500_000] * 2
    assert all(rows.work.claim("transcribe", each, "g1", 90) for each in ids)


def test_a_ceiling_under_which_a_command_could_start_nothing_is_refused(desk: Desk) -> None:
    """G2: no run is changed when what one of them has spent, has reserved and asks for next does not fit."""
    rows, ids = held_by_runs(desk)
    asked = asked_by(rows.reason(ids[2], "transcribe"))
    purse = desk.store.purse
    purse.limit(Scope.RUN, "r2", None)
    for token, micros in (("spent", 700_000), ("open", 50_000)):
        assert purse.reserve(Reservation(token, micros, run_id="r2"), {}) is None
    purse.settle("spent", [entry(700_000)])
    purse.limit(Scope.RUN, "r2", 750_000)
    least = 750_000 + asked
    for amount in (0, 1, 1_000, asked, 700_000, 750_000, least - 1):
        result = desk.run("retry", "--over-budget", "--max-usd", usd(amount))
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr == (
            f"podrun: --max-usd {usd(amount)} is too little: run r2 needs {usd(least)} ($0.70 spent, $0.05 reserved, "
            f"and {usd(asked)} for what is next); nothing was changed\n"
        )
        assert [purse.budget(Scope.RUN, run).ceiling for run in ("r1", "r2")] == [1, 750_000]
        assert stand(rows, ids) == [State.HELD] * 3
    result = desk.run("retry", "--over-budget", "--max-usd", usd(least))
    assert (result.exit_code, result.stderr) == (0, "")
    assert all(rows.work.claim("transcribe", each, "g1", 90) for each in ids), "each has its lease"


def test_a_run_whose_ceiling_was_raised_goes_on_without_the_other(desk: Desk) -> None:
    rows, ids = held_by_runs(desk)
    desk.store.purse.limit(Scope.RUN, "r2", None)
    result = desk.run("retry", "--over-budget")
    assert (result.exit_code, result.stdout) == (4, "1 transcription waits again\n")
    assert "2 transcriptions are held by their command's --max-usd" in result.stderr
    assert stand(rows, ids) == [State.HELD, State.HELD, State.DISPATCHED]


def test_a_ceiling_is_for_what_a_ceiling_of_a_command_holds(desk: Desk) -> None:
    rows = Paying(cast(SqlStore, desk.store), ManualClock())
    episode_id = rows.planned(run="r1")
    desk.store.purse.limit(Scope.ITEM, episode_id, 1)
    assert rows.work.claim("transcribe", episode_id, "g1", 90) is None
    result = desk.run("retry", "--over-budget", "--max-usd", "5")
    assert result.stdout == "1 transcription waits again\n"
    assert "--max-usd changes nothing" in result.stderr
    assert desk.store.purse.budget(Scope.RUN, "r1").ceiling is None
    result = desk.run("retry", "--failed", "--max-usd", "5")
    assert (result.exit_code, "goes with --over-budget alone" in result.stderr) == (2, True)
    assert "write dollars" in desk.run("retry", "--over-budget", "--max-usd", "five").stderr


def test_status_says_what_is_held_and_why(desk: Desk) -> None:
    assert desk.json("status")["over_budget"] == {"held": 0, "reason": None}
    assert "held over" not in desk.run("status").stdout
    rows, ids = held_by_runs(desk)
    reason = rows.reason(ids[0], "transcribe")
    assert desk.json("status")["over_budget"] == {"held": 3, "reason": reason}
    (line,) = (each for each in desk.run("status").stdout.splitlines() if "held over" in each)
    assert line.startswith(f"3 transcriptions are held over their budget ({reason.removeprefix('budget: ')}): ")
    assert "`podrun retry --over-budget`" in line
