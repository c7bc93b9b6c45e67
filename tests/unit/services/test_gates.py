"""Phase gates (F3)."""

import json
from collections.abc import Iterator

import pytest

from podinsight.adapters.database import SqlStore
from podinsight.adapters.obstore_objects import S3Options, open_objects
from podinsight.domain.hosts import HostLimits, HostNote
from podinsight.domain.work import State
from podinsight.ports import HostRow, ObjectStore
from podinsight.services.gates import Criterion, Traffic, check, percent, traffic
from podinsight.services.manifest import pages
from podinsight.services.project import meta_json
from tests.support.clock import ManualClock
from tests.support.databases import open_migrated
from tests.support.rows import Rows

SIZE = 1000  # of what tests.support.rows commits


@pytest.fixture
def rows() -> Iterator[Rows]:
    clock = ManualClock()
    opened = open_migrated("sqlite://", clock, HostLimits({}, 10), 30.0)
    yield Rows(opened, clock)
    opened.close()


@pytest.fixture
def objects() -> ObjectStore:
    return open_objects({"raw": "memory:///", "stage": "memory:///"}, S3Options())


def put(store: SqlStore, objects: ObjectStore) -> None:
    """The objects as the rows say."""
    for episode in store.intake.page(0, 10_000):
        if episode.audio_key:
            objects.put(episode.audio_key, b"x" * SIZE)
            objects.put(episode.meta_key, meta_json(episode))


def ended(rows: Rows, done: int, failed: int = 0) -> list[str]:
    ids = rows.fetches(done + failed)
    rows.worker("w1", slots=1000)
    for this in ids[:done]:
        rows.fetch(this)
    for this in ids[done:]:
        rows.work.end(rows.claim(this), State.FAILED, "404")
    return ids


def judge(rows: Rows, objects: ObjectStore, stage: str = "fetch") -> dict[str, Criterion]:
    return {each.name: each for each in check(rows.store, objects, stage, pages(rows.store))}  # type: ignore[arg-type]


def red(found: dict[str, Criterion]) -> set[str]:
    return {name for name, each in found.items() if not each.green}


def test_what_other_feeds_and_hosts_met_is_not_held_against_these(rows: Rows, objects: ObjectStore) -> None:
    ended(rows, 3)
    put(rows.store, objects)
    host = next(iter(rows.store.intake.page(0, 10))).host
    rows.store.hosts.observe([HostNote(host, requests=1000), HostNote("other.test", requests=10, throttled=10)])
    found = judge(rows, objects)
    assert found["PerHost429"].value == "0 %"
    assert red(found) == set()


def test_all_there_is_green(rows: Rows, objects: ObjectStore) -> None:
    ended(rows, 3)
    put(rows.store, objects)
    rows.store.hosts.observe([HostNote("cdn.test", requests=1000, throttled=9)])
    found = judge(rows, objects)
    assert red(found) == set()
    assert found["PerHost429"].value == "0.9 %"
    assert found["downloaded"].value == "100 %"


def test_nothing_is_no_proof(rows: Rows, objects: ObjectStore) -> None:
    assert check(rows.store, objects, "fetch", pages(rows.store)) == []


def test_what_has_not_ended_is_red(rows: Rows, objects: ObjectStore) -> None:
    ended(rows, 2)
    rows.fetches(1)
    rows.episodes(1)
    put(rows.store, objects)
    rows.store.hosts.observe([HostNote("cdn.test", requests=10)])
    found = judge(rows, objects)
    assert red(found) == {"rows", "downloaded"}
    assert found["rows"].value == "2 done, 0 failed, 2 not ended"
    assert len(found["rows"].examples) == 2


@pytest.mark.parametrize(("done", "failed", "green"), [(99, 1, True), (98, 2, False)])
def test_more_than_98_percent_must_be_downloaded(
    rows: Rows, objects: ObjectStore, done: int, failed: int, green: bool
) -> None:
    """T9: exactly 98 % is not more than 98 %."""
    ended(rows, done, failed)
    put(rows.store, objects)
    rows.store.hosts.observe([HostNote("cdn.test", requests=100)])
    assert judge(rows, objects)["downloaded"].green is green


@pytest.mark.parametrize(("throttled", "green"), [(9, True), (10, False)])
def test_less_than_1_percent_may_be_throttled(rows: Rows, objects: ObjectStore, throttled: int, green: bool) -> None:
    ended(rows, 1)
    put(rows.store, objects)
    rows.store.hosts.observe([HostNote("cdn.test", requests=1000, throttled=throttled)])
    assert judge(rows, objects)["PerHost429"].green is green


@pytest.mark.parametrize("fault", ["gone", "short"])
def test_an_object_that_is_gone_or_short_is_red(rows: Rows, objects: ObjectStore, fault: str) -> None:
    ended(rows, 2)
    put(rows.store, objects)
    key = str(rows.store.intake.page(0, 1)[0].audio_key)
    if fault == "gone":
        objects.delete([key])
    else:
        objects.put(key, b"x" * (SIZE - 1))
    found = judge(rows, objects)
    assert "audio objects" in red(found)
    assert key in found["audio objects"].examples[0]


@pytest.mark.parametrize("body", [None, b"{nope", b"[]", b"{}", json.dumps({"transcript_key": "x"}).encode()])
def test_meta_json_must_say_what_the_row_says(rows: Rows, objects: ObjectStore, body: bytes | None) -> None:
    ended(rows, 1)
    put(rows.store, objects)
    key = rows.store.intake.page(0, 1)[0].meta_key
    objects.delete([key])
    if body is not None:
        objects.put(key, body)
    assert "transcript_key in meta.json" in red(judge(rows, objects))


def test_the_gate_of_transcription(rows: Rows, objects: ObjectStore) -> None:
    first, second = rows.transcribes(2)
    for this in (first, second):
        rows.transcribe(this)
    put(rows.store, objects)
    found = judge(rows, objects, "transcribe")
    assert red(found) == {"transcript objects"}
    assert set(found) == {"rows", "transcribed", "transcript objects", "transcript_key in meta.json"}


def test_traffic_adds_up_and_is_never_negative() -> None:
    now = traffic([HostRow("a", requests=5, throttled=1), HostRow("b", requests=5)])
    assert now == Traffic(10, 1)
    assert now.since(Traffic(4, 1)) == Traffic(6, 0)
    assert Traffic(0, 0).since(Traffic(4, 1)) == Traffic(0, 0)
    assert Traffic(0, 0).share is None


@pytest.mark.parametrize(("share", "said"), [(None, "-"), (1.0, "100 %"), (0.97999, "97.99 %"), (0.0, "0 %")])
def test_a_share_is_never_rounded_up_to_a_goal(share: float | None, said: str) -> None:
    assert percent(share) == said
