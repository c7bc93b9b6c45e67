"""What is kept of a fleet between two decisions: since when machines are as they are, and JSON that may be anything."""

import json

import pytest

from podinsight.domain.brain import Memory
from podinsight.domain.findings import Finding
from podinsight.domain.fleet import Instance, InstanceState, Lifecycle
from podinsight.domain.observed import OLD_SECONDS, Observed, Sight, look, machines, observed
from podinsight.domain.prices import Price

NOW = 1_700_000_000.0
READY, STARTING, GONE = InstanceState.READY, InstanceState.STARTING, InstanceState.GONE


def instance(state: InstanceState, started: float = NOW - 50, leased: bool = False) -> Instance:
    return Instance("g", "gpu", "cpu", "here", Lifecycle.LOCAL, state, started, Price(7, "list"), leased=leased)


def test_a_starting_machine_counts_from_its_start_and_a_ready_one_from_when_it_was_first_seen() -> None:
    assert look(NOW, [instance(STARTING)], {}, {})["g"] == Sight(STARTING, NOW - 50)
    first = look(NOW, [instance(READY)], {}, {})
    assert first["g"] == Sight(READY, NOW)
    assert look(NOW + 9, [instance(READY)], {}, first)["g"].since == NOW
    assert look(NOW, [instance(GONE)], {}, first) == {}


def test_idle_since_is_when_the_last_lease_was_lost() -> None:
    """G5: idle is what holds no lease, from the end of the last one."""
    seen = look(NOW, [instance(READY)], {"g": (1, NOW - 5)}, {})
    assert seen["g"] == Sight(READY, NOW, 1, NOW - 5)
    seen = look(NOW + 10, [instance(READY)], {"g": (1, NOW - 5)}, seen)
    assert seen["g"].progress_at == NOW - 5, "the same chunk is no progress"
    seen = look(NOW + 20, [instance(READY)], {"g": (1, NOW + 15)}, seen)
    assert seen["g"].progress_at == NOW + 15, "the next chunk is"
    seen = look(NOW + 30, [instance(READY)], {}, seen)
    assert seen["g"] == Sight(READY, NOW + 30, 0, NOW + 30)
    assert look(NOW + 40, [instance(READY)], {}, seen)["g"].since == NOW + 30


def test_without_counts_of_leases_the_instance_says_whether_it_holds_one() -> None:
    seen = look(NOW, [instance(READY, leased=True)], {}, {})
    assert (seen["g"].leases, seen["g"].progress_at) == (1, NOW)
    assert look(NOW + 5, [instance(READY, leased=True)], {}, seen)["g"].progress_at == NOW


def test_what_is_kept_comes_back_as_it_was() -> None:
    kept = Observed(
        Memory(2, NOW - 5, 1, None, NOW - 9),
        {"g": Sight(READY, NOW - 3, 1, NOW - 2), "h": Sight(STARTING, NOW - 1)},
        NOW,
        "because",
        2,
        (Finding("has been idle", "g", 12, ""),),
    )
    assert observed(json.loads(json.dumps(kept.to_json())), NOW + 5) == kept
    (machine, *_) = machines([instance(READY)], kept.sights)
    assert (machine.hour_micros, machine.since, machine.leases, machine.progress_at) == (7, NOW - 3, 1, NOW - 2)


def test_what_is_old_is_told_and_not_used() -> None:
    kept = Observed(Memory(2), {"g": Sight(READY, NOW)}, NOW, "because", 2).to_json()
    for at in (NOW + OLD_SECONDS + 1, NOW - 1):
        old = observed(kept, at)
        assert (old.memory, old.sights, old.why, old.at) == (Memory(), {}, "because", NOW)


def test_no_time_lies_ahead() -> None:
    kept = Observed(Memory(empty_since=NOW + 99), {"g": Sight(READY, NOW + 99, 1, NOW + 99)}, NOW).to_json()
    found = observed(kept, NOW)
    assert (found.memory.empty_since, found.sights["g"].since, found.sights["g"].progress_at) == (NOW, NOW, NOW)


@pytest.mark.parametrize(
    "kept",
    [
        None,
        {},
        {"at": "noon"},
        {"at": True},
        {"at": float("nan")},
        {"at": NOW},
        {"at": NOW, "desired": 0, "memory": [], "sights": 3, "findings": {}},
        {"at": NOW, "desired": 0, "memory": {"desired": -1, "lower_peak": 0}},
        {"at": NOW, "desired": 0, "memory": {"desired": 1, "lower_peak": 0, "lower_since": "x"}, "findings": [1, {}]},
        {"at": NOW, "desired": 0, "sights": {"g": 1, "h": {"state": "?"}, "i": {"state": "ready", "since": None}}},
        {"at": NOW, "desired": 0.5, "memory": {}},
    ],
)
def test_what_cannot_be_read_counts_as_never_seen(kept: dict[str, object] | None) -> None:
    found = observed(kept, NOW)
    assert (found.memory, dict(found.sights), found.findings) == (Memory(), {}, ())
