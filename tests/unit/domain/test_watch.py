"""What one look at the fleet leaves to the next (G5)."""

import json
from collections.abc import Sequence

import pytest

from podinsight.domain.findings import Finding
from podinsight.domain.fleet import FleetState, Group, Instance, InstanceState, Lifecycle
from podinsight.domain.pool import Rules
from podinsight.domain.prices import Price
from podinsight.domain.watch import Watch, findings, from_memory, observe, to_memory, vain_minimums

RULES = Rules(most=4, grace=300, sweep=60, stop=40, start=180, stall=300)
HOUR = 526_000
DAY = 24 * HOUR


def one(name: str, state: str = "ready", hour: int = HOUR, leased: bool = False, started: float = 0.0) -> Instance:
    rate = Price(hour, "list")
    return Instance(name, "zone", "g4dn", "zone", Lifecycle.SPOT, InstanceState(state), started, rate, leased=leased)


def state(
    at: float, *instances: Instance, least: int = 0, desired: int = 0, unknown: tuple[str, ...] = ()
) -> FleetState:
    return FleetState(at, (Group("zone", least, desired, 4),), instances, unknown)


def after(looks: Sequence[FleetState], work: bool = False) -> Watch:
    """Each look remembers the one before as JSON does."""
    watch, kept = Watch(), "null"
    for each in looks:
        watch = observe(from_memory(json.loads(kept), each.at), each, work, {})
        kept = json.dumps(to_memory(watch, each.at))
    return watch


def found(looks: Sequence[FleetState], work: bool = False) -> list[Finding]:
    return list(findings(after(looks, work), looks[-1], RULES, HOUR))


def minutes(count: int, *instances: Instance, **more: int) -> list[FleetState]:
    return [state(60.0 * n, *instances, **more) for n in range(count)]  # type: ignore[arg-type]


def test_an_idle_machine_is_a_finding_once_the_grace_is_over() -> None:
    """With what a day of it costs."""
    assert found(minutes(7, one("a"))) == []
    (finding,) = found(minutes(9, one("a")))
    assert (finding.subject, finding.day_micros) == ("a", DAY)
    assert "idle for 480 s" in finding.what


def test_one_that_works_now_and_then_is_none() -> None:
    looks = minutes(9, one("a"))
    looks[5] = state(300.0, one("a", leased=True))
    assert found(looks) == []


def test_a_lease_without_progress_and_a_start_without_end_are_findings() -> None:
    (stuck,) = found(minutes(7, one("a", leased=True)))
    assert "without progress" in stuck.what
    (late,) = found(minutes(11, one("a", "starting")))
    assert "starting for 600 s" in late.what


def test_what_costs_nothing_is_no_finding() -> None:
    """A process on somebody's own machine."""
    assert found(minutes(20, one("a", hour=0), desired=1)) == []


def test_a_minimum_is_a_finding_at_once_and_a_wish_without_work_after_the_grace() -> None:
    """COST-GUARD: what is held at a minimum costs, whatever the queue says."""
    (finding,) = found([state(0.0, least=2)])
    assert (finding.subject, finding.day_micros, finding.fix) == (
        "group zone: minimum", 2 * DAY, "the cost guard sets its minimum to 0 once it has had no work for 400 s",
    )  # fmt: skip
    assert found(minutes(7, desired=3)) == []
    (finding,) = found(minutes(9, desired=3))
    assert (finding.subject, finding.day_micros) == ("group zone: desired", 3 * DAY)
    assert found(minutes(9, desired=3), work=True) == []


def test_what_a_minimum_keeps_is_told_once() -> None:
    """G5: of five machines two are held by the minimum; the wish is about the other three."""
    minimum, wish = found(minutes(9, least=2, desired=5))
    assert (minimum.subject, minimum.day_micros) == ("group zone: minimum", 2 * DAY)
    assert (wish.subject, wish.day_micros) == ("group zone: desired", 3 * DAY)
    assert len(found(minutes(9, least=2, desired=2))) == 1


def test_a_minimum_is_in_vain_once_its_group_had_no_work_for_longer_than_the_limit() -> None:
    """Also of a group that wants none; never of one that works, or that costs nothing."""

    def vain(looks: Sequence[FleetState], work: bool = False, hour: int = HOUR) -> list[str]:
        return [each.name for each in vain_minimums(after(looks, work), looks[-1], RULES, hour)]

    assert vain(minutes(7, least=1, desired=1)) == []
    assert vain(minutes(9, least=1, desired=1)) == vain(minutes(9, least=1)) == ["zone"]
    assert (
        vain(minutes(9, desired=1)) == vain(minutes(9, least=1), work=True) == vain(minutes(9, least=1), hour=0) == []
    )
    assert vain(minutes(9, one("a", leased=True), least=1)) == []
    assert vain([*minutes(8, one("a", leased=True), least=1), state(480.0, one("a"), least=1)]) == [], "it begins then"


@pytest.mark.parametrize(("gap", "dropped"), [(800.0, True), (1000.0, False), (3 * 3600.0, False)])
def test_what_nobody_has_looked_at_was_not_without_work_all_the_while(gap: float, dropped: bool) -> None:
    """G5: after a gap, as while nothing ran here, the time without work begins anew."""
    looks = [state(0.0, least=1, desired=2), state(gap, least=1, desired=2)]
    assert bool(vain_minimums(after(looks), looks[-1], RULES, HOUR)) is dropped
    assert ("group zone: desired" in {each.subject for each in found(looks)}) is dropped
    later = [*looks, *(state(gap + 60.0 * n, least=1, desired=2) for n in range(1, 9))]
    assert vain_minimums(after(later), later[-1], RULES, HOUR) != ()


def test_machines_that_come_and_go_without_ever_being_ready_are_a_finding() -> None:
    """G5: a group that keeps relaunching."""
    looks = [state(60.0 * n, *([one(f"m{n}", "starting", started=60.0 * n)] if n % 2 else [])) for n in range(7)]
    (finding,) = found(looks)
    assert finding.what == "has started 3 machines in vain within an hour"
    assert finding.day_micros > 0
    assert found(looks[:5]) == []
    assert found([*looks, state(7200.0)]) == [], "an hour later nobody cares"
    ready = [state(60.0 * n, *([one(f"m{n}")] if n % 2 else [])) for n in range(7)]
    assert found(ready) == []


def test_what_does_not_answer_is_unknown_whatever_it_costs_and_nothing_of_it_is_forgotten() -> None:
    """Scenario 10: a region that denies us is unknown, never zero."""
    looks = [*minutes(8, one("a")), state(480.0, unknown=("zone: access denied",))]
    (finding,) = found(looks)
    assert (finding.what, finding.day_micros) == ("unknown: zone: access denied", 0)
    assert after(looks).vain == ()
    assert {each.subject for each in found([*looks, state(540.0, one("a"))])} == {"a"}


@pytest.mark.parametrize("value", [None, {}, {"seen": 3}, {"groups": [1]}, {"vain": 3}, {"idle": {"a": "x"}}])
def test_what_cannot_be_read_was_never_seen(value: dict[str, object] | None) -> None:
    assert from_memory(value, 0.0) == Watch()
