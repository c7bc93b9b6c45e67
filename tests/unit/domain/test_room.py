"""Whether a quote fits into what the stop levels have left (G3, G4)."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from podinsight.domain.budget import Budget, Scope
from podinsight.domain.crew import Crew
from podinsight.domain.money import micros
from podinsight.domain.prices import Price
from podinsight.domain.quote import Quote
from podinsight.domain.quote_lines import Amounts, Item, Line, Range
from podinsight.domain.room import shortfalls

DAY = "2026-11-22"
BUDGETS = [
    Budget(Scope.DAY, DAY),
    Budget(Scope.GPU_DAY, DAY, reserved=micros("0.02"), spent=micros("0.03")),
    Budget(Scope.MONTH, "2026-11", spent=micros(2)),
    Budget(Scope.PROJECT, "all"),
]


def asked(gpu: str, cpu: str = "0", seconds: float = 60.0, workers: int = 1, idle: str = "0") -> Quote:
    def line(item: Item, likely: str) -> Line:
        return Line(item, Range(1, 1, 1), "h", Amounts(0, micros(likely), micros(100)))

    lines = (line(Item.CPU, cpu), line(Item.GPU, gpu), line(Item.IDLE, idle))
    lasts = Range(0, seconds, seconds)
    return Quote(1, 0, Range(1, 1, 1), lasts, lines, "cuda", Price(1, "list"), "", Crew(workers))


def said(quote: Quote, ceilings: Mapping[Scope, int]) -> list[str]:
    return [str(each) for each in shortfalls(quote, BUDGETS, {**ceilings})]


def test_what_is_spent_and_reserved_is_not_left() -> None:
    level = {Scope.GPU_DAY: micros("0.10")}
    assert said(asked("0.05"), level) == []
    (short,) = shortfalls(asked("0.050001"), BUDGETS, level)
    assert str(short) == (
        "$0.10 of GPU work on 2026-11-22 leaves $0.05: it would be frozen before it is done (stop_gpu_day_usd)"
    )
    assert (short.left, short.likely, short.setting) == (50_000, 50_001, "stop_gpu_day_usd")


def test_the_last_lease_of_every_worker_must_fit_too() -> None:
    """G2, G4: a claim finds its whole reservation free, or work freezes, however little the lease costs in the end."""
    level = {Scope.GPU_DAY: micros("0.10")}
    dear = replace(asked("0.03", workers=2), price=Price(micros("0.36"), "list"))  # 100 micro-dollars a second
    assert shortfalls(dear, BUDGETS, level, 100.0) == ()
    (short,) = shortfalls(dear, BUDGETS, level, 100.01)
    assert str(short) == (
        "$0.10 of GPU work on 2026-11-22 leaves $0.05: with $0.020002 kept free for the last leases it would be "
        "frozen before it is done (stop_gpu_day_usd)"
    )
    assert (short.likely, short.beside) == (30_000, 20_002)
    nothing = replace(dear, lines=asked("0", cpu="0.03").lines)
    assert shortfalls(nothing, BUDGETS, level, 1000.0) == (), "what no device hears needs no lease of one"


def test_gpu_work_is_the_device_alone_and_the_rest_is_all() -> None:
    levels = {Scope.DAY: micros("0.2"), Scope.GPU_DAY: micros("0.2"), Scope.PROJECT: micros("0.25")}
    assert [each[:14] for each in said(asked("0.1", "0.11"), levels)] == ["$0.20 of the d"]
    assert len(said(asked("0.1", "0.16"), levels)) == 2
    idle = said(asked("0.1", idle="0.06"), {Scope.GPU_DAY: micros("0.2")})
    assert [each[:14] for each in idle] == ["$0.20 of GPU w"], "a device is one without work, too"


def test_a_month_that_is_used_up_leaves_nothing() -> None:
    (line,) = said(asked("0.01"), {Scope.MONTH: micros(1)})
    assert line == "$1.00 of the month 2026-11 leaves $0.00: it would be halted before it is done (stop_month_usd)"


def test_a_free_device_is_under_every_level() -> None:
    assert said(asked("0"), dict.fromkeys(Scope, 0)) == []


@pytest.mark.parametrize(("workers", "short"), [(1, 0), (3, 1)])
def test_of_work_of_many_days_a_days_share_counts_for_the_day(workers: int, short: int) -> None:
    """Three days of one worker at a dollar a day; three workers spend all of it on one."""
    long = asked("3", seconds=3 * 86_400.0, workers=workers)
    assert len(said(long, {Scope.DAY: micros("1.50")})) == short
    assert len(said(long, {Scope.PROJECT: micros("1.50")})) == 1
