"""Approving what a transcription costs (T2): devices, quotes by what was measured, rules and people."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from podinsight.adapters.database import SqlStore
from podinsight.adapters.database.speech_days import add_speech
from podinsight.domain.episode import Episode
from podinsight.domain.hosts import HostLimits
from podinsight.domain.money import DOLLAR, micros
from podinsight.domain.pool import Rules
from podinsight.domain.prices import CPU, CUDA, LOCAL, Price, PriceBook, Service
from podinsight.domain.quote import FREE_RULE, UNPRICED_RULE, Quote, SpendingRule
from podinsight.domain.quote_lines import Amounts, Item, Line, Range
from podinsight.errors import ConfigError, Permanent
from podinsight.ports import Decoded
from podinsight.services.approve import (
    MEASURED_DAYS,
    Prices,
    approve,
    audio_of,
    device_of_work,
    quote_episodes,
    rule_for,
)
from podinsight.services.gates import utc_day
from tests.support.clock import ManualClock
from tests.support.databases import open_migrated

DAY = 86400.0
HALF = Price(micros("0.5"), "test")
BOOK = PriceBook({CPU: LOCAL, CUDA: HALF})
PRICES = Prices(BOOK, 10.0, SpendingRule(2 * DOLLAR, 3 * DOLLAR))
HERE = "laptop"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> Iterator[SqlStore]:
    opened = open_migrated("sqlite://", clock, HostLimits({}, 10), 30.0)
    yield opened
    opened.close()


def episode(name: str, **values: float) -> Episode:
    made = Episode(name, 1, "f", "show", name, name, name, f"https://h.test/{name}.mp3", "h.test")
    return replace(made, **values)  # type: ignore[arg-type]


def cpu() -> tuple[str, str]:
    return "cpu", "int8"


def cuda() -> tuple[str, str]:
    return "cuda", "float16"


def broken() -> tuple[str, str]:
    raise ConfigError("no CUDA here")


def without_the_extra() -> tuple[str, str]:
    raise Permanent("faster-whisper is not installed")


@pytest.mark.parametrize(
    ("here", "device"), [(cpu, "cpu"), (cuda, "cuda"), (broken, "gpu"), (without_the_extra, "gpu"), (None, "gpu")]
)
def test_without_a_worker_it_is_what_this_machine_would_choose(store: SqlStore, here: object, device: str) -> None:
    assert device_of_work(store.workers, HERE, here, BOOK) == device  # type: ignore[arg-type]


def test_live_workers_say_what_it_is_and_the_dearest_counts(store: SqlStore, clock: ManualClock) -> None:
    store.workers.register("g1", "far", "gpu", 1, 1, "cpu")
    assert device_of_work(store.workers, HERE, cuda, BOOK) == "cpu"
    store.workers.register("g2", "far", "gpu", 2, 1, "cuda")
    assert device_of_work(store.workers, HERE, cpu, BOOK) == "cuda"
    store.workers.mark("g2", "dead")
    assert device_of_work(store.workers, HERE, cuda, BOOK) == "cpu"
    clock.advance(31)
    assert device_of_work(store.workers, HERE, cuda, BOOK) == "cuda", "nobody lives any more"


def test_a_worker_that_has_not_said_is_free_on_this_machine_alone(store: SqlStore) -> None:
    store.workers.register("g1", HERE, "gpu", 1, 1)
    assert device_of_work(store.workers, HERE, cpu, BOOK) == "cpu"
    store.workers.register("g2", "far", "gpu", 1, 1)
    assert device_of_work(store.workers, HERE, cpu, BOOK) == "gpu"


def test_lengths_are_measured_else_declared_else_unknown() -> None:
    found = audio_of([episode("a", audio_seconds=60.0, duration=99.0), episode("b", duration=30.0), episode("c")])
    assert (found.seconds, found.known, found.unknown) == (90.0, 2, 1)


@pytest.mark.parametrize(("device", "measured"), [("cuda", "cuda"), ("gpu", "cuda"), ("cpu", "cpu")])
def test_quotes_go_by_the_last_days_of_this_model_and_device(
    store: SqlStore, clock: ManualClock, device: str, measured: str
) -> None:
    def decode(days_ago: float, model: str, where: str, speed: float) -> None:
        with store.db.write() as conn:
            took = Decoded(36_000.0, 1.0, 36_000.0 / speed, model, where, "int8")
            add_speech(store.db, conn, utc_day(clock.now() - days_ago * DAY), took)

    decode(MEASURED_DAYS, "base", measured, 1.0)
    decode(MEASURED_DAYS - 1, "base", measured, 20.0)
    decode(0, "tiny", measured, 40.0)
    decode(0, "base", "cpu" if measured == "cuda" else "cuda", 2.0)
    episodes = {"base": [episode("a", audio_seconds=400.0)], "tiny": [episode("b", audio_seconds=400.0)], "large": []}
    found = quote_episodes(store, episodes, device, PRICES, clock.now())
    assert found.device_seconds.likely == pytest.approx(400 / 20 + 400 / 40)
    # Each model's share is rounded up to a micro-dollar.
    assert found.usd.likely == pytest.approx(0.0 if device == "cpu" else 30 / 3600 * 0.5, abs=2e-6)
    assert (found.episodes, found.device) == (2, device)


def quoted(store: SqlStore, clock: ManualClock, usd_high: float, device: str = "cuda") -> Quote:
    found = quote_episodes(store, {"base": [episode("a", audio_seconds=3600.0)]}, device, PRICES, clock.now())
    high = Line(Item.GPU, Range(0, 0, 0), "h", Amounts(0, 0, micros(str(usd_high))))
    return replace(found, lines=(high,)) if device != "cpu" else found


def test_rules_look_at_what_they_approved_today(store: SqlStore, clock: ManualClock) -> None:
    asked = quoted(store, clock, 1.6)
    rule = rule_for(store, asked, PRICES, clock.now())
    assert rule == PRICES.rule.name
    assert approve(store, asked, rule, "ada", "", PRICES) == rule
    assert rule_for(store, asked, PRICES, clock.now()) == ""
    assert approve(store, asked, rule, "ada", "", PRICES) == "", "another command was quicker"
    assert approve(store, asked, "", "ada", "", PRICES) == "ada"
    clock.advance(DAY)
    assert rule_for(store, asked, PRICES, clock.now()) == rule
    assert rule_for(store, quoted(store, clock, 2.1), PRICES, clock.now()) == ""


def test_what_costs_nothing_needs_nobody(store: SqlStore, clock: ManualClock) -> None:
    none = Prices(BOOK, 10.0, SpendingRule(0, 0))
    asked = quoted(store, clock, 0.0, "cpu")
    assert rule_for(store, asked, none, clock.now()) == FREE_RULE
    assert approve(store, asked, FREE_RULE, "ada", "", none) == FREE_RULE
    assert rule_for(store, quoted(store, clock, 0.0), none, clock.now()) == "", "a GPU that is quoted at nothing"
    unpriced = PriceBook({CPU: LOCAL, CUDA: Price(0, "settings")})
    free = quote_episodes(store, {"base": [episode("a")]}, "cuda", replace(none, book=unpriced), clock.now())
    rule = rule_for(store, free, none, clock.now())
    assert rule == UNPRICED_RULE, "FREE_RULE is for a CPU alone"
    assert approve(store, free, rule, "ada", "", none) == rule


def test_a_cpu_with_a_price_is_approved_like_any_other_device(store: SqlStore, clock: ManualClock) -> None:
    """G2: what costs something asks, whatever it is."""
    paid = replace(PRICES, book=PriceBook({CPU: Price(micros("3.6"), "settings"), CUDA: HALF}))
    asked = quote_episodes(store, {"base": [episode("a", audio_seconds=3600.0)]}, CPU, paid, clock.now())
    assert asked.cost.likely == micros("0.36"), "six minutes at a tenth of a cent a second"
    assert rule_for(store, asked, replace(paid, rule=SpendingRule(0, 0)), clock.now()) == ""
    store.workers.register("g1", "far", "gpu", 1, 1, CPU)
    store.workers.register("g2", "far", "gpu", 2, 1, CUDA)
    assert device_of_work(store.workers, HERE, cpu, paid.book) == CPU, "it is the dearer one here"
    assert device_of_work(store.workers, HERE, cpu, BOOK) == CUDA


def test_what_nobody_has_named_is_quoted_at_the_dearest_gpu(store: SqlStore, clock: ManualClock) -> None:
    """G5: unknown is never free, not even where the settings call their own GPU free."""
    book = PriceBook({CPU: LOCAL, CUDA: Price(0, "settings"), "g5.xlarge": Price(micros("1.006"), "list")})
    asked = quote_episodes(
        store, {"base": [episode("a", audio_seconds=36_000.0)]}, "gpu", replace(PRICES, book=book), clock.now()
    )
    assert (asked.price.micros, asked.price.estimated) == (micros("1.006"), True)
    assert asked.cost.likely == micros("1.006")


def test_a_fleet_that_scales_is_quoted_with_its_starts_and_its_waiting(store: SqlStore, clock: ManualClock) -> None:
    """G4: once, whatever number of models; a rule approves the sum (T2), and what is free stays so."""
    scales = replace(PRICES, fleet=Rules(3, drain=1800.0, grace=30.0, settle=60.0, start=15.0, sweep=60.0))
    of_both = {"base": [episode("a", audio_seconds=18_000.0)], "tiny": [episode("b", audio_seconds=18_000.0)]}
    fixed, asked = (quote_episodes(store, of_both, CUDA, each, clock.now()) for each in (PRICES, scales))
    (idle,) = (each for each in asked.lines if each.item is Item.IDLE)
    assert (asked.crew.workers, fixed.crew.workers) == (2, 1), "an hour of work, half an hour to drain it"
    assert idle.quantity.likely == pytest.approx(2 * (15 + 30) / 3600)
    assert asked.cost_of_work == fixed.cost
    assert asked.cost.high == fixed.cost.high + idle.cost.high
    assert asked.lasts.likely == pytest.approx(fixed.lasts.likely / 2 + 15)
    assert asked.downloads == 2
    tight = replace(scales, rule=SpendingRule(fixed.cost.high, fixed.cost.high))
    assert rule_for(store, fixed, tight, clock.now()) == tight.rule.name
    assert rule_for(store, asked, tight, clock.now()) == ""
    free = quote_episodes(store, of_both, CPU, scales, clock.now())
    assert (free.cost, rule_for(store, free, tight, clock.now())) == (Amounts(), FREE_RULE)
    nothing = quote_episodes(store, {"base": []}, CUDA, scales, clock.now())
    assert (nothing.cost, nothing.lasts, nothing.downloads) == (Amounts(), Range(0, 0, 0), 0)


def test_downloading_is_quoted_until_it_is_done(store: SqlStore, clock: ManualClock) -> None:
    """G4: by item; what is there already is neither downloaded nor stored anew."""
    services = {Service.NAT: Price(micros("0.045"), "list"), Service.STORAGE: Price(micros("0.023"), "list")}
    prices = replace(PRICES, book=replace(BOOK, services=services))
    coming = episode("a", duration=3600.0, length=2_000_000_000)
    undeclared = episode("b", duration=3600.0)
    there = replace(episode("c", audio_seconds=3600.0, length=2_000_000_000), audio_key="raw/c.mp3")

    def line(item: Item, *episodes: Episode) -> Amounts:
        asked = quote_episodes(store, {"base": list(episodes)}, CPU, prices, clock.now())
        (found,) = (each.cost for each in asked.lines if each.item is item)
        return found

    assert line(Item.NAT, coming, there) == Amounts(90_000, 90_000, 90_000)
    assert line(Item.STORAGE, coming, there) == Amounts(46_000, 46_000, 46_000)
    assert line(Item.NAT, there) == Amounts()
    assert line(Item.NAT, undeclared) == Amounts(1296, 2592, 5184), "57.6 MB, half of it, twice as much"
