"""Resume gives back exactly what was, the fleet's sizes included (G7, G8)."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from podinsight.adapters.local_fleet import LocalFleet
from podinsight.adapters.memory_fleet import MemoryFleet
from podinsight.domain.budget import PROJECT_KEY, Level, Limits, Scope
from podinsight.domain.control import Control, Mode, stopped, stops
from podinsight.domain.days import day_of
from podinsight.domain.fleet import Group
from podinsight.domain.money import micros
from podinsight.domain.prices import Price
from podinsight.errors import Refused, Unavailable
from podinsight.ports import Bearer
from podinsight.services.guard import GUARD, freeze
from podinsight.services.resume import ResumePorts, reached, resume
from tests.support.rows import Rows
from tests.support.spending import entry

SIZES = (Group("gpu", 0, 2, 4),)
FREE = Limits(Level(), Level(), Level(), Level(), Level(), Level())


@pytest.fixture
def ports(rows: Rows) -> ResumePorts:
    rows.store.workers.set_desired("gpu", 2)
    return ResumePorts(rows.store, LocalFleet(rows.store, rows.clock, 4, 30.0), rows.clock)


def pause(ports: ResumePorts, mode: Mode = Mode.PAUSED, by: str = "ada", why: str = "disk") -> None:
    ports.store.control.revise(lambda history: stopped(history, mode, by, why))


def emergency(ports: ResumePorts) -> None:
    """As the command does it: the freeze first, then the fleet."""
    now = ports.store.control.read()
    ports.store.control.write(replace(now, mode=Mode.HALTED, gpu_frozen=True, by="bob", why="fire"))
    ports.fleet.zero("bob: fire")


def again(ports: ResumePorts) -> list[tuple[Mode, bool, str, str]]:
    resume(ports, FREE, "cy", "all is well")
    return [(each.mode, each.gpu_frozen, each.by, each.why) for each in stops(ports.store.control.history())]


def test_nothing_is_stopped_and_nothing_is_written(ports: ResumePorts) -> None:
    ports.store.control.write(Control(economy=True, by=GUARD))
    before = ports.store.control.history()
    found = resume(ports, FREE, "cy", "why")
    assert (found.lifted, found.held, found.opened, found.shut) == (None, (), False, "")
    assert ports.store.control.history() == before


def test_a_freeze_under_a_pause(ports: ResumePorts) -> None:
    """Scenario 17: a named resume lifts the freeze, the next one the pause."""
    pause(ports)
    assert freeze(ports.store, "the day is spent", "stop:day:x")
    found = resume(ports, FREE, "cy", "raised")
    assert (found.lifted or Control()).by == GUARD
    assert [(each.mode, each.gpu_frozen, each.by) for each in found.held] == [(Mode.PAUSED, False, "ada")]
    now = ports.store.control.read()
    assert now.forbids("fetch") == "paused by ada: disk"
    assert again(ports) == []
    now = ports.store.control.read()
    assert (now.mode, now.gpu_frozen, now.by, now.why) == (Mode.RUNNING, False, "cy", "all is well")


def test_people_are_told_of_a_resume_and_of_nothing_else(ports: ResumePorts) -> None:
    """O7: with what is lifted and what still holds; one that is refused, or finds nothing, tells nobody."""
    resume(ports, FREE, "cy", "nothing is stopped")
    pause(ports, Mode.HALTED)
    freeze(ports.store, "spent", "k")
    before = {each.id for each in ports.store.alerts.unsent(9)}
    resume(ports, FREE, "cy", "raised")
    (told,) = [each.alert for each in ports.store.alerts.unsent(9) if each.id not in before]
    assert told.title == "resumed by cy: raised"
    assert told.body == f"Lifted: GPU work frozen by {GUARD}: spent\nStill halted by ada: disk"


def test_who_lifted_a_stop_under_which_another_holds_stays_on_record(ports: ResumePorts) -> None:
    pause(ports)
    freeze(ports.store, "spent", "k")
    resume(ports, FREE, "cy", "raised")
    assert [(row.by, row.why) for row in ports.store.control.history()][:2] == [("ada", "disk"), ("cy", "raised")]


def test_one_resume_after_an_emergency(ports: ResumePorts, rows: Rows) -> None:
    """The fleet has its sizes, and the freeze of before holds as it did."""
    freeze(ports.store, "spent", "k")
    emergency(ports)
    assert ports.fleet.state().kept is not None
    rows.clock.advance(86_400.0)  # midnight and all
    found = resume(ports, FREE, "cy", "fire is out")
    assert found.opened
    assert [(each.mode, each.gpu_frozen, each.by) for each in found.held] == [(Mode.RUNNING, True, GUARD)]
    assert ports.fleet.state().groups == SIZES
    assert ports.fleet.state().kept is None


def test_a_pause_that_came_under_an_emergency_is_not_lost(ports: ResumePorts) -> None:
    emergency(ports)
    pause(ports)
    assert ports.store.control.read().mode is Mode.HALTED
    assert [row[0] for row in again(ports)] == [Mode.PAUSED]
    assert ports.fleet.state().groups == SIZES
    assert again(ports) == []


def test_a_fleet_that_was_shut_before_the_stop_stays_shut(ports: ResumePorts, rows: Rows) -> None:
    ports.fleet.zero("ada: over the holidays")
    rows.clock.advance(5.0)
    freeze(ports.store, "spent", "k")
    found = resume(ports, FREE, "cy", "raised")
    assert (found.opened, found.shut) == (False, "ada: over the holidays")
    assert ports.fleet.state().kept is not None
    assert resume(ports, FREE, "cy", "again").shut == "ada: over the holidays"


def test_economy_is_nobody_s_stop(ports: ResumePorts) -> None:
    pause(ports)
    ports.store.control.write(replace(ports.store.control.read(), economy=True, by=GUARD, why="80 %"))
    freeze(ports.store, "spent", "k")
    assert [row[2] for row in again(ports)] == ["ada"]
    assert ports.store.control.read().economy
    assert again(ports) == []
    assert ports.store.control.read().economy


def test_a_fleet_that_cannot_be_opened_keeps_everything_stopped(rows: Rows) -> None:
    fleet = MemoryFleet(rows.clock, [Group("here", 0, 1, 2)])
    ports = ResumePorts(rows.store, fleet, rows.clock)
    emergency(ports)
    fleet.denied.add("here")
    with pytest.raises(Unavailable):
        resume(ports, FREE, "cy", "out")
    assert rows.store.control.read().mode is Mode.HALTED
    fleet.denied.clear()
    assert resume(ports, FREE, "cy", "out").opened
    assert rows.store.control.read().mode is Mode.RUNNING


class Late:
    """A fleet in front of a real one: while it is looked at, somebody stops something."""

    def __init__(self, ports: ResumePorts, meanwhile: Callable[[], object]) -> None:
        self._fleet, self._meanwhile = ports.fleet, meanwhile

    def __getattr__(self, name: str) -> object:
        self._meanwhile()
        return getattr(self._fleet, name)


def test_what_was_stopped_meanwhile_stays_stopped(ports: ResumePorts) -> None:
    pause(ports)
    late = replace(ports, fleet=Late(ports, lambda: freeze(ports.store, "spent", "k")))  # type: ignore[arg-type]
    with pytest.raises(Refused, match="meanwhile"):
        resume(late, FREE, "cy", "why")
    now = ports.store.control.read()
    assert (now.mode, now.gpu_frozen) == (Mode.PAUSED, True)


def test_a_level_without_room_for_a_worker_is_said_too(ports: ResumePorts) -> None:
    """Else it would be frozen again within seconds, each time after a worker was started for nothing."""
    ports.store.purse.charge("spent", Bearer(day_of(ports.clock.now())), [entry(micros(40))])
    fleet = LocalFleet(ports.store, ports.clock, 1, 30.0, lambda _kind, _zone: Price(micros(1), "list"))
    paid, limits = replace(ports, fleet=fleet, start_seconds=90.0), replace(FREE, gpu_day=Level((), micros("40.025")))
    assert [each.scope for each in reached(paid, limits)] == [Scope.GPU_DAY]
    assert reached(replace(paid, start_seconds=89.0), limits) == ()
    assert reached(replace(paid, fleet=LocalFleet(ports.store, ports.clock, 1, 30.0)), limits) == ()


@pytest.mark.parametrize(
    ("limits", "scopes"),
    [
        (replace(FREE, gpu_day=Level((), micros(40))), [Scope.GPU_DAY]),
        (replace(FREE, day=Level((), micros(40)), month=Level((), micros(40))), [Scope.DAY, Scope.MONTH]),
        (replace(FREE, project=Level((), micros("39.99"))), [Scope.PROJECT]),
        (replace(FREE, gpu_day=Level((), micros("40.01"))), []),
        (replace(FREE, gpu_day=Level((micros(1),), None), item=Level((), micros(1))), []),
    ],
)
def test_levels_that_will_stop_it_again_are_said(ports: ResumePorts, limits: Limits, scopes: list[Scope]) -> None:
    day = day_of(ports.clock.now())
    assert ports.store.purse.charge("spent", Bearer(day), [entry(micros(40))])
    pause(ports)
    found = resume(ports, limits, "cy", "why")
    assert [each.scope for each in found.reached] == scopes
    for each in found.reached:
        assert (each.spent, each.ceiling) == (micros(40), limits.level(each.scope).stop)
        assert each.key in (day, day[:7], PROJECT_KEY)
