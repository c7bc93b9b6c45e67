"""The mark of a stop against what the database says (scenario 17; DESIGN.md, idea 8)."""

from dataclasses import replace

import pytest

from podinsight.domain.control import Control, Mode
from podinsight.domain.stop_mark import Act, Mark, again, compare, from_json, of, to_json

GUARD = "guard"
FREE = Control(by="cy", at=100.0)
FROZEN = Control(gpu_frozen=True, by=GUARD, at=200.0, why="spent")
RESUMED = Control(by="ada", at=300.0, why="raised")
MARK = of(FROZEN)


def act(mark: Mark | None, *newest_first: Control) -> Act:
    return compare(newest_first, mark, GUARD)


def test_a_stop_is_marked_and_a_named_resume_removes_the_mark() -> None:
    assert act(None, FREE) is Act.NOTHING
    assert act(None, FROZEN) is Act.WRITE
    assert act(MARK, FROZEN) is Act.NOTHING
    assert act(MARK, RESUMED, FROZEN) is Act.REMOVE


def test_a_database_from_before_the_stop_is_stopped_again() -> None:
    assert act(MARK, FREE) is Act.STOP
    assert act(MARK, Control()) is Act.STOP


def test_what_the_guard_writes_lifts_nothing() -> None:
    """Economy mode in a database from before the stop."""
    economy = Control(economy=True, by=GUARD, at=250.0)
    assert act(MARK, economy) is Act.STOP
    assert act(MARK, economy, FROZEN) is Act.REMOVE, "it knows of the freeze, so it was lifted in it"


def test_who_resumes_a_restored_database_means_it() -> None:
    assert act(MARK, RESUMED) is Act.REMOVE
    assert act(MARK, Control(economy=True, by=GUARD, at=301.0), RESUMED) is Act.REMOVE


def test_another_stop_takes_the_place_of_the_mark() -> None:
    paused = Control(Mode.PAUSED, by="ada", at=250.0)
    assert act(MARK, paused, FROZEN) is Act.WRITE
    assert act(MARK, paused) is Act.STOP, "a pause in a database that does not know of the freeze"


@pytest.mark.parametrize(
    ("now", "mark", "mode", "frozen"),
    [
        (FREE, FROZEN, Mode.RUNNING, True),
        (Control(Mode.PAUSED), FROZEN, Mode.PAUSED, True),
        (Control(Mode.HALTED), Control(Mode.PAUSED), Mode.HALTED, False),
        (Control(gpu_frozen=True), Control(Mode.HALTED), Mode.HALTED, True),
    ],
)
def test_all_that_either_stops_is_stopped(now: Control, mark: Control, mode: Mode, frozen: bool) -> None:
    found = again(replace(now, economy=True), of(mark), GUARD)
    assert (found.mode, found.gpu_frozen, found.economy, found.by, found.at) == (mode, frozen, True, GUARD, 0.0)
    assert found.why.startswith("restored from a backup")


def test_a_mark_is_read_as_it_was_written() -> None:
    assert from_json(to_json(MARK)) == MARK


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"mode": "gone"}', to_json(MARK).replace(b"true", b'"no"')])
def test_what_is_no_mark_is_said(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"mark|Mode|JSON|Expecting"):
        from_json(data)
