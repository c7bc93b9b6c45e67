"""The pure decisions about work rows."""

from hypothesis import given
from hypothesis import strategies as st

from podinsight.domain.work import LaneView, State, aggregate, backoff, share_out

LANES = st.lists(
    st.builds(
        LaneView,
        lane_id=st.integers(1, 1000),
        priority=st.sampled_from([0, 5, 9]),
        host=st.sampled_from(["a", "b", "c", "d"]),
        waiting=st.integers(1, 20),
        last_served=st.floats(0, 100),
    ),
    unique_by=lambda lane: lane.lane_id,
    max_size=12,
)


@given(LANES, st.dictionaries(st.sampled_from("abcd"), st.integers(0, 5)), st.integers(0, 30))
def test_never_more_than_free_than_waiting_or_than_a_hosts_limit(
    lanes: list[LaneView], busy: dict[str, int], free: int
) -> None:
    limits = {"a": 1, "b": 3}
    shares = share_out(lanes, busy, limits, 4, free)
    assert sum(shares.values()) <= free
    by_id = {lane.lane_id: lane for lane in lanes}
    after = dict(busy)
    for lane_id, count in shares.items():
        assert 0 < count <= by_id[lane_id].waiting
        after[by_id[lane_id].host] = after.get(by_id[lane_id].host, 0) + count
    for host, count in after.items():
        assert count <= max(limits.get(host, 4), busy.get(host, 0))


@given(LANES, st.integers(0, 30))
def test_no_slot_stays_free_while_work_waits(lanes: list[LaneView], free: int) -> None:
    shares = share_out(lanes, {}, {}, 0, free)
    assert sum(shares.values()) == min(free, sum(lane.waiting for lane in lanes))


def test_higher_priority_goes_first_and_hosts_take_turns() -> None:
    lanes = [
        LaneView(1, 5, "busy", 500, 0.0),
        LaneView(2, 5, "idle", 10, 1.0),
        LaneView(3, 9, "urgent", 1, 9.0),
    ]
    assert share_out(lanes, {}, {}, 10, 7) == {3: 1, 1: 3, 2: 3}


def test_a_host_at_its_limit_leaves_its_turn_to_others() -> None:
    lanes = [LaneView(1, 5, "slow", 50, 0.0), LaneView(2, 5, "fast", 50, 1.0)]
    assert share_out(lanes, {"slow": 1}, {"slow": 1}, 10, 4) == {2: 4}


def test_the_aggregate_is_done_only_when_every_chunk_is() -> None:
    assert aggregate([State.DONE, State.DONE]) is State.DONE
    assert aggregate([State.DONE, State.WAITING]) is State.WAITING
    assert aggregate([State.RUNNING, State.WAITING]) is State.RUNNING
    assert aggregate([State.FAILED, State.RUNNING]) is State.FAILED
    assert aggregate([]) is State.HELD


@given(st.integers(1, 10), st.floats(0, 0.999), st.one_of(st.none(), st.floats(0, 500)))
def test_backoff_stays_within_its_bounds_and_obeys_the_server(attempt: int, jitter: float, asked: float | None) -> None:
    wait = backoff(attempt, jitter, asked)
    obeyed = min(asked or 0.0, 86_400.0)
    assert 2.0 <= wait <= max(30.0, obeyed)
    assert wait >= obeyed


def test_a_server_is_not_obeyed_for_ever() -> None:
    assert backoff(1, 0.5, 2e9) == 86_400.0


def test_backoff_grows() -> None:
    assert [backoff(attempt, 1.0) for attempt in (1, 2, 3, 4, 5, 6)] == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
