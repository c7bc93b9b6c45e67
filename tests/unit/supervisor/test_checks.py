"""When beat counts as well: it lives, and reconcile ran lately or cannot have run yet."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

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
    for desired, ready, supervised, ok in (
        (0, 0, True, True),
        (0, 0, False, False),
        (None, 0, True, False),
        (1, 1, False, True),
        (2, 1, True, False),
    ):
        assert checks._pool("gpu", ready, desired, StackState(), supervised).ok is ok
