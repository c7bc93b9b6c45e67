"""Filling slots in line."""

import threading

import pytest

from podinsight.services.refill import Refill
from tests.support.stack import wait_for


def test_who_asks_while_another_fills_is_served_by_one_more_call() -> None:
    filled: list[str | None] = []
    inside, go_on = threading.Event(), threading.Event()

    def fill(stage: str | None) -> None:
        filled.append(stage)
        inside.set()
        assert go_on.wait(10)

    refill = Refill(fill)
    first = threading.Thread(target=refill.ask, args=("fetch",))
    first.start()
    assert inside.wait(10)
    for _ in range(9):
        refill.ask("fetch")  # returns at once
    assert filled == ["fetch"]
    go_on.set()
    first.join(10)
    assert filled == ["fetch", "fetch"]


def test_every_stage_takes_the_others_along() -> None:
    filled: list[str | None] = []

    def fill(stage: str | None) -> None:
        filled.append(stage)
        if len(filled) == 1:
            refill.ask("fetch")
            refill.ask()

    refill = Refill(fill)
    refill.ask("transcribe")
    assert filled == ["transcribe", None]


def test_a_call_that_fails_does_not_stop_those_after_it() -> None:
    calls: list[str | None] = []

    def fill(stage: str | None) -> None:
        calls.append(stage)
        if len(calls) == 1:
            raise RuntimeError("away")

    refill = Refill(fill)
    with pytest.raises(RuntimeError):
        refill.ask("fetch")
    refill.ask("fetch")
    assert calls == ["fetch", "fetch"]


def test_nobody_who_asks_is_forgotten() -> None:
    """Many threads free one slot each; the last call to fill begins after the last of them asked."""
    freed, seen = [0], [0]
    lock = threading.Lock()

    def fill(_stage: str | None) -> None:
        seen[0] = freed[0]

    refill = Refill(fill)

    def end() -> None:
        with lock:
            freed[0] += 1
        refill.ask("fetch")

    threads = [threading.Thread(target=end) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    wait_for(lambda: seen[0] == 50, 5, "all are seen")
