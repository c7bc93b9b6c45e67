"""How many workers there should be (G5, G6, G8; DESIGN.md, idea 7): promises that hold whatever is seen."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podinsight.domain.brain import Decision, Memory, decide
from podinsight.domain.control import Control, Mode
from podinsight.domain.fleet import InstanceState as State
from podinsight.domain.money import cost, micros
from podinsight.domain.pool import Demand, Level, Machine, Rules, ahead, economy, economy_item

NOW, PRICE, SPEED = 1_000_000.0, 210_000, 40.0
HOUR_OF_WORK = 3600 * SPEED
RULES = Rules(most=8)


def machine(name: str, state: State = State.READY, leases: int = 0, since: float = NOW, price: int = PRICE) -> Machine:
    return Machine(name, state, price, since, leases, since)


def ask(
    demand: Demand,
    *machines: Machine,
    now: float = NOW,
    rules: Rules = RULES,
    control: Control = Control(),  # noqa: B008 (frozen)
    levels: tuple[Level, ...] = (),
    memory: Memory = Memory(),  # noqa: B008 (frozen)
) -> Decision:
    return decide(now, demand, machines, rules, SPEED, PRICE, control, levels, memory)


machines_seen = st.lists(
    st.builds(
        Machine,
        st.uuids().map(str),
        st.sampled_from(State),
        st.integers(0, 5_000_000),
        st.floats(NOW - 5000, NOW),
        st.integers(0, 2),
    ),
    max_size=12,
).map(tuple)
demands = st.builds(Demand, st.floats(1, 1e7), st.integers(0, 10_000), st.floats(0, 1e7))
controls = st.builds(Control, st.sampled_from(Mode), st.booleans(), st.booleans())
memories = st.builds(Memory, st.integers(0, 20), st.none() | st.floats(NOW - 500, NOW), st.integers(0, 20))
levels_seen = st.lists(
    st.builds(Level, st.just("day"), st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**6)), max_size=3
).map(tuple)


@given(demands, machines_seen, controls, levels_seen, memories, st.integers(0, 10))
def test_whatever_is_seen_the_promises_hold(
    demand: Demand,
    machines: tuple[Machine, ...],
    control: Control,
    levels: tuple[Level, ...],
    memory: Memory,
    most: int,
) -> None:
    """G2, G6: never above the maximum, never more than 0 while forbidden, no lease holder stopped, no level passed."""
    rules = replace(RULES, most=most)
    made = ask(demand, *machines, rules=rules, control=control, levels=levels, memory=memory)
    by_id = {one.id: one for one in machines}

    assert 0 <= made.desired <= most
    assert not any(by_id[one].leases for one in made.stop)
    assert not {*made.stop} & {*made.drain}
    if control.mode is not Mode.RUNNING or control.gpu_frozen:
        assert made.desired == 0
    stays = [one for one in machines if one.state in (State.STARTING, State.READY)]
    stays = [one for one in stays if one.id not in (*made.stop, *made.drain)]
    assert len(stays) <= made.desired

    paid = [one for one in machines if one.state is not State.GONE]
    if made.desired:
        spent = sum(cost(rules.stop, one.hour_micros) for one in paid)
        spent += sum(cost(rules.sweep, one.hour_micros) for one in stays)
        spent += (made.desired - len(stays)) * cost(max(60, rules.sweep + rules.stop), PRICE)
        assert all(level.spent + level.reserved + spent < max(level.ceiling, 1) for level in levels)
    if control == Control() and not levels:
        assert not set(made.drain) or len(paid) > most, "less work never drains a lease holder"


@given(st.lists(st.integers(0, 40), min_size=1, max_size=30), st.integers(1, 8))
def test_it_ends_at_zero_when_work_ends(backlogs: list[int], most: int) -> None:
    """G6: whatever was wanted before, nothing is wanted once the grace has passed; and it takes no longer than that."""
    rules, memory, now = replace(RULES, most=most), Memory(), NOW
    running: tuple[Machine, ...] = ()
    for hours in [*backlogs, *[0] * (math.ceil(RULES.grace / 30) + 1)]:
        made = ask(Demand(hours * HOUR_OF_WORK, hours), *running, now=now, rules=rules, memory=memory)
        assert made.desired >= min(1, hours)
        running = tuple(one for one in running if one.id not in made.stop)
        running += tuple(machine(f"{now}-{n}", since=now) for n in range(made.desired - len(running)))
        memory, now = made.memory, now + 30
    assert (made.desired, running) == (0, ())


def test_the_last_worker_stays_for_the_grace_and_the_others_go_first() -> None:
    """G6."""
    busy = ask(Demand(16 * HOUR_OF_WORK, 99))
    assert busy.desired == 8
    idle = [machine(f"m{n}") for n in range(8)]
    first = ask(Demand(), *idle, memory=busy.memory)
    assert first.desired == 8, "a lower number must hold"
    settled = ask(Demand(), *idle, now=NOW + RULES.settle, memory=first.memory)
    assert (settled.desired, len(settled.stop)) == (1, 7)
    assert ask(Demand(), idle[0], now=NOW + RULES.grace - 1, memory=settled.memory).desired == 1
    assert ask(Demand(), idle[0], now=NOW + RULES.grace, memory=settled.memory).stop == ("m0",)


@given(st.lists(st.integers(-90, 90), min_size=20, max_size=60))
def test_noise_about_an_edge_makes_no_flapping(noise: list[int]) -> None:
    """Hysteresis: a number that comes back within the settling time is never given up, and what falls, falls once."""
    memory, now, seen = Memory(), NOW, []
    for n, minutes in enumerate(noise):
        minutes = 60 if n % 2 == 0 else minutes  # above the edge at least each minute
        made = ask(Demand((8 * 3600 + 60 * minutes) * SPEED, 999), now=now, memory=memory)
        seen.append(made.desired)
        memory, now = made.memory, now + RULES.settle / 3
    assert seen == sorted(seen)


def test_a_lower_number_is_the_highest_of_the_settling_time() -> None:
    memory = ask(Demand(16 * HOUR_OF_WORK, 999)).memory
    for after, hours, desired in ((0, 4, 8), (30, 10, 8), (60, 4, 5), (90, 4, 5), (120, 4, 2)):
        made = ask(Demand(hours * HOUR_OF_WORK, 999), now=NOW + after, memory=memory)
        assert made.desired == desired, after
        memory = made.memory


def test_whoever_works_is_kept_while_there_is_work_worth_a_start() -> None:
    """A busy worker costs the same now or later: less backlog takes none of them, until too little is left."""
    working = [machine(f"m{n}", leases=1) for n in range(4)]
    memory = Memory(desired=4, lower_since=NOW - 100, lower_peak=1)
    between = [replace(one, leases=0) for one in working]  # two chunks
    assert ask(Demand(4 * RULES.start * SPEED, 99), *between, memory=memory).stop == ()
    few = Demand(RULES.start * SPEED, 99)
    held = ask(few, *working, memory=memory)
    assert (held.desired, held.stop, held.drain) == (4, (), ()), "lease holders stay"
    dear = replace(working[0], hour_micros=9 * PRICE)
    assert ask(few, dear, machine("idle"), memory=memory).stop == ("idle",)
    mixed = [*working[:2], machine("idle"), machine("starting", State.STARTING)]
    assert set(ask(few, *mixed, memory=memory).stop) == {"idle", "starting"}


def test_work_gathers_while_more_is_coming_and_starts_at_once_when_none_is() -> None:
    """A start is shared, within a patience; the last of a back-fill is not made to wait."""
    some, coming = 300 * SPEED, RULES.patience * SPEED
    assert ask(Demand(some, 5)).desired == 1
    waits = ask(Demand(some, 5, coming))
    assert waits.desired == 0
    assert "more is coming" in waits.why
    patient = NOW + RULES.patience
    assert ask(Demand(some, 5, coming), now=patient - 1, memory=waits.memory).desired == 0
    assert ask(Demand(some, 5, coming), now=patient, memory=waits.memory).desired == 1
    assert ask(Demand(coming, 5, coming), memory=waits.memory).desired == 1, "enough for a start"
    assert ask(Demand(some, 5, coming), rules=replace(RULES, patience=0)).desired == 1


def test_a_stop_level_is_looked_at_ahead_and_frozen_in_time() -> None:
    """Scenario 12: GPU day at $39.20 and $10 an hour burning: work ends before $40, whatever is still wanted."""
    level = Level("gpu_day", micros("40"), micros("39.20"))
    running = [machine(f"m{n}", leases=1, price=1_250_000) for n in range(8)]
    now, spent, memory, frozen = NOW, level.spent, Memory(desired=8), None
    stopping: list[tuple[float, Machine]] = []
    while running or stopping:
        seen = [*running, *(replace(one, state=State.DRAINING) for _, one in stopping)]
        made = ask(Demand(1e9, 9999), *seen, now=now, levels=(replace(level, spent=spent),), memory=memory)
        gone = {*made.stop, *made.drain}
        stopping += [(now + RULES.stop, one) for one in running if one.id in gone]
        running = [one for one in running if one.id not in gone]
        assert made.desired == len(running), "nothing is launched so near the ceiling"
        spent += sum(cost(RULES.sweep, one.hour_micros) for one in (*running, *(one for _, one in stopping)))
        now, memory, frozen = now + RULES.sweep, made.memory, made.freeze
        stopping = [(until, one) for until, one in stopping if until > now]
        assert spent < level.ceiling
    assert frozen is not None
    assert frozen.scope == "gpu_day"
    assert spent > micros("39.70"), "what was left was used"


def test_what_costs_nothing_fits_under_a_level_of_nothing() -> None:
    """G3: a level of $0 stops at the first micro-dollar; one that is reached stops what costs nothing, too."""
    nothing, reached = Level("gpu_day", 0, 0), Level("day", 100, 100)
    free = [machine(f"m{n}", leases=1, price=0) for n in range(2)]
    made = decide(NOW, Demand(1e7, 99), free, RULES, SPEED, 0, Control(), (nothing,), Memory())
    assert (made.desired, made.drain, made.freeze) == (8, (), None)
    for level in (replace(nothing, spent=1), replace(nothing, reserved=1), reached):
        made = decide(NOW, Demand(1e7, 99), free, RULES, SPEED, 0, Control(), (nothing, level), Memory())
        assert (made.desired, made.freeze) == (0, level)
    dear = ask(Demand(1e6, 99), levels=(nothing,))
    assert (dear.desired, dear.freeze) == (0, nothing)
    assert dear.why == "the budget has $0.00 of $0.00 left: no room for a worker"


def test_a_number_that_hovers_at_the_ceiling_does_not_launch_and_stop_in_turns() -> None:
    """A launch must fit with its start; what runs already needs less."""
    room = cost(RULES.sweep + RULES.stop, PRICE) + 1
    level = Level("day", room, 0)
    assert ask(Demand(1e6, 99), machine("m", leases=1), levels=(level,)).desired == 1
    assert ask(Demand(1e6, 99), levels=(level,)).desired == 0
    assert ask(Demand(1e6, 99), machine("m", leases=1), levels=(replace(level, reserved=1),)).drain == ("m",)
    assert ahead([machine("m")], RULES) == room - 1


def test_a_launch_must_fit_with_the_lease_that_it_is_for() -> None:
    """G2, G3: who can reserve no lease boots for nothing; nothing is launched, it freezes. Who holds one has it."""
    rules = replace(RULES, lease=90.0)
    launch = cost(RULES.start + RULES.sweep + RULES.stop + 90.0, PRICE)
    work, tight = Demand(1e6, 99), Level("gpu_day", launch, 0)
    none = ask(work, rules=rules, levels=(tight,))
    assert (none.desired, none.freeze) == (0, tight)
    assert ask(work, rules=rules, levels=(replace(tight, ceiling=launch + 1),)).desired == 1
    assert ask(work, levels=(tight,)).desired == 1, "without a lease there is room for more"
    holder = ask(work, machine("m", leases=1), rules=rules, levels=(replace(tight, ceiling=launch // 2),))
    assert (holder.desired, holder.freeze) == (1, None)


def test_who_has_no_lease_yet_is_left_the_room_for_one() -> None:
    """G2: two that were launched one after the other fit as two that were launched at once."""
    rules = replace(RULES, lease=90.0)
    lease, beside = cost(90.0, PRICE), cost(RULES.sweep + RULES.stop, PRICE)
    level = Level("gpu_day", beside + cost(rules.launch, PRICE) + lease, 0)
    first = machine("m", State.STARTING)
    assert ask(Demand(1e6, 99), first, rules=rules, levels=(level,)).desired == 1
    assert ask(Demand(1e6, 99), first, rules=rules, levels=(replace(level, ceiling=level.ceiling + 1),)).desired == 2
    assert ask(Demand(1e6, 99), replace(first, leases=1), rules=rules, levels=(level,)).desired == 2


def test_what_leaves_counts_against_the_maximum_and_dear_ones_leave_first() -> None:
    seen = [machine("dear", leases=1, price=2 * PRICE), machine("cheap", leases=1), machine("ends", State.DRAINING, 1)]
    made = ask(Demand(1e9, 99), *seen, rules=replace(RULES, most=2))
    assert (made.desired, made.drain, made.stop) == (1, ("dear",), ())


def test_money_that_runs_for_nothing_is_found() -> None:
    """G5: starts that never end, leases without progress, idle machines and refused stops, each with dollars a day."""
    old = NOW - 1000
    seen = [
        machine("starts", State.STARTING, since=old),
        machine("hangs", leases=1, since=old),
        machine("idles", since=old),
        machine("refuses", State.STOPPING, since=old),
        replace(machine("works", leases=1, since=old), progress_at=NOW - 5),
        machine("gone", State.GONE, since=old),
    ]
    made = ask(Demand(1e6, 99), *seen)
    assert [one.subject for one in made.findings] == ["starts", "hangs", "idles", "refuses"]
    assert {one.day_micros for one in made.findings} == {24 * PRICE}
    assert made.stop == ("starts",), "it is replaced"


def test_economy_begins_at_80_per_cent_and_ends_below_60() -> None:
    """G8: of a stop level, or an item at $2.50; fewer run at once meanwhile."""
    level = Level("day", 1000, 799)
    assert not economy(False, [level])
    assert economy(False, [replace(level, spent=800)])
    assert economy(True, [replace(level, spent=600)])
    assert not economy(True, [replace(level, spent=599)])
    assert economy(False, [], micros("2.50"))
    assert not economy(True, [], micros("2.49"))
    assert ask(Demand(1e9, 99), control=Control(economy=True)).desired == 4


def test_economy_begins_at_the_level_of_an_item_or_80_per_cent_of_its_stop_level() -> None:
    """G8: whichever is less; the stop level of an item is one like the others."""
    own = micros("2.50")
    assert economy_item(own, None) == own
    assert economy_item(own, micros(10)) == own
    assert economy_item(own, micros(3)) == micros("2.40")
    assert economy_item(None, micros(10)) == micros(8)
    assert economy_item(own, 0) == own, "a level of nothing is none to save under"
    assert economy_item(None, None) is None
    assert economy_item(None, 1) == 1, "rounded up"
    assert not economy(False, [], micros(99), None)


@pytest.mark.parametrize(("speed", "price"), [(0.0, PRICE), (SPEED, -1)])
def test_no_fleet_is_sized_without_a_speed_or_a_price(speed: float, price: int) -> None:
    with pytest.raises(ValueError, match="sized"):
        decide(NOW, Demand(), (), RULES, speed, price, Control(), (), Memory())
    with pytest.raises(ValueError, match="no rules"):
        Rules(most=1, drain=0)


def test_what_is_said_is_in_plain_words() -> None:
    """G6: minutes and dollars, whole sentences, no names of ours."""
    slow = Rules(most=8, drain=3600)
    day = Level("gpu_day", micros("0.30"), micros("0.20"), name="GPU work on 2026-11-22")
    rate = " at 40 times real time: "

    def said(demand: Demand, *machines: Machine, **more: object) -> str:
        return ask(demand, *machines, **{"rules": slow, **more}).why  # type: ignore[arg-type]

    assert said(Demand(21 * 60.0, 9)) == f"21 min of audio{rate}1 worker is done within 60 min"
    assert said(Demand(HOUR_OF_WORK * 3, 9)) == f"120.0 h of audio{rate}3 workers are done within 60 min"
    assert said(Demand(HOUR_OF_WORK * 3, 2)) == f"120.0 h of audio{rate}2 workers, one for each chunk"
    assert said(Demand(119.0, 9), memory=Memory(desired=2)) == (
        f"119 s of audio{rate}1 worker is done within 60 min; fewer must have been enough for 60 s before one goes"
    )
    two = [machine(f"m{n}", leases=1) for n in range(2)]
    assert said(Demand(119.0, 9), *two).endswith("done within 60 min; who holds work stays")
    assert said(Demand(), machine("m"), memory=Memory(1, empty_since=NOW - 20)) == (
        "no work for 20 s: the last worker goes after 5 min"
    )
    assert said(Demand()) == "no work for 0 s"
    assert said(Demand(600.0, 2, 1e6)) == (
        "10 min of audio, and more is coming: it has waited 0 s, at most 30 min, to share one start"
    )
    assert said(Demand(1e9, 999)) == "at most 8 workers"
    assert said(Demand(1e9, 999), control=Control(economy=True)) == "at most 4 workers in economy mode"
    assert said(Demand(1e9, 999), levels=(day,)) == "GPU work on 2026-11-22 has $0.10 of $0.30 left: room for 4 workers"
    reached = replace(day, spent=day.ceiling)
    assert said(Demand(1e9, 999), levels=(reached,)) == (
        "GPU work on 2026-11-22 has $0.00 of $0.30 left: no room for a worker"
    )
