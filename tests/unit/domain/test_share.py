"""Shares of the gpu workers, machine by machine (G6)."""

from hypothesis import given
from hypothesis import strategies as st

from podinsight.domain.share import share_out

DESIRED = st.integers(0, 40)
WORKING = st.dictionaries(st.text(min_size=1, max_size=5), st.integers(0, 12), min_size=1, max_size=8)


@given(DESIRED, WORKING)
def test_no_more_and_no_fewer_than_are_desired_whatever_runs(desired: int, working: dict[str, int]) -> None:
    shares = share_out(desired, working)
    assert shares.keys() == working.keys()
    assert sum(shares.values()) == desired
    assert min(shares.values()) >= 0


@given(DESIRED, WORKING)
def test_nobody_starts_one_where_another_has_to_go(desired: int, working: dict[str, int]) -> None:
    shares = share_out(desired, working)
    surplus = sum(working.values()) - desired
    assert all(shares[machine] <= count for machine, count in working.items()) or surplus < 0
    assert all(shares[machine] >= count for machine, count in working.items()) or surplus > 0


@given(DESIRED, st.data(), st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=8, unique=True))
def test_shares_are_even_and_stay_so_while_machines_bring_theirs_up(
    desired: int, data: st.DataObject, machines: list[str]
) -> None:
    """Supervisors that look at different moments start no more between them than one look would have."""
    in_order = sorted(machines)
    even = {name: desired // len(machines) + (n < desired % len(machines)) for n, name in enumerate(in_order)}
    up_so_far = {name: data.draw(st.integers(0, even[name])) for name in in_order}
    assert share_out(desired, dict.fromkeys(machines, 0)) == even
    assert share_out(desired, up_so_far) == even


def test_who_works_stays_when_a_machine_comes_or_goes() -> None:
    assert share_out(2, {"a": 2}) == {"a": 2}
    assert share_out(2, {"a": 2, "b": 0}) == {"a": 2, "b": 0}
    assert share_out(3, {"a": 2, "b": 0}) == {"a": 2, "b": 1}
    assert share_out(2, {"b": 1}) == {"b": 2}
    assert share_out(1, {"a": 0, "b": 1}) == {"a": 0, "b": 1}
    assert share_out(0, {"a": 2, "b": 1}) == {"a": 0, "b": 0}
    assert share_out(-1, {"a": 1}) == {"a": 0}
    assert share_out(1, {}) == {}
