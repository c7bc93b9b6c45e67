import fcntl
import os
from pathlib import Path

import pytest

from podinsight.supervisor.processes import Record, self_record
from podinsight.supervisor.registry import InstanceLock, Registry, StackState

RECORD = Record("gpu-abc123", "gpu", 4711, 1_700_000_000.25, "gpu-abc123", ("python", "-m", "x"), True)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    state = StackState((RECORD,), {"gpu": "died"}, stopping=True)
    Registry(tmp_path).save(state)
    assert Registry(tmp_path).load() == state
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["processes.json"]


def test_another_boot_is_told_and_stays_another_boot(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    registry.save(StackState((RECORD,), same_boot=False))
    assert registry.load() == StackState((RECORD,), same_boot=False)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"processes": [{"pid": "x"}]}', '{"processes": [4]}', "\x00"])
def test_an_unreadable_file_counts_as_none_and_is_told(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    registry = Registry(tmp_path)
    registry.run_dir.mkdir()
    registry.processes_file.write_text(text)
    assert registry.load() == StackState()
    assert len(caplog.records) == 1
    assert Registry(tmp_path / "empty").load() == StackState()
    assert len(caplog.records) == 1


def test_a_keeper_is_there_while_its_process_lives(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    assert registry.keeper() is None
    me = self_record("keeper", "keeper")
    registry.save_keeper(me)
    assert registry.keeper() == me
    registry.save_keeper(Record("keeper", "keeper", os.getpid(), me.create_time - 60))
    assert registry.keeper() is None


def test_one_holds_the_lock_and_the_others_learn_who(tmp_path: Path) -> None:
    first, second = InstanceLock(tmp_path), InstanceLock(tmp_path)
    assert second.holder() is None
    assert first.acquire()
    assert second.holder() == os.getpid()
    assert not second.acquire(wait=0.0)
    first.release()
    assert second.holder() is None
    assert second.acquire(wait=0.0)
    second.release()


def test_a_pid_that_a_dead_holder_left_is_not_believed(tmp_path: Path) -> None:
    lock = InstanceLock(tmp_path)
    lock.path.parent.mkdir()
    lock.path.write_text(f"{os.getpid()} 12.0\n")
    assert lock.holder() is None
    with lock.path.open("rb+") as handle:  # somebody has it, but the pid in it is not theirs
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert lock.holder() is None
