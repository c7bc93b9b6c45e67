"""Ceilings: what fits, in which order they are asked, and that alert levels never bind (G2, G3)."""

from hypothesis import given
from hypothesis import strategies as st

from podinsight.domain.budget import (
    BURNS,
    PROJECT_KEY,
    Budget,
    Level,
    Limits,
    Scope,
    accounts,
    asked_by,
    is_of,
    refusal,
)
from podinsight.domain.money import micros

DAY = "2026-11-22"
AMOUNTS = st.integers(0, 100)
BUDGETS = st.lists(
    st.builds(Budget, st.sampled_from(Scope), st.just("k"), AMOUNTS, AMOUNTS, st.none() | AMOUNTS),
    unique_by=lambda each: each.scope,
)


def test_the_levels_of_the_requirement() -> None:
    """G3: stop levels are $3 an item, $40 of GPU a day and $100 a month; the others only tell."""
    ceilings = Limits().ceilings()
    assert ceilings == {
        Scope.ITEM: micros(3),
        Scope.RUN: None,
        Scope.DAY: None,
        Scope.GPU_DAY: micros(40),
        Scope.MONTH: micros(100),
        Scope.PROJECT: None,
    }
    alerts = {scope: Limits().level(scope).alerts for scope in Scope}
    assert alerts[Scope.ITEM] == (micros("2.50"),)
    assert alerts[Scope.DAY] == (micros(5), micros(15))
    assert (alerts[Scope.MONTH], alerts[Scope.PROJECT]) == ((micros(50),), (micros(40),))


def test_alert_levels_tell_and_never_bind() -> None:
    day = Limits().day
    assert [day.reached(micros(spent)) for spent in ("4.99", "5", "15")] == [(), (micros(5),), (micros(5), micros(15))]
    assert Level((9, 1)).reached(9) == (1, 9)
    spent = Budget(Scope.DAY, DAY, spent=micros(1000))
    assert refusal([spent], micros(1000), Limits().ceilings(), micros(1000)) is None


def test_a_cost_counts_where_it_belongs() -> None:
    assert accounts(DAY) == ((Scope.DAY, DAY), (Scope.MONTH, "2026-11"), (Scope.PROJECT, PROJECT_KEY))
    assert accounts(DAY, episode_id="e", run_id="r", gpu=True) == (
        (Scope.ITEM, "e"),
        (Scope.RUN, "r"),
        (Scope.DAY, DAY),
        (Scope.GPU_DAY, DAY),
        (Scope.MONTH, "2026-11"),
        (Scope.PROJECT, PROJECT_KEY),
    )


def test_a_refusal_says_what_it_was_about() -> None:
    budgets = [Budget(Scope.MONTH, "2026-11", 0, 99), Budget(Scope.GPU_DAY, DAY, micros("0.5"), micros("39.2"))]
    found = refusal(budgets, micros("0.31"), {Scope.GPU_DAY: micros(40), Scope.MONTH: 0}, 10_000)
    assert found is not None
    assert str(found) == (
        "$0.31 do not fit under the $40.00 of GPU work on 2026-11-22: $39.20 spent, $0.50 reserved, $0.01 burning; "
        "$0.31 is what one lease reserves (stop_gpu_day_usd)"
    )
    assert asked_by(str(found)) == micros("0.31")
    item = refusal([Budget(Scope.ITEM, "e")], 5, {Scope.ITEM: 4}, 10_000)
    assert str(item) == (
        "$0.000005 do not fit under the $0.000004 of episode e: $0.00 spent, $0.00 reserved; "
        "$0.000005 is what one lease reserves"
    )


@given(BUDGETS, AMOUNTS, st.dictionaries(st.sampled_from(Scope), st.none() | AMOUNTS), AMOUNTS)
def test_what_is_let_in_fits_and_what_is_refused_does_not(
    budgets: list[Budget], asked: int, ceilings: dict[Scope, int | None], burn: int
) -> None:
    """G2: under every ceiling, the settings' and the budget's own; the refusal is the first in the order of scopes."""
    over = []
    for scope in Scope:
        for budget in (each for each in budgets if each.scope is scope):
            after = budget.spent + budget.reserved + asked + (burn if scope in BURNS else 0)
            if any(each is not None and after > each for each in (budget.ceiling, ceilings.get(scope))):
                over.append(scope)
    found = refusal(budgets, asked, ceilings, burn)
    assert (found.scope if found else None) == (over[0] if over else None)


@given(st.sampled_from(Scope), st.integers(0, 10**13))
def test_what_a_refusal_says_can_be_read(scope: Scope, asked: int) -> None:
    """By who has nothing but the reason of a row."""
    found = refusal([Budget(scope, "r1", spent=7)], asked, {scope: 6}, 0)
    said = f"budget: {found}"
    assert asked_by(said) == asked
    assert is_of(said, Scope.RUN, "r1") is (scope is Scope.RUN)
    assert is_of(said, Scope.RUN) is (scope is Scope.RUN)
    assert not is_of(said, Scope.RUN, "r")
    assert asked_by("another chunk failed: odd") == 0
