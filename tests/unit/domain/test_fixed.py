"""A fleet of a fixed size, taken to zero and brought back (G3, G5)."""

import json
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podinsight.domain.fixed import Held, Order, Seen, decide, from_memory

GRACE = 300.0


class Pool:
    """A pool whose machines are there as soon as they are wanted, each paid for, looked at every minute."""

    def __init__(self, size: int, least: int = 0) -> None:
        self.size, self.least, self.at, self.held = size, least, 0.0, Held()

    def look(
        self, work: bool = False, forbidden: str | None = None, unknown: bool = False, free: bool = False
    ) -> Order:
        """A decision from what was remembered as JSON."""
        self.at += 60
        seen = Seen(self.at, self.size, self.least, self.size > 0 and not free, work, forbidden, unknown)
        return decide(from_memory(json.loads(json.dumps(self.held.to_json()))), seen, GRACE)

    def decide(self, fails: bool = False, **seen: bool | str | None) -> int:
        """A decision that is carried out, or refused by the provider; how many are desired then."""
        order = self.look(**seen)  # type: ignore[arg-type]
        back = order.desired is not None and order.held.size is None
        if not (fails and back):
            self.held = order.held
        if order.desired is not None and not fails:
            self.size = max(order.desired, self.least)
            self.held = order.held if back else replace(order.held, left=self.size)
        return self.size


def test_what_has_no_work_for_the_grace_goes_and_comes_back_with_work() -> None:
    pool = Pool(3)
    assert [pool.decide() for _ in range(7)] == [3, 3, 3, 3, 3, 0, 0]
    assert str(pool.held) == (
        "the size was fixed at 3, now 0 by the cost guard: no work for 300 s; work brings it back"
    )
    assert [pool.decide(work=True), pool.decide(work=True)] == [3, 3]
    assert str(pool.held) == "the size is fixed"


def test_work_now_and_then_keeps_it() -> None:
    pool = Pool(3)
    assert {pool.decide(work=n % 5 == 0) for n in range(40)} == {3}


def test_what_costs_nothing_keeps_its_size() -> None:
    """Whatever is stopped."""
    pool = Pool(3)
    assert {pool.decide(free=True, forbidden=why) for why in (None, "frozen") for _ in range(20)} == {3}


def test_a_stop_takes_it_at_once_and_a_resume_brings_it_back() -> None:
    """Also where there is no work."""
    pool = Pool(3)
    assert pool.decide(work=True, forbidden="frozen") == 0
    assert str(pool.held).endswith("by the cost guard: frozen; a resume brings it back")
    assert [pool.decide(forbidden="frozen"), pool.decide()] == [0, 3]


def test_what_had_no_work_before_a_stop_waits_for_work_after_it() -> None:
    pool = Pool(3)
    for _ in range(7):
        pool.decide()
    assert [pool.decide(work=True, forbidden="frozen"), pool.decide(), pool.decide(work=True)] == [0, 0, 3]


@pytest.mark.parametrize("why", [None, "frozen"])
def test_a_size_that_somebody_sets_meanwhile_is_his(why: str | None) -> None:
    """It has its grace, and comes back itself."""
    pool = Pool(3)
    for _ in range(7):
        pool.decide(forbidden=why)
    pool.size = 1
    assert [pool.decide() for _ in range(6)] == [1, 1, 1, 1, 1, 0]
    assert pool.decide(work=True) == 1


def test_a_minimum_is_left_to_whoever_drops_minimums() -> None:
    pool = Pool(3, least=1)
    assert [pool.decide() for _ in range(7)][-1] == 1
    assert pool.look().desired is None, "nobody asks for what cannot be"
    pool.least = 0
    assert [pool.decide(), pool.decide(work=True)] == [0, 3]
    held = Pool(2, least=2)
    assert [held.decide() for _ in range(7)][-1] == 2
    held.least = 0
    assert [held.decide(), held.decide(work=True)] == [0, 2]


def test_a_minimum_that_is_raised_meanwhile_is_no_size() -> None:
    pool = Pool(3)
    for _ in range(7):
        pool.decide()
    pool.size = pool.least = 1
    assert pool.decide() == 1
    pool.least = 0
    assert [pool.decide(), pool.decide(work=True)] == [0, 3]


def test_a_part_that_was_unknown_brings_its_size_along() -> None:
    """COST-GUARD scenario 10: what does not answer is not zero, and nobody has set it."""
    pool = Pool(3)
    for _ in range(7):
        pool.decide(unknown=True)
    pool.size = 2
    assert [pool.decide(), pool.decide(), pool.decide(work=True)] == [0, 0, 5]


def test_what_was_taken_and_is_unknown_for_a_while_comes_back_as_it_was() -> None:
    pool = Pool(5, least=2)
    for _ in range(7):
        pool.decide()
    pool.size = pool.least = 0
    pool.decide(unknown=True)
    pool.size = pool.least = 2
    assert [pool.decide(), pool.decide(work=True)] == [2, 5]


def test_what_was_not_looked_at_for_long_begins_anew() -> None:
    """A stack that was down over night does not lose its workers as soon as it is up."""
    pool = Pool(3)
    pool.decide()
    pool.at += 50_000
    assert [pool.decide() for _ in range(6)] == [3, 3, 3, 3, 3, 0]


@dataclass(frozen=True)
class Step:
    work: bool
    forbidden: bool
    fails: bool
    size: int | None


STEPS = st.lists(st.builds(Step, st.booleans(), st.booleans(), st.booleans(), st.none() | st.integers(1, 4)))


@given(STEPS, st.integers(1, 4))
def test_it_is_at_its_size_or_at_zero_and_with_work_at_its_size(steps: list[Step], size: int) -> None:
    """G3, G5: whatever is refused on the way, what somebody set last comes back; while work is stopped there is none;
    nobody goes for want of work before the grace."""
    pool, calm = Pool(size), 0
    for step in steps:
        if step.size is not None and step.size != pool.size:
            pool.size = size = step.size
            calm = 0
        calm = 0 if step.work else calm + 1
        before = pool.size
        after = pool.decide(step.fails, work=step.work, forbidden="frozen" if step.forbidden else None)
        assert after in (0, size)
        if step.fails:
            assert after == before
        elif step.forbidden:
            assert after == 0
        elif step.work:
            assert after == size
        elif after < before:
            assert calm * 60 >= GRACE


@pytest.mark.parametrize("value", [None, {}, {"desired": 3}, {"size": "x"}, {"size": 3, "left": -1}, {"at": None}])
def test_what_cannot_be_read_was_never_seen(value: dict[str, object] | None) -> None:
    assert from_memory(value) == Held()
