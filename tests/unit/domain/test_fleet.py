from dataclasses import replace

import pytest

from podinsight.domain.fleet import FleetState, Group, Instance, InstanceState, Lifecycle, spread
from podinsight.domain.prices import Price

ONE = Instance("a", "g", "g4dn.xlarge", "z", Lifecycle.SPOT, InstanceState.READY, 1.0, Price(500_000, "list price"))
ZERO = Group("g", 0, 0, 0)


@pytest.mark.parametrize(
    ("desired", "sizes"),
    [(-1, [1, 0]), (0, [1, 0]), (1, [1, 0]), (3, [3, 0]), (4, [3, 1]), (9, [3, 2])],
)
def test_a_count_is_spread_between_minimums_and_maximums(desired: int, sizes: list[int]) -> None:
    assert list(spread(desired, [Group("a", 1, 0, 3), Group("b", 0, 0, 2)]).values()) == sizes


def test_zero_is_proven_only_by_answers() -> None:
    """G5, G7: unknown is never zero."""
    proven = FleetState(0.0, (ZERO,), (replace(ONE, state=InstanceState.GONE),))
    assert proven.is_zero
    assert not replace(proven, unknown=("us-west-2: access denied",)).is_zero
    assert not replace(proven, groups=(Group("g", 0, 0, 1),)).is_zero
    assert not replace(proven, groups=(Group("g", 1, 0, 0),)).is_zero
    for state in set(InstanceState) - {InstanceState.GONE}:
        assert not replace(proven, instances=(replace(ONE, state=state),)).is_zero


def test_what_burns_and_what_is_idle() -> None:
    instances = tuple(replace(ONE, id=state.value, state=state) for state in InstanceState)
    state = FleetState(
        0.0, (ZERO,), (*instances, replace(ONE, id="busy", leased=True), replace(ONE, id="new", started=2))
    )
    assert state.burn == 5 * 500_000, "starting, ready, draining, busy, new"
    assert [each.id for each in state.idle] == ["new", "starting", "ready"]
