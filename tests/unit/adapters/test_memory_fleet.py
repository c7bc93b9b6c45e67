"""What only the simulated fleet does: delays, failures, Spot, protection, regions (G5, G6, G9)."""

import pytest

from podinsight.adapters.memory_fleet import Make, MemoryFleet
from podinsight.domain.fleet import Group, Instance, InstanceState
from podinsight.domain.prices import Price
from podinsight.errors import Unavailable
from tests.support.clock import ManualClock


def fleet_of(clock: ManualClock, *groups: Group) -> MemoryFleet:
    return MemoryFleet(clock, groups or [Group("a", 0, 0, 4)], Make(rate=Price(500_000, "spot price")))


def by_id(fleet: MemoryFleet) -> dict[str, Instance]:
    return {each.id: each for each in fleet.state().instances}


def states(fleet: MemoryFleet) -> list[str]:
    return [each.state.value for each in fleet.state().instances]


def test_an_instance_is_paid_for_from_its_start_until_it_is_told_to_end(clock: ManualClock) -> None:
    fleet = fleet_of(clock)
    began = clock.now()
    fleet.scale(1)
    clock.advance(179)
    assert states(fleet) == ["starting"]
    assert fleet.state().burn == 500_000
    clock.advance(1)
    assert states(fleet) == ["ready"]
    fleet.scale(0)
    (instance,) = fleet.state().instances
    assert (instance.state, instance.started, instance.ended) == ("stopping", began, began + 180)
    assert fleet.state().burn == 0
    clock.advance(30)
    (instance,) = fleet.state().instances
    assert (instance.state, instance.ended, instance.why) == ("gone", began + 180, "scale-in")
    clock.advance(3600)
    assert fleet.state().instances == ()


def test_starts_that_fail_are_seen_and_tried_again(clock: ManualClock) -> None:
    """G5: machines that keep relaunching or never get past initialising → finding."""
    fleet = fleet_of(clock)
    fleet.failing = 2
    fleet.scale(1)
    clock.advance(3 * 180)
    found = fleet.state().instances
    assert [(each.state, each.why) for each in found] == [
        ("gone", "failed to start"),
        ("gone", "failed to start"),
        ("ready", ""),
    ]
    assert [each.started - found[0].started for each in found] == [0, 180, 360]


def test_an_interruption_comes_two_minutes_after_its_notice_and_is_replaced(clock: ManualClock) -> None:
    """G9, COST-GUARD scenario 18: the ledger closes at the interruption."""
    fleet = fleet_of(clock)
    fleet.scale(1)
    clock.advance(180)
    (name,) = by_id(fleet)
    assert fleet.hold(name)
    notice = fleet.interrupt(name)
    assert notice.at == clock.now() + 120
    assert not fleet.hold(name), "it handed back and takes no more"
    assert (by_id(fleet)[name].state, by_id(fleet)[name].notice) == (InstanceState.DRAINING, notice)
    assert states(fleet) == ["draining", "starting"]
    clock.advance(120)
    assert (by_id(fleet)[name].state, by_id(fleet)[name].ended) == (InstanceState.GONE, notice.at)
    clock.advance(60)
    assert states(fleet) == ["gone", "ready"]


def test_advice_to_rebalance_starts_and_ends_nothing(clock: ManualClock) -> None:
    """G9, COST-GUARD scenario 19."""
    fleet = fleet_of(clock)
    fleet.scale(1)
    clock.advance(180)
    (name,) = by_id(fleet)
    assert fleet.hold(name)
    fleet.advise(name)
    clock.advance(600)
    (instance,) = fleet.state().instances
    assert (instance.leased, instance.state, instance.notice and instance.notice.kind) == (True, "ready", "rebalance")


def test_one_that_refuses_to_stop_keeps_no_other_and_is_never_called_zero(clock: ManualClock) -> None:
    """COST-GUARD scenario 5."""
    fleet = fleet_of(clock)
    fleet.scale(3)
    clock.advance(180)
    _first, second, third = by_id(fleet)
    fleet.protected.add(second)
    stopped = fleet.stop([second, third])
    assert (stopped.ending, stopped.refused) == ((third,), ((second, "protected against being stopped"),))
    assert fleet.zero("x").unproven == (f"{second}: protected against being stopped",)
    clock.advance(600)
    assert [each.id for each in fleet.state().living] == [second]
    assert not fleet.state().is_zero
    fleet.protected.clear()
    assert fleet.zero("x").unproven == ()
    clock.advance(30)
    assert fleet.state().is_zero


def test_a_region_that_denies_is_unknown_while_others_are_zeroed(clock: ManualClock) -> None:
    """COST-GUARD scenario 10."""
    east, west = Group("us-east-1", 1, 2, 2), Group("us-west-2", 0, 1, 3)
    fleet = fleet_of(clock, east, west)
    clock.advance(180)
    fleet.denied.add("us-west-2")
    state = fleet.state()
    assert (state.groups, state.unknown) == ((east,), ("us-west-2: access denied",))
    zeroed = fleet.zero("x")
    assert (zeroed.unproven, zeroed.snapshot.groups) == (("us-west-2: access denied",), (east,))
    clock.advance(600)
    assert fleet.state().living == ()
    assert not fleet.state().is_zero
    fleet.denied.clear()
    assert [each.state for each in fleet.state().living] == ["ready"], "it ran on"
    assert fleet.zero("y").snapshot.groups == (east, west), "the first snapshot, and what could not be read then"
    clock.advance(600)
    assert fleet.state().is_zero
    kept = fleet.state().kept
    assert kept is not None
    fleet.denied.add("us-west-2")
    with pytest.raises(Unavailable, match="us-west-2"):
        fleet.resume(kept)
    assert fleet.state().kept == kept
    fleet.denied.clear()
    fleet.resume(kept)
    assert fleet.state().groups == (east, west)


def test_a_minimum_is_kept_until_the_fleet_is_zeroed(clock: ManualClock) -> None:
    """COST-GUARD scenarios 3 and 4: while a group wants one, ending it starts another."""
    fleet = fleet_of(clock, Group("a", 1, 1, 2))
    clock.advance(180)
    assert fleet.scale(0) == 1
    (name,) = by_id(fleet)
    fleet.stop([name])
    clock.advance(180)
    assert [each.state for each in fleet.state().living] == ["ready"]
    assert fleet.state().living[0].id != name
    fleet.zero("x")
    clock.advance(600)
    assert fleet.state().is_zero
