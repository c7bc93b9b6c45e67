"""Turns at writing to a SQLite file."""

import fcntl
import os
import threading
import time
from pathlib import Path

from podinsight.adapters.database.turns import PATIENCE, WriteTurns


def test_one_at_a_time_over_threads_and_processes(tmp_path: Path) -> None:
    """Two WriteTurns of one file are what two processes have: each its own handle."""
    inside, most = [0], [0]
    lock = threading.Lock()

    def write(turns: WriteTurns) -> None:
        for _ in range(20):
            with turns.turn():
                with lock:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                time.sleep(0.0005)
                with lock:
                    inside[0] -= 1

    processes = [WriteTurns(tmp_path / "turn") for _ in range(2)]
    threads = [threading.Thread(target=write, args=(processes[n % 2],)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert most == [1]
    for turns in processes:
        turns.close()


def test_a_holder_that_does_not_let_go_is_waited_for_a_while_and_no_longer(tmp_path: Path) -> None:
    handle = os.open(tmp_path / "turn", os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    turns = WriteTurns(tmp_path / "turn")
    began = time.monotonic()
    with turns.turn():
        waited = time.monotonic() - began
    assert PATIENCE <= waited < 4 * PATIENCE
    began = time.monotonic()
    for _ in range(5):
        with turns.turn():
            pass
    assert time.monotonic() - began < PATIENCE, "a frozen holder costs its wait once"
    os.close(handle)
    with turns.turn():
        pass
    turns.close()


def test_where_there_is_no_such_file_one_goes_on_without(tmp_path: Path) -> None:
    turns = WriteTurns(tmp_path / "no such folder" / "turn")
    with turns.turn():
        reached = True
    assert reached
    turns.close()
