"""Emergency shutdown on a simulated fleet: the order of things, proof by two clean reads, and what is not proven."""

from collections.abc import Sequence

import pytest

from podinsight.adapters.memory_fleet import Make, MemoryFleet
from podinsight.domain.budget import Limits
from podinsight.domain.control import Control, Mode
from podinsight.domain.fleet import Group, Rate, Zeroed
from podinsight.errors import Unavailable
from podinsight.services.emergency import EmergencyPorts, Shutdown, plan, shut_down
from podinsight.services.resume import ResumePorts, resume
from tests.support.rows import Rows


class Drill:
    """Two regions of one machine each; one of the machines holds work."""

    def __init__(self, rows: Rows) -> None:
        self.store, self.clock = rows.store, rows.clock
        make = Make(start_seconds=1, stop_seconds=5, rate=Rate(1, "list"))
        self.fleet = MemoryFleet(self.clock, [Group("east", 0, 1, 4), Group("west", 0, 1, 4)], make)
        self.clock.advance(2)
        self.names = [each.id for each in self.fleet.state().living]
        assert self.fleet.hold(self.names[0])
        self.left: list[str] = []
        self.pauses = 0

    def look(self) -> Sequence[str]:
        return self.left

    def pause(self) -> None:
        self.pauses += 1
        self.clock.advance(1)

    def shut_down(self, by: str = "ada", limit: float = 300.0) -> Shutdown:
        return shut_down(EmergencyPorts(self.store, self.fleet, self.clock, self.look, self.pause), by, "fire", limit)


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
    (alert,) = drill.store.alerts.unsent(5)
    assert alert.alert.severity == "critical"


def test_the_freeze_is_written_before_anything_is_stopped(drill: Drill) -> None:
    """G9: cut off in between, nothing starts again."""

    class Late(MemoryFleet):
        def zero(self, reason: str) -> Zeroed:
            assert drill.store.control.read().gpu_frozen
            return super().zero(reason)

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
    assert len(drill.store.alerts.unsent(5)) == 1


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

    ports = EmergencyPorts(drill.store, drill.fleet, drill.clock, back_later, drill.pause)
    done = shut_down(ports, "ada", "fire", 300)
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


def test_without_the_freeze_nothing_is_stopped(drill: Drill) -> None:

    class Away:
        def __getattr__(self, name: str) -> object:
            raise Unavailable("the database is away")

    ports = EmergencyPorts(Away(), drill.fleet, drill.clock, drill.look, drill.pause)  # type: ignore[arg-type]
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
