"""What decoding took by day, who approved that it is paid for, and what a worker decodes on (T2, T9)."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from podinsight.adapters.database import SqlStore
from podinsight.adapters.database.speech_days import add_speech
from podinsight.domain.metrics import Metric
from podinsight.domain.money import DOLLAR, micros
from podinsight.domain.prices import Price
from podinsight.domain.quote import FREE_RULE, Approval, Audio, Pace, Quote, Speed, quote
from podinsight.domain.quote_lines import Amounts, Item, Line
from podinsight.ports import Bearer, Decoded
from tests.conftest import STALE_SECONDS
from tests.support.clock import ManualClock
from tests.support.rows import LEASE_SECONDS, Rows
from tests.support.spending import entry

DAY, NEXT_DAY = "2026-11-22", "2026-11-23"
NOON = 1_795_348_800.0  # 2026-11-22 12:00 UTC
TOOK = Decoded(360.0, 13.0, 12.0, "base", "cuda", "float16")
RULE = "rule: up to $2 a command and $5 a day"


@pytest.fixture
def clock() -> ManualClock:
    clock = ManualClock()
    clock.advance(NOON - clock.now())
    return clock


def decode(store: SqlStore, took: Decoded, day: str = DAY) -> None:
    with store.db.write() as conn:
        add_speech(store.db, conn, day, took)


def asked(high: float) -> Quote:
    cost = Amounts(*(micros(str(each)) for each in (high / 4, high / 2, high)))
    found = quote(Audio(3600.0, 3), "base", "cuda", [], Price(500_000, "test"), 12.0)
    return replace(found, lines=(Line(Item.GPU, found.device_seconds, "h", cost),))


def by_rule(high: float) -> Approval:
    return Approval("ada", RULE, "", asked(high))


def test_chunks_add_up_by_day_model_and_device(store: SqlStore) -> None:
    decode(store, TOOK)
    decode(store, replace(TOOK, audio_seconds=40.0, wall_seconds=2.5, device_seconds=2.0))
    decode(store, replace(TOOK, compute_type="int8_float16"))
    decode(store, replace(TOOK, device="cpu"))
    decode(store, replace(TOOK, model="tiny.en"))
    decode(store, TOOK, NEXT_DAY)
    assert store.speech.speeds(DAY, "base", "cuda") == [
        Speed(DAY, "base", "cuda", "float16", 400.0, 15.5, 14.0, 2),
        Speed(DAY, "base", "cuda", "int8_float16", 360.0, 13.0, 12.0, 1),
        Speed(NEXT_DAY, "base", "cuda", "float16", 360.0, 13.0, 12.0, 1),
    ]
    assert [each.day for each in store.speech.speeds(NEXT_DAY, "base", "cuda")] == [NEXT_DAY]
    assert store.speech.speeds(DAY, "large-v3", "cuda") == []


def commit(rows: Rows, took: Decoded) -> None:
    """One chunk of an episode of its own."""
    (episode_id,) = rows.transcribes(1, feed=f"f{rows.clock.now()}")
    rows.clock.advance(60.0)
    lease = rows.claim(episode_id, "transcribe", "g1")
    rows.work.commit_chunk(lease, "part-0", took, LEASE_SECONDS)


def test_how_fast_it_went_lately_is_of_the_last_audio_alone(rows: Rows) -> None:
    """G4: of one model and device, the newest first, no older than asked for."""
    begun = rows.clock.now()
    assert rows.store.speech.lately(0.0, "base", "cuda", 600.0) == Pace()
    for took in (
        TOOK,
        replace(TOOK, wall_seconds=20.0),
        replace(TOOK, wall_seconds=30.0),
        replace(TOOK, wall_seconds=1.0, device="cpu"),
        replace(TOOK, wall_seconds=1.0, model="tiny.en"),
        Decoded(360.0, 0.1, 0.0, "publisher", "none", "none"),
    ):
        commit(rows, took)
    lately = rows.store.speech.lately
    assert lately(0.0, "base", "cuda", 300.0) == Pace(360.0, 30.0)
    assert lately(0.0, "base", "cuda", 600.0) == Pace(720.0, 50.0)
    assert lately(0.0, "base", "cuda", 10_000.0) == Pace(1080.0, 63.0)
    assert lately(begun + 60.0, "base", "cuda", 10_000.0) == Pace(720.0, 50.0)
    assert lately(0.0, "base", "cpu", 10_000.0) == Pace(360.0, 1.0)


def test_approvals_are_listed_the_newest_first(store: SqlStore, clock: ManualClock) -> None:
    """T2: who, by which rule, why and how much."""
    assert store.speech.approvals(5) == []
    store.speech.approve(by_rule(1.0))
    clock.advance(60)
    store.speech.approve(Approval("grace", "", "the first thousand", asked(40.0)))
    last, first = store.speech.approvals(5)
    assert (last.at, last.by, last.rule, last.why) == (clock.now(), "grace", "", "the first thousand")
    assert (last.episodes, last.audio_seconds) == (3, 3600.0)
    assert last.cost == Amounts(10 * DOLLAR, 20 * DOLLAR, 40 * DOLLAR)
    assert (first.by, first.rule, first.at) == ("ada", RULE, clock.now() - 60)
    assert store.speech.approvals(1) == [last]


def test_what_no_device_has_heard_is_no_decoding(store: SqlStore) -> None:
    decode(store, Decoded(360.0, 0.1, 0.0, "publisher", "none", "none"))
    assert store.speech.speeds(DAY, "publisher", "none") == []
    assert store.metrics.read(DAY) == []


def test_chunks_of_many_at_once_all_count(store: SqlStore, another: Callable[[], SqlStore]) -> None:
    stores = [another() for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(decode, stores[number % 4], TOOK) for number in range(40)]:
            done.result()
    (found,) = store.speech.speeds(DAY, "base", "cuda")
    assert (found.chunks, found.audio_seconds) == (40, 14_400.0)


def test_the_cost_of_a_day_is_what_its_gpu_work_has_cost(store: SqlStore) -> None:
    """T9: GPUCostToday, as the ledger has it."""
    decode(store, replace(TOOK, device_seconds=1800.0))
    decode(store, replace(TOOK, device="cpu", compute_type="int8", audio_seconds=3240.0, device_seconds=324.0))
    for token, spent in (("t1", entry(200_000)), ("t2", entry(63_000)), ("t3", entry(5_000_000, "fetch", "cpu", ""))):
        store.purse.charge(token, Bearer(DAY, "e1"), [spent])
    assert store.metrics.read(DAY) == [
        Metric("AudioHours", 0.9, "h", {"model": "base", "device": "cpu"}),
        Metric("DecodingSpeed", 10.0, "x", {"model": "base", "device": "cpu"}),
        Metric("AudioHours", 0.1, "h", {"model": "base", "device": "cuda"}),
        Metric("DecodingSpeed", 0.2, "x", {"model": "base", "device": "cuda"}),
        Metric("AudioHours", 1.0, "h"),
        Metric("GPUCostToday", 0.263, "USD"),
    ]
    assert store.metrics.read(NEXT_DAY) == []


def test_idle_machines_cost_too_and_decoding_may_cost_nothing(store: SqlStore) -> None:
    decode(store, replace(TOOK, device="cpu"), NEXT_DAY)
    store.purse.charge("idle:g1", Bearer(DAY), [entry(40_000, "idle", "idle", "cuda")])
    assert store.metrics.read(DAY) == [Metric("GPUCostToday", 0.04, "USD")]
    assert store.metrics.read(NEXT_DAY)[-1] == Metric("GPUCostToday", 0.0, "USD")


def test_approvals_add_up_by_utc_day(store: SqlStore, clock: ManualClock) -> None:
    assert store.speech.approved(DAY) == 0
    assert store.speech.approve(Approval("ada", "", "the first\0 thousand", asked(3.0)))
    assert store.speech.approve(by_rule(1.0), most_today=5 * DOLLAR)
    assert store.speech.approve(Approval("ada", FREE_RULE, "", asked(0.0)))
    assert [store.speech.approved(DAY, who) for who in (None, True, False)] == [4 * DOLLAR, DOLLAR, 3 * DOLLAR]
    clock.advance(12 * 3600)
    assert store.speech.approved(NEXT_DAY) == 0
    store.speech.approve(by_rule(2.0))
    assert (store.speech.approved(DAY), store.speech.approved(NEXT_DAY)) == (4 * DOLLAR, 2 * DOLLAR)


def test_rules_never_approve_more_than_the_days_limit(store: SqlStore, clock: ManualClock) -> None:
    store.speech.approve(Approval("ada", "", "", asked(100.0)))  # what people approve is none of the rule's
    assert store.speech.approve(by_rule(2.0), most_today=5 * DOLLAR)
    assert store.speech.approve(by_rule(2.0), most_today=5 * DOLLAR)
    assert not store.speech.approve(by_rule(1.5), most_today=5 * DOLLAR)
    assert store.speech.approved(DAY, by_rule=True) == 4 * DOLLAR
    assert store.speech.approve(by_rule(1.0), most_today=5 * DOLLAR)
    clock.advance(12 * 3600)
    assert store.speech.approve(by_rule(1.5), most_today=5 * DOLLAR)


def test_a_days_limit_holds_to_the_micro_dollar(store: SqlStore) -> None:
    """T2, G2: whole micro-dollars. As floats 0.1 + 0.2 is more than 0.3, and a millionth is lost beside millions."""
    limit = micros("0.3")
    assert store.speech.approve(by_rule(0.1), most_today=limit)
    assert not store.speech.approve(by_rule(0.200001), most_today=limit)
    assert store.speech.approve(by_rule(0.2), most_today=limit)
    assert store.speech.approved(DAY, by_rule=True) == limit
    for high in (900_000_000.0, 900_000_000.0, 900_000_000.0, 0.000001):
        store.speech.approve(Approval("ada", "", "", asked(high)))
    total = store.speech.approved(DAY)
    assert (total, type(total)) == (2_700_000_000 * DOLLAR + limit + 1, int)
    assert store.speech.approvals(1)[0].cost == Amounts(1, 1, 1)


def test_rules_of_many_at_once_never_go_beyond_the_limit_together(
    store: SqlStore, another: Callable[[], SqlStore]
) -> None:
    stores = [another() for _ in range(4)]
    with ThreadPoolExecutor(8) as threads:
        said = list(threads.map(lambda n: stores[n % 4].speech.approve(by_rule(1.0), most_today=5 * DOLLAR), range(16)))
    assert sum(said) == 5
    assert store.speech.approved(DAY) == 5 * DOLLAR


def test_models_of_what_is_asked_for(rows: Rows) -> None:
    one, two, three = rows.episodes(3)
    rows.work.enqueue_transcribe([one], 5, {"model": "base"})
    rows.work.enqueue_fetch([two], 5, {"model": "large-v3"})
    rows.work.enqueue_fetch([three], 5, None)
    assert rows.store.speech.models([one, two, three, "no such episode"]) == {one: "base", two: "large-v3"}
    assert rows.store.speech.models([]) == {}


def test_a_chunk_that_is_committed_counts_once(rows: Rows) -> None:
    (episode_id,) = rows.transcribes(1)
    rows.transcribe(episode_id)
    days = [metric for metric in rows.store.metrics.read(DAY) if metric.name == "AudioHours" and metric.dimensions]
    assert [round(each.value * 3600) for each in days] == [60]


def test_live_workers_say_what_they_decode_on(store: SqlStore, clock: ManualClock) -> None:
    store.workers.register("g1", "here", "gpu", 1, 1, device="cuda")
    store.workers.register("g2", "here", "gpu", 2, 1)
    store.workers.register("f1", "here", "fetch", 3, 4)
    assert [(each.id, each.device) for each in store.workers.live("gpu")] == [("g1", "cuda"), ("g2", "")]
    store.workers.register("g2", "here", "gpu", 2, 1, device="cpu")
    assert [each.device for each in store.workers.live("gpu")] == ["cuda", "cpu"]
    assert [(each.id, each.device) for each in store.workers.list()] == [("f1", ""), ("g1", "cuda"), ("g2", "cpu")]
    store.workers.mark("g1", "draining")
    assert [each.id for each in store.workers.live("gpu")] == ["g2"]
    clock.advance(STALE_SECONDS + 1)
    assert store.workers.live("gpu") == []
