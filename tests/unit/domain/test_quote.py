"""Quotes: what a transcription will take and cost, before anything is spent (T2, G4)."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podinsight.domain.crew import Crew
from podinsight.domain.money import DOLLAR, micros
from podinsight.domain.prices import Price
from podinsight.domain.quote import (
    ENOUGH_SECONDS,
    FREE_RULE,
    MEAN_SECONDS,
    REPEATED,
    Approval,
    Audio,
    Pace,
    Quote,
    Range,
    Speed,
    SpendingRule,
    quote,
    total,
)
from podinsight.domain.quote_lines import Amounts, Item, Line

HOUR = 3600.0
PRICE = Price(micros("0.5"), "test")
FREE = Price(0, "local")


def day(name: str, hours: float, speed: float) -> Speed:
    """`hours` of audio decoded at `speed` × real time."""
    return Speed(name, "base", "cuda", "float16", hours * HOUR, hours * HOUR / speed, hours * HOUR / speed, 9)


def asked(audio: Audio, *speeds: Speed, device: str = "cuda", price: Price = PRICE) -> Quote:
    return quote(audio, "base", device, speeds, price, 12.0)


def test_without_a_measurement_the_settings_speed_is_assumed_with_a_wide_range() -> None:
    found = asked(Audio(12 * HOUR, 10))
    assert found.audio_seconds == Range(12 * HOUR, 12 * HOUR, 12 * HOUR)
    assert found.device_seconds.low == pytest.approx(HOUR / 3)
    assert found.device_seconds.likely == pytest.approx(HOUR)
    assert found.device_seconds.high == pytest.approx(3 * HOUR * REPEATED)
    assert found.cost == Amounts(166_667, 500_000, 1_725_000)
    assert found.usd.likely == pytest.approx(0.5)
    assert (found.episodes, found.unknown, found.price) == (10, 0, PRICE)
    assert "assumed" in found.basis


def test_measured_days_say_how_fast_it_is_and_how_far_it_varies() -> None:
    found = asked(Audio(30 * HOUR, 10), day("2026-11-20", 2, 10), day("2026-11-21", 2, 30))
    assert found.device_seconds.likely == pytest.approx(2 * HOUR), "15 ×: four hours of audio took 16 minutes"
    assert found.device_seconds.low == pytest.approx(HOUR)
    assert found.device_seconds.high == pytest.approx(3 * HOUR * REPEATED)
    assert "15 × real time, measured over 4.00 h of audio since 2026-11-20" in found.basis


def test_one_steady_speed_still_leaves_a_range() -> None:
    found = asked(Audio(10 * HOUR, 1), day("2026-11-20", 1, 10), day("2026-11-21", 1, 10))
    assert found.device_seconds.low == pytest.approx(HOUR / 1.25)
    assert found.device_seconds.high == pytest.approx(HOUR * 1.25 * REPEATED)


def test_a_minute_of_audio_is_little_to_go_by() -> None:
    found = asked(Audio(10 * HOUR, 1), day("2026-11-20", 1 / 60, 10))
    assert found.device_seconds.likely == pytest.approx(HOUR)
    assert found.device_seconds.low == pytest.approx(HOUR / 2)
    assert found.device_seconds.high == pytest.approx(2 * HOUR * REPEATED)


def test_the_last_audio_says_more_than_the_days_do_if_there_is_enough_of_it() -> None:
    """G4: machines drift; the range of the days stays."""
    days = [day("2026-11-20", 2, 10), day("2026-11-21", 2, 30)]
    enough, little = (
        quote(Audio(30 * HOUR, 10), "base", "cuda", days, PRICE, 12.0, Pace(seconds, seconds / 20))
        for seconds in (ENOUGH_SECONDS, ENOUGH_SECONDS - 1)
    )
    assert enough.device_seconds.likely == pytest.approx(1.5 * HOUR)
    assert enough.device_seconds.low == pytest.approx(HOUR)
    assert enough.device_seconds.high == pytest.approx(3 * HOUR * REPEATED)
    assert "20 × real time, measured over 0.17 h of audio lately" in enough.basis
    assert little == asked(Audio(30 * HOUR, 10), *days)


def test_a_day_with_a_minute_of_audio_does_not_widen_the_range() -> None:
    alone = asked(Audio(10 * HOUR, 1), day("2026-11-20", 100, 10))
    beside = asked(Audio(10 * HOUR, 1), day("2026-11-20", 100, 10), day("2026-11-21", 1 / 60, 0.5))
    assert beside.device_seconds.high == pytest.approx(alone.device_seconds.high, rel=0.01)


@pytest.mark.parametrize(
    "empty",
    [
        replace(day("d", 1, 1), audio_seconds=0.0),
        replace(day("d", 1, 1), device_seconds=0, wall_seconds=0),
    ],
)
def test_a_day_that_says_no_speed_counts_as_none(empty: Speed) -> None:
    assert asked(Audio(HOUR, 1), empty) == asked(Audio(HOUR, 1))


def test_unknown_lengths_are_the_mean_and_widen_the_range() -> None:
    assert Audio(2 * HOUR, 4, 2).estimate() == Range(2 * HOUR + HOUR / 3, 3 * HOUR, 5 * HOUR)
    assert Audio(0.0, 0, 2).estimate().likely == 2 * MEAN_SECONDS, "nothing is known of any"
    found = asked(Audio(2 * HOUR, 4, 2))
    assert (found.episodes, found.unknown) == (6, 2)
    known = asked(Audio(3 * HOUR, 6))
    assert found.usd.likely == pytest.approx(known.usd.likely)
    assert found.usd.low < known.usd.low < known.usd.high < found.usd.high


def test_a_lease_is_paid_for_its_wall_time() -> None:
    """G4: cutting, loading and writing take their share, and a device that waits is paid for."""
    slow = replace(day("2026-11-20", 1, 20), wall_seconds=HOUR / 10)
    assert asked(Audio(10 * HOUR, 1), slow) == asked(Audio(10 * HOUR, 1), day("2026-11-20", 1, 10))


def test_a_device_without_a_price_costs_nothing() -> None:
    found = asked(Audio(HOUR, 1), device="cpu", price=FREE)
    assert (found.usd, found.cost, found.price, found.free) == (Range(0, 0, 0), Amounts(), FREE, True)
    assert found.device_seconds.likely > 0


def test_a_cpu_with_a_price_costs_it() -> None:
    found = asked(Audio(12 * HOUR, 1), device="cpu")
    assert (found.cost.likely, found.free) == (500_000, False)


def test_the_buffers_are_lines_of_their_own() -> None:
    """G4: 10 % for Spot interruptions and 5 % for retries, of the high figure; nobody counts on them."""
    found = {line.item: line.cost for line in asked(Audio(12 * HOUR, 10)).lines}
    assert found == {
        Item.GPU: Amounts(166_667, 500_000, 1_500_000),
        Item.SPOT: Amounts(0, 0, 150_000),
        Item.RETRIES: Amounts(0, 0, 75_000),
    }


def test_more_workers_are_done_sooner_for_the_same_money() -> None:
    found = asked(Audio(12 * HOUR, 10))
    assert found.lasts == found.device_seconds
    four = replace(found, crew=Crew(4))
    assert four.lasts.likely == pytest.approx(HOUR / 4)
    assert four.cost == found.cost


@pytest.mark.parametrize(("price", "speed"), [(-1, 12.0), (500_000, 0.0)])
def test_prices_and_speeds_that_make_no_sense(price: int, speed: float) -> None:
    with pytest.raises(ValueError, match="nothing can be quoted"):
        quote(Audio(HOUR, 1), "base", "cuda", [], Price(price, "test"), speed)


def test_a_total_adds_up_and_nothing_is_a_quote_of_nothing_at_the_same_price() -> None:
    one, two = asked(Audio(HOUR, 1)), asked(Audio(2 * HOUR, 3, 1), day("2026-11-20", 1, 10))
    both = total([one, two], "cuda", PRICE)
    assert (both.episodes, both.unknown) == (5, 1)
    assert both.cost == one.cost + two.cost
    assert [line.item for line in both.lines] == [Item.GPU, Item.SPOT, Item.RETRIES]
    assert [line.quantity.high for line in both.lines[1:]] == [10, 5], "percent do not add up"
    assert one.basis in both.basis
    assert two.basis in both.basis
    nothing = total([], "cuda", PRICE)
    assert (nothing.episodes, nothing.usd, nothing.price) == (0, Range(0, 0, 0), PRICE)
    service = Line(Item.NAT, Range(1, 1, 1), "GB", Amounts(1, 2, 3))
    assert total([one], "cuda", PRICE, [service]).cost == one.cost + service.cost
    assert (nothing.lasts, replace(nothing, crew=Crew(2, Range(1, 1, 1))).lasts) == (Range(0, 0, 0), Range(0, 0, 0))


def test_idle_time_is_approved_with_the_rest_and_is_no_cost_of_the_work() -> None:
    """T2: the whole sum is approved; G4: under `--max-usd` count the units of a command alone."""
    one = asked(Audio(HOUR, 1))
    idle = Line(Item.IDLE, Range(0, 1, 2), "h", Amounts(0, 500_000, 1_000_000), PRICE)
    found = total([one], "cuda", PRICE, [idle])
    assert (found.cost, found.cost_of_work) == (one.cost + idle.cost, one.cost)
    assert [line.item for line in found.lines][:2] == [Item.GPU, Item.IDLE]
    rule = SpendingRule(one.cost.high, one.cost.high)
    assert (rule.covers(one), rule.covers(found)) == (True, False)


@given(
    seconds=st.floats(1, 1e7),
    known=st.integers(1, 1000),
    unknown=st.integers(0, 1000),
    days=st.lists(st.tuples(st.floats(0.001, 1000), st.floats(0.1, 500)), max_size=7),
)
def test_low_is_never_above_likely_nor_likely_above_high(
    seconds: float, known: int, unknown: int, days: list[tuple[float, float]]
) -> None:
    found = asked(Audio(seconds, known, unknown), *(day(f"2026-11-{n:02}", *each) for n, each in enumerate(days, 1)))
    for figure in (found.audio_seconds, found.device_seconds, found.usd):
        for less, more in itertools.pairwise((figure.low, figure.likely, figure.high)):
            assert 0 <= less <= more * (1 + 1e-9)


@pytest.mark.parametrize(
    ("per_run", "per_day", "high", "covered"),
    [(1, 2, 1.0, True), (1, 2, 1.000001, False), (3, 2, 2.5, False), (0, 0, 0.0, False), (0, 5, 0.01, False)],
)
def test_a_standing_rule_goes_by_the_high_figure(per_run: int, per_day: int, high: float, covered: bool) -> None:
    high_alone = Line(Item.GPU, Range(0, 0, 0), "h", Amounts(0, 0, micros(str(high))))
    found = replace(asked(Audio(HOUR, 1)), lines=(high_alone,))
    assert SpendingRule(per_run * DOLLAR, per_day * DOLLAR).covers(found) is covered


def test_rows_keep_the_rule_or_else_the_person() -> None:
    found = asked(Audio(HOUR, 1))
    assert Approval("ada", "", "", found).stamp == "ada"
    assert Approval("ada", FREE_RULE, "", found).stamp == FREE_RULE
    assert SpendingRule(micros("1.5"), micros(20)).name == "rule: up to $1.50 a command and $20.00 a day"
