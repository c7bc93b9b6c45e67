"""podrun retry --over-budget: what a ceiling has held is asked again."""

from typing import cast

import pytest

from podinsight.adapters.database import SqlStore
from podinsight.domain.budget import Scope
from podinsight.domain.work import State
from tests.support.clock import ManualClock
from tests.support.spending import Paying
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
    assert desk.json("retry", "--over-budget") == {"released": 1}
    desk.store.purse.limit(Scope.ITEM, episode_id, None)
    assert rows.work.claim("transcribe", episode_id, "g1", 90) is not None
    assert desk.run("retry", "--over-budget").stdout == "nothing is held by a ceiling\n"


@pytest.mark.parametrize("words", [(), ("--failed", "--over-budget"), ("--over-budget", "--stage", "fetch")])
def test_what_is_retried_is_said(desk: Desk, words: tuple[str, ...]) -> None:
    result = desk.run("retry", *words)
    assert result.exit_code == 2
    assert "--over-budget" in result.stderr
