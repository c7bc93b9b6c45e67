"""A freeze survives a database that is restored from a backup (issue 5, item 7)."""

from pathlib import Path

import pytest

from podinsight.domain.control import Control, Mode
from podinsight.domain.stop_mark import from_json
from podinsight.ports import ObjectStore
from podinsight.services.guard import GUARD, freeze
from podinsight.services.resume import ResumePorts, resume
from podinsight.services.stop_mark import KEY, agree, keep
from tests.conftest import LIMITS, STALE_SECONDS
from tests.support.clock import ManualClock
from tests.support.databases import open_migrated
from tests.support.guarding import Guard
from tests.support.rows import Rows


class Restorable(Guard):
    """A guard whose database lies in a file, of which copies can be made and put back."""

    def __init__(self, clock: ManualClock, objects: ObjectStore, folder: Path) -> None:
        self._folder, self._objects = folder, objects
        self._open(clock)

    def _open(self, clock: ManualClock) -> None:
        url = f"sqlite:///{self._folder / 'podinsight.db'}"
        super().__init__(Rows(open_migrated(url, clock, LIMITS, STALE_SECONDS), clock), self._objects)

    def copy(self) -> bytes:
        self.store.close()
        return (self._folder / "podinsight.db").read_bytes()

    def restore(self, copy: bytes) -> None:
        self.store.close()
        for name in ("podinsight.db-wal", "podinsight.db-shm"):
            (self._folder / name).unlink(missing_ok=True)
        (self._folder / "podinsight.db").write_bytes(copy)
        self._open(self.clock)


@pytest.fixture
def guard(clock: ManualClock, objects: ObjectStore, tmp_path: Path) -> Restorable:
    return Restorable(clock, objects, tmp_path)


def go_on(guard: Guard, by: str = "ada") -> None:
    guard.clock.advance(1)
    resume(ResumePorts(guard.store, guard.fleet, guard.clock), guard.rules.limits, by, "all is well")


def marked(guard: Guard) -> bool:
    return guard.ports.objects.exists(KEY)


def test_a_database_from_before_a_freeze_is_frozen_again_at_the_next_sweep(guard: Restorable) -> None:
    copy = guard.copy()
    guard.clock.advance(10)
    assert freeze(guard.store, "the day is spent", "stop:gpu_day:x")
    guard.sweep(60)
    guard.restore(copy)
    assert not guard.control.stops
    assert "stopped once more" in guard.sweep(60)
    assert (guard.control.gpu_frozen, guard.control.mode, guard.control.by) == (True, Mode.RUNNING, GUARD)
    assert guard.control.why == f"restored from a backup: stopped by {GUARD} before: the day is spent"
    assert any(key.startswith("stop:restored:") for key in guard.told())
    before = guard.control
    guard.sweep(60)
    assert guard.control == before, "once is enough"
    go_on(guard)
    guard.sweep(60)
    assert (guard.control.stops, marked(guard)) == (False, False)


def test_a_person_s_halt_is_kept_as_well(guard: Restorable) -> None:
    copy = guard.copy()
    guard.store.control.write(Control(Mode.HALTED, by="ada", why="fire"))
    guard.sweep()
    guard.restore(copy)
    guard.sweep(60)
    assert (guard.control.mode, guard.control.gpu_frozen) == (Mode.HALTED, False)


def test_a_named_resume_removes_the_mark_and_a_later_copy_stays_resumed(guard: Restorable) -> None:
    freeze(guard.store, "spent", "stop:x")
    guard.sweep(1)
    assert from_json(guard.ports.objects.get(KEY)).why == "spent"
    go_on(guard)
    guard.sweep(60)
    assert not marked(guard)
    resumed = guard.copy()
    guard.sweep(60)
    guard.restore(resumed)
    guard.sweep(60)
    assert not guard.control.stops


def test_a_copy_from_within_a_freeze_is_frozen_although_it_was_resumed_since(guard: Restorable) -> None:
    """Nobody knows better: a person says it once more."""
    freeze(guard.store, "spent", "stop:x")
    guard.sweep(1)
    frozen = guard.copy()
    go_on(guard)
    guard.sweep(60)
    guard.restore(frozen)
    guard.sweep(60)
    assert guard.control.gpu_frozen
    assert marked(guard)


def test_a_copy_from_before_a_freeze_that_was_resumed_and_came_again(guard: Restorable) -> None:
    copy = guard.copy()
    freeze(guard.store, "first", "stop:1")
    guard.sweep(1)
    go_on(guard)
    guard.sweep(1)
    freeze(guard.store, "second", "stop:2")
    guard.sweep(1)
    guard.restore(copy)
    guard.sweep(60)
    assert guard.control.gpu_frozen
    assert "second" in guard.control.why


def test_who_resumes_before_the_next_sweep_is_obeyed(guard: Restorable) -> None:
    """A freeze that comes after the mark was made, too: the next one marks that."""
    copy = guard.copy()
    freeze(guard.store, "spent", "stop:x")
    guard.sweep(1)
    guard.restore(copy)
    guard.clock.advance(5)
    guard.store.control.write(Control(by="ada", why="I know"))
    guard.sweep(1)
    assert (guard.control.stops, marked(guard)) == (False, False)


def test_an_object_store_that_is_away_does_not_stop_the_guard(guard: Restorable) -> None:
    freeze(guard.store, "spent", "stop:x")
    there = guard.ports.objects
    guard.without("objects")
    control, fault = agree(guard.ports)
    assert control == guard.control == keep(guard.ports)
    assert fault == "get does not answer"
    guard.ports = Guard(Rows(guard.store, guard.clock), there).ports
    keep(guard.ports)
    assert there.exists(KEY)


@pytest.mark.parametrize("stopped", [True, False])
def test_a_mark_that_cannot_be_read_is_said_and_decides_nothing(guard: Restorable, stopped: bool) -> None:
    guard.ports.objects.put(KEY, b"{")
    if stopped:
        freeze(guard.store, "spent", "stop:x")
    control, fault = agree(guard.ports)
    assert control.stops is stopped
    assert KEY in fault
    assert agree(guard.ports)[1] == ("" if stopped else fault), "what is stopped is marked anew"
