"""Emergency shutdown on a simulated fleet: the order of things, proof by two clean reads, and what is not proven."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from podinsight.adapters.memory import MemoryNotifier
from podinsight.adapters.memory_fleet import Make, MemoryFleet
from podinsight.domain.alerts import Severity
from podinsight.domain.budget import Limits
from podinsight.domain.control import Control, Mode
from podinsight.domain.fleet import Group, Zeroed
from podinsight.domain.prices import Price
from podinsight.errors import Unavailable
from podinsight.ports import Notifier
from podinsight.services.emergency import EmergencyPorts, Shutdown, plan, shut_down
from podinsight.services.resume import ResumePorts, resume
from tests.support.rows import Rows


class Drill:
    """Two regions of one machine each; one of the machines holds work."""

    def __init__(self, rows: Rows) -> None:
        self.store, self.clock = rows.store, rows.clock
        make = Make(start_seconds=1, stop_seconds=5, rate=Price(1, "list"))
        self.fleet = MemoryFleet(self.clock, [Group("east", 0, 1, 4), Group("west", 0, 1, 4)], make)
        self.clock.advance(2)
        self.names = [each.id for each in self.fleet.state().living]
        assert self.fleet.hold(self.names[0])
        self.left: list[str] = []
        self.pauses = 0
        self.notifier = MemoryNotifier()

    def look(self) -> Sequence[str]:
        return self.left

    def pause(self) -> None:
        self.pauses += 1
        self.clock.advance(1)

    def ports(self, look: Callable[[], Sequence[str]] | None = None) -> EmergencyPorts:
        return EmergencyPorts(self.store, self.fleet, self.clock, look or self.look, self.pause, lambda: self.notifier)

    def shut_down(self, by: str = "ada", limit: float = 300.0) -> Shutdown:
        return shut_down(self.ports(), by, "fire", limit)

    def waiting(self) -> list[str]:
        """The keys of the alerts that the next sweep sends."""
        return [each.alert.key for each in self.store.alerts.unsent(9)]


@pytest.fixture
def drill(rows: Rows) -> Drill:
    return Drill(rows)


def test_zero_is_proven_by_two_clean_reads_and_the_freeze_stays(drill: Drill) -> None:
    done = drill.shut_down()
    assert done.is_proven
    assert done.froze
    assert [each.id for each in done.instances] == drill.names
    assert [each.is_clean for each in done.reads[-3:]] == [False, True, True]
    assert done.ended - done.began >= 5
    control = drill.store.control.read()
    assert (control.gpu_frozen, control.by, control.why) == (True, "ada", "emergency shutdown: fire")
    assert drill.fleet.state().is_zero
    (alert,) = drill.notifier.told
    assert alert.severity is Severity.CRITICAL
    assert (drill.waiting(), done.untold) == ([], ())


def test_the_freeze_is_written_before_anything_is_stopped(drill: Drill) -> None:
    """G9: cut off in between, nothing starts again."""

    class Late(MemoryFleet):
        def zero(self, why: str, by: str = "") -> Zeroed:
            assert drill.store.control.read().gpu_frozen
            return super().zero(why, by)

    drill.fleet = Late(drill.clock, [Group("east", 0, 1, 4)])
    assert drill.shut_down().is_proven


def test_scenario_7_the_second_time_changes_nothing_and_keeps_the_first_sizes(drill: Drill) -> None:
    first = drill.shut_down()
    written = drill.store.control.history()
    drill.clock.advance(100)
    again = drill.shut_down("bob")
    assert (again.is_proven, again.froze, again.instances) == (True, False, ())
    assert again.snapshot == first.snapshot
    assert drill.store.control.history() == written
    assert len(drill.notifier.told) == 1


def test_one_resume_gives_back_what_was(drill: Drill) -> None:
    drill.store.control.write(Control(Mode.PAUSED, by="bob", why="disk"))
    drill.shut_down()
    drill.clock.advance(100)
    done = resume(ResumePorts(drill.store, drill.fleet, drill.clock), Limits(), "ada", "it was a drill")
    assert done.opened
    control = drill.store.control.read()
    assert (control.mode, control.gpu_frozen) == (Mode.PAUSED, False)
    assert [(group.desired, group.most) for group in drill.fleet.state().groups] == [(1, 4), (1, 4)]


def test_scenario_10_a_region_that_denies_is_unproven_and_the_others_are_zero(drill: Drill) -> None:
    drill.fleet.denied.add("west")
    done = drill.shut_down(limit=20)
    assert not done.is_proven
    assert done.unproven == ("unknown: west: access denied",)
    assert 20 < done.ended - done.began < 25
    drill.fleet.denied.clear()
    west = [each.group for each in drill.fleet.state().living]
    assert west == ["west"]
    assert drill.shut_down().is_proven, "said again, it does the rest"


def test_a_fleet_that_is_away_for_a_while_is_told_again(drill: Drill) -> None:
    drill.fleet.denied |= {"east", "west"}

    def back_later() -> Sequence[str]:
        if drill.pauses == 3:
            drill.fleet.denied.clear()
        return ()

    done = shut_down(drill.ports(back_later), "ada", "fire", 300)
    assert done.is_proven
    assert "access denied" in done.reads[0].error


def test_a_process_that_other_eyes_see_is_no_zero(drill: Drill) -> None:
    """What the database calls gone may live: the supervisor's registry has its pid."""
    drill.left = ["gpu-1 (pid 7) lives"]
    done = drill.shut_down(limit=10)
    assert done.unproven == ("gpu-1 (pid 7) lives",)


def test_an_instance_that_refuses_to_end_is_named(drill: Drill) -> None:
    drill.fleet.protected.add(drill.names[1])
    done = drill.shut_down(limit=10)
    assert done.unproven == (f"{drill.names[1]} lives",)


def test_people_are_told_at_once_and_once_more_when_zero_is_not_proven(drill: Drill) -> None:
    """G7: proof of zero or a loud failure; without beat and broker, and without a secret."""
    drill.left = ["the agent at https://ada:hunter2@fleet.test/x lives"]
    seen: list[list[str]] = []

    def pause() -> None:
        seen.append([each.title for each in drill.notifier.told])
        drill.clock.advance(1)

    done = shut_down(replace(drill.ports(), pause=pause), "ada", "fire", 10)
    assert seen[0] == ["emergency shutdown of GPU work by ada: fire"], "before anybody waits"
    frozen, unproven = drill.notifier.told
    assert (unproven.severity, unproven.key) == (Severity.CRITICAL, f"{frozen.key}:unproven")
    assert "by ada is UNPROVEN after 11 s" in unproven.title
    assert "fleet.test" in unproven.body
    assert "hunter2" not in unproven.body
    assert (drill.waiting(), done.untold) == ([], ())


def test_an_unproven_shutdown_is_told_of_when_gpu_work_was_frozen_before(drill: Drill) -> None:
    drill.store.control.write(Control(gpu_frozen=True, by="bob", why="spent"))
    drill.left = ["gpu-1 (pid 7) lives"]
    drill.shut_down(limit=10)
    assert [each.body.splitlines()[0] for each in drill.notifier.told] == ["gpu-1 (pid 7) lives"]


def test_what_people_could_not_be_told_the_next_sweep_tells(drill: Drill) -> None:
    drill.left = ["gpu-1 (pid 7) lives"]
    key = f"emergency:{drill.clock.now():.3f}"
    drill.notifier.down = {key, f"{key}:unproven"}
    done = drill.shut_down(limit=10)
    assert done.unproven == ("gpu-1 (pid 7) lives",)
    assert done.untold == ("1 of 1 addresses could not be told (memory)",) * 2
    assert drill.waiting() == [key, f"{key}:unproven"], "due now"


def test_what_nobody_is_to_be_told_is_left_for_the_log_of_the_sweep(drill: Drill) -> None:
    drill.notifier.quiet = {Severity.CRITICAL}
    assert drill.shut_down().untold == ()
    assert len(drill.waiting()) == 1


def test_nothing_that_goes_wrong_with_telling_keeps_machines_running(drill: Drill) -> None:
    def broken() -> Notifier:
        raise RuntimeError("no module named apprise")

    done = shut_down(replace(drill.ports(), notifier=broken), "ada", "fire")
    assert done.is_proven
    assert "apprise" in done.untold[0]
    assert len(drill.waiting()) == 1


def test_without_the_freeze_nothing_is_stopped(drill: Drill) -> None:

    class Away:
        def __getattr__(self, name: str) -> object:
            raise Unavailable("the database is away")

    ports = replace(drill.ports(), store=cast(Any, Away()))
    with pytest.raises(Unavailable):
        shut_down(ports, "ada", "fire")
    assert [each.id for each in drill.fleet.state().living] == drill.names


def test_the_plan_says_what_would_be_done_and_does_nothing(drill: Drill) -> None:
    before = drill.fleet.state()
    steps = plan(before, drill.store.control.read())
    assert steps[0] == "freeze GPU work"
    assert steps[1:3] == ["set east (0 to 4, 1 wanted) to zero", "set west (0 to 4, 1 wanted) to zero"]
    assert steps[3].endswith("which hands back what it holds")
    assert len(steps) == 5
    assert drill.fleet.state() == before
