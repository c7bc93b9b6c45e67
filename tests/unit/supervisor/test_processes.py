import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from podinsight.supervisor.processes import Child, adopt, bury_orphans, interrupts_wait, rotate, start, stop, tail

# A leader that ignores SIGTERM on demand and has a child in its group.
PROGRAM = """
import signal, subprocess, sys
if "stubborn" in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(subprocess.Popen(["sleep", "60"]).pid, flush=True)
signal.pause()
"""


class Started:
    """Starts leaders and knows the child of each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.children: list[Child] = []

    def __call__(self, name: str = "leader", *arguments: str) -> tuple[Child, psutil.Process]:
        log = self.folder / f"{name}.log"
        argv = [sys.executable, "-c", PROGRAM, *arguments]
        child = start(name, "gpu", argv, log=log, env=os.environ, cwd=self.folder)
        self.children.append(child)
        deadline = time.monotonic() + 10
        while not tail(log):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return child, psutil.Process(int(tail(log)))


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    starter = Started(tmp_path)
    yield starter
    for child in starter.children:
        child.bury()


def gone(process: psutil.Process) -> bool:
    """Waits for it: a group is killed in an instant, not at once."""
    try:
        deadline = time.monotonic() + 5
        while process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
    except psutil.NoSuchProcess:
        pass
    return True


def test_a_child_is_a_session_and_its_zombie_counts_as_dead(started: Started) -> None:
    child, _ = started()
    assert os.getsid(child.pid) == child.pid
    assert child.alive()
    os.kill(child.pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while child.alive():
        assert time.monotonic() < deadline
    assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
    child.bury()
    assert not psutil.pid_exists(child.pid)


def test_burying_kills_the_whole_group(started: Started) -> None:
    child, grandchild = started()
    os.kill(child.pid, signal.SIGKILL)
    assert grandchild.is_running()
    child.bury()
    assert gone(grandchild)


def test_a_record_adopts_its_process_only(started: Started) -> None:
    child, _ = started()
    taken = adopt(child.record)
    assert taken is not None
    assert taken.alive()
    assert adopt(replace(child.record, create_time=child.record.create_time - 60)) is None
    child.bury()
    assert adopt(child.record) is None
    assert not taken.alive()


def test_orphans_of_a_dead_leader_are_killed_but_not_a_stranger_with_its_number(started: Started) -> None:
    child, grandchild = started()
    bury_orphans(replace(child.record, create_time=child.record.create_time - 60))
    assert child.alive()
    os.kill(child.pid, signal.SIGKILL)
    bury_orphans(child.record)
    assert gone(grandchild)


def test_stop_is_gentle_first_and_kills_who_does_not_listen(started: Started) -> None:
    gentle, gentle_child = started("gentle")
    stubborn, stubborn_child = started("stubborn", "stubborn")
    began = time.monotonic()
    stop([gentle, stubborn], 0.5)
    assert 0.5 <= time.monotonic() - began < 3
    assert not gentle.alive()
    assert not stubborn.alive()
    assert gone(gentle_child)
    assert gone(stubborn_child)


def test_a_large_log_is_rotated_and_one_old_one_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "gpu.log"
    rotate(log, 10)
    log.write_text("small")
    rotate(log, 10)
    assert log.read_text() == "small"
    for text in ("first " * 5, "second " * 5):
        log.write_text(text)
        rotate(log, 10)
    assert not log.exists()
    assert log.with_name("gpu.log.1").read_text() == "second " * 5


def test_tail_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    assert tail(log) == ""
    log.write_text("\n".join(map(str, range(30))))
    assert tail(log, 2) == "28\n29"


def test_an_interrupt_while_a_process_starts_comes_when_it_is_known() -> None:
    handled, reached = signal.getsignal(signal.SIGINT), []

    def interrupted() -> None:
        with interrupts_wait():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)  # Python runs handlers between two steps of its own
            reached.append("the end")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert reached == ["the end"]
    assert signal.getsignal(signal.SIGINT) is handled


def test_interrupts_in_a_thread_are_nobodys_business() -> None:
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(_held_in_a_thread).result() == signal.getsignal(signal.SIGINT)


def _held_in_a_thread() -> object:
    with interrupts_wait():
        return signal.getsignal(signal.SIGINT)
