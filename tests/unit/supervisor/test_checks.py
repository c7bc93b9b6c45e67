"""When beat counts as well: it lives, and reconcile ran lately or cannot have run yet."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from podinsight.domain.control import Control, Mode
from podinsight.domain.fleet import Snapshot
from podinsight.ports import PoolSize
from podinsight.settings import Settings
from podinsight.supervisor import checks
from podinsight.supervisor.processes import self_record
from podinsight.supervisor.registry import StackState

PATIENCE = 40.0


@pytest.mark.parametrize(
    ("tick", "uptime", "ok", "words"),
    [
        (None, 4.0, True, "started 4 s ago, reconcile is due"),
        (393.0, 4.0, True, "started 4 s ago, reconcile is due"),
        (3.0, 100.0, True, "reconcile ran 3 s ago"),
        (None, 100.0, False, "reconcile has not run yet"),
        (393.0, 100.0, False, "reconcile ran 393 s ago"),
    ],
)
def test_beat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tick: float | None, uptime: float, ok: bool, words: str
) -> None:
    record = self_record("beat", "beat")
    monkeypatch.setattr("podinsight.supervisor.processes._now", lambda: record.create_time + uptime)
    settings = Settings(state_dir=tmp_path, reconcile_every_seconds=(PATIENCE - 10) / 3)
    now = time.time()
    ticks = {} if tick is None else {"reconcile": now - tick}
    check = checks._beat(settings, StackState(), [record], ticks, now)
    assert (check.ok, check.detail) == (ok, f"pid {record.pid}; {words}")
    assert not checks._beat(settings, StackState(), [], ticks, now).ok
    gone = replace(record, create_time=record.create_time - 60)
    assert checks._beat(settings, StackState(), [gone], ticks, now).ok == (tick == 3.0)


def test_a_pool_that_should_be_empty_is_well_only_while_somebody_sees_to_it() -> None:
    for size, ready, supervised, ok in (
        (PoolSize(0), 0, True, True),
        (PoolSize(0), 0, False, False),
        (None, 0, True, False),
        (PoolSize(1), 1, False, True),
        (PoolSize(2), 1, True, False),
    ):
        assert checks._pool("gpu", ready, size, StackState(), supervised).ok is ok


def test_a_pool_whose_workers_come_with_work_reads_well() -> None:
    """G6: scale-to-zero is no fault, nor is a worker that is starting."""
    shut = PoolSize(0, Snapshot((), 0.0, "ada: drill"))
    for size, ready, rising, ok, words in (
        (PoolSize(0), 0, 0, True, "0 of 0 ready (comes with work)"),
        (PoolSize(2), 1, 1, True, "1 of 2 ready, 1 starting"),
        (PoolSize(2), 1, 0, False, "1 of 2 ready"),
        (shut, 0, 0, True, "0 of 0 ready (shut: ada: drill)"),
    ):
        check = checks._pool("gpu", ready, size, StackState(), True, rising=rising, comes=True)
        assert (check.ok, check.detail) == (ok, words)
    troubled = checks._pool("gpu", 0, PoolSize(1), StackState(troubles={"gpu": "dies"}), True, rising=1, comes=True)
    assert (troubled.ok, troubled.detail) == (False, "0 of 1 ready, 1 starting; dies")


def test_gpu_workers_that_come_with_work_are_not_waited_for() -> None:
    pools = ["fetch", "plan", "gpu", "light", "guard"]
    assert checks.awaited(Settings(fleet="fixed")) == pools
    assert checks.awaited(Settings(fleet="local")) == ["fetch", "plan", "light", "guard"]
    assert not checks.comes(Settings(fleet="local", gpu_workers=0), "gpu"), "none ever"


def test_a_freeze_is_said_and_is_no_fault() -> None:
    """G7: whoever looks at the health of a stack that does nothing sees why, and how it goes on."""
    frozen = Control(gpu_frozen=True, by="cost guard", why="the day is spent\x0a")
    halted = Control(Mode.HALTED, gpu_frozen=True, by="ada", why="odd")
    for held, detail in (
        ((), "running"),
        ((frozen,), "GPU work frozen by cost guard: the day is spent; `podrun resume --by NAME --why REASON` goes on"),
        (
            (frozen, halted),
            "halted by ada: odd; before that GPU work frozen by cost guard: the day is spent; "
            "`podrun resume --by NAME --why REASON` goes on",
        ),
        (
            (Control(Mode.PAUSED, by="ada", why="disk"),),
            "paused by ada: disk; `podrun resume --by NAME --why REASON` goes on",
        ),
    ):
        assert checks._control(held) == checks.Check("control", True, detail)
