"""Who works a quote off: as many workers as the brain starts, and what they cost without work (G4, G6)."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podinsight.domain.brain import Decision, Memory, decide
from podinsight.domain.control import Control
from podinsight.domain.crew import ALONE, TWICE, Crew, crew
from podinsight.domain.fleet import InstanceState
from podinsight.domain.money import micros
from podinsight.domain.pool import Demand, Machine, Rules
from podinsight.domain.prices import Price
from podinsight.domain.quote_lines import NOTHING, Amounts, Item, Range

HOUR = 3600.0
SPEED = 16.0  # a power of two: what is multiplied by it is divided without a rest
CHUNK = 60.0  # seconds of audio
LOOK = 5.0  # seconds between two decisions
PRICE = Price(micros("3.6"), "settings")  # a tenth of a cent a second
RULES = Rules(
    most=4, drain=HOUR, patience=0.0, grace=30.0, settle=60.0, start=15.0, sweep=60.0, stop=20.0, least_billed=0.0
)


def likely(seconds: float) -> Range:
    return Range(seconds / 2, seconds, seconds * 3)


def brain(busy: float, rules: Rules, *machines: Machine, now: float = 0.0, was: Memory | None = None) -> Decision:
    """What the brain makes of so many seconds of work of one worker."""
    audio = busy * SPEED
    demand = Demand(audio, -int(-audio // CHUNK))
    return decide(now, demand, machines, rules, SPEED, PRICE.micros, Control(), (), was or Memory())


@given(busy=st.floats(1, 40 * HOUR), most=st.integers(1, 12), drain=st.floats(600, 8 * HOUR))
def test_as_many_come_as_the_brain_starts(busy: float, most: int, drain: float) -> None:
    rules = replace(RULES, most=most, drain=drain)
    assert crew(likely(busy), 1, rules).workers == brain(busy, rules).desired


def worked_off(busy: float, rules: Rules) -> tuple[int, float, float]:
    """How many the brain starts, when it is done, and for how many seconds they are paid without work, with machines
    that begin when their start is over and share what is left."""
    machines: list[Machine] = []
    left, now, idle, done, memory, most = busy, 0.0, 0.0, 0.0, Memory(), 0
    while True:
        ready = [each for each in machines if now - each.since >= rules.start or each.state is InstanceState.READY]
        machines = [
            each
            if each not in ready
            else replace(
                each,
                state=InstanceState.READY,
                leases=int(left > 0),
                since=now if left > 0 or each.state is InstanceState.STARTING else each.since,
            )
            for each in machines
        ]
        made = brain(left, rules, *machines, now=now, was=memory)
        memory, most = made.memory, max(most, made.desired)
        machines = [each for each in machines if each.id not in made.stop]
        machines += [
            Machine(f"{now}-{n}", InstanceState.STARTING, PRICE.micros, now)
            for n in range(made.desired - len(machines))
        ]
        if not left and not machines:
            return most, done, idle
        working = [each for each in machines if each.leases]
        work = min(left, LOOK * len(working))
        idle += LOOK * len(machines) - work
        if left and left == work:
            done = now + work / len(working)
        left, now = left - work, now + LOOK


@pytest.mark.parametrize("busy", [4.0, 600.0, 1.5 * HOUR, 3.9 * HOUR, 20 * HOUR])
@pytest.mark.parametrize("grace", [30.0, 300.0])
def test_they_are_done_and_gone_when_it_says(busy: float, grace: float) -> None:
    """G4: the brain itself, decision by decision, until the last worker is gone."""
    rules = replace(RULES, grace=grace)
    said = crew(likely(busy), 1, rules)
    workers, done, idle = worked_off(busy, rules)
    assert said.workers == workers
    assert said.lasts(Range(busy, busy, busy)).likely == pytest.approx(done, abs=2 * LOOK)
    assert said.idle.likely == pytest.approx(idle, abs=2 * LOOK * workers), "it looks only so often"
    assert idle < said.idle.high


def test_the_idle_time_of_a_small_job_is_most_of_its_bill() -> None:
    """G4: three seconds of work, thirty of grace."""
    said = crew(likely(3.0), 1, RULES)
    assert said == Crew(1, Range(0, 15, 75), Range(0, 15 + 30, TWICE * (15 + 30 + 60)))
    (line,) = said.lines(PRICE)
    assert (line.item, line.unit, line.price) == (Item.IDLE, "h", PRICE)
    assert line.cost == Amounts(0, 45_000, 210_000)


def test_those_go_first_that_fewer_are_enough_without_and_the_last_after_the_grace() -> None:
    rules = replace(RULES, grace=300.0)
    assert crew(likely(3.5 * HOUR), 1, rules).idle.likely == 4 * 15 + 60 + 120 + 120 + 300
    assert crew(likely(3.5 * HOUR), 1, RULES).idle.likely == 4 * (15 + 30), "the grace is over first"


@pytest.mark.parametrize("rules", [None, replace(RULES, most=0)])
def test_where_none_comes_or_goes_nothing_is_added(rules: Rules | None) -> None:
    """`fleet=fixed`, or machines that are somebody else's: as before."""
    said = crew(likely(2 * HOUR), 4, rules)
    assert said == Crew(4)
    assert (said.lasts(likely(2 * HOUR)), said.lines(PRICE)) == (likely(HOUR / 2), ())
    assert crew(likely(1.0), 0, rules).workers == 1, "one comes when there is work"


def test_nothing_to_do_takes_and_costs_nothing() -> None:
    said = crew(NOTHING, 1, RULES)
    assert (said, said.lasts(NOTHING), said.lines(PRICE)) == (ALONE, NOTHING, ())
    assert crew(likely(1.0), 1, RULES).lasts(NOTHING) == NOTHING


def test_a_free_device_waits_for_nothing() -> None:
    assert crew(likely(HOUR), 1, RULES).lines(Price(0, "local")) == ()


@given(busy=st.floats(0, 40 * HOUR), most=st.integers(0, 12), times=st.tuples(*[st.floats(0, 1000)] * 3))
def test_low_is_never_above_likely_nor_likely_above_high(
    busy: float, most: int, times: tuple[float, float, float]
) -> None:
    grace, settle, sweep = times
    said = crew(likely(busy), 1, replace(RULES, most=most, grace=grace, settle=settle, sweep=sweep))
    for figure in (said.start, said.idle, said.lasts(likely(busy))):
        for less, more in itertools.pairwise((figure.low, figure.likely, figure.high)):
            assert 0 <= less <= more
