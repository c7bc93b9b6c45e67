"""Joining: the files of a transcript (T5), and that a worse one replaces none (T6)."""

import json

import pytest

from podinsight.domain.prices import CPU, CUDA, Price, PriceBook
from podinsight.domain.transcript import Segment
from podinsight.domain.work import State
from podinsight.ports import ObjectStore
from podinsight.services.join import KpiPrices
from tests.support.rows import Rows
from tests.support.transcripts import SEGMENTS, conforms, document, known, part, transcribe

GOOD = {"source": "whisper", "model": "small", "words": 10, "coverage": 0.95, "doubtful_share": 0.05}
NAMES = [
    "kpis/kpis.json",
    "segments/segments.json",
    "transcripts/transcript.json",
    "transcripts/transcript.srt",
    "transcripts/transcript.txt",
    "transcripts/transcript.vtt",
]


def there(rows: Rows, objects: ObjectStore, episode_id: str, kpis: bytes | None) -> str:
    """An earlier transcript of the episode; returns its key."""
    stage = known(rows, episode_id).stage
    objects.put(f"{stage}/transcripts/transcript.json", b"old")
    if kpis is not None:
        objects.put(f"{stage}/kpis/kpis.json", kpis)
    return f"{stage}/transcripts/transcript.json"


def old_kpis(**changes: object) -> bytes:
    return json.dumps(GOOD | changes).encode()


def test_every_file_is_there_and_nothing_else(rows: Rows, objects: ObjectStore) -> None:
    (episode_id,) = rows.transcribes(1, chunks=2)
    episode = transcribe(rows, objects, episode_id, (part(0), part(1, model="tiny")))
    assert [info.key.removeprefix(f"{episode.stage}/") for info in objects.list(episode.stage)] == NAMES
    transcript = document(objects, str(episode.transcript_key))
    assert (transcript["model"], episode.model) == ("base, tiny", "base, tiny")
    assert transcript["profile"] == {"engine": "scripted 1", "model": "base, tiny"}
    kpis = document(objects, f"{episode.stage}/kpis/kpis.json")
    assert (kpis["models"], kpis["coverage"], kpis["cost_usd"]) == ({"base": 1, "tiny": 1}, 0.95, 0.0)


def test_what_it_cost_is_by_the_prices_of_the_ledger(rows: Rows, objects: ObjectStore) -> None:
    """T5, G1: a CPU costs what the price book says of it, and so does the GPU to compare with."""
    prices = KpiPrices(PriceBook({CPU: Price(72_000, "settings"), CUDA: Price(3_600_000, "prices.toml")}), 10.0)
    (episode_id,) = rows.transcribes(1, chunks=2)
    episode = transcribe(rows, objects, episode_id, (part(0), part(1)), prices=prices)
    kpis = document(objects, f"{episode.stage}/kpis/kpis.json")
    conforms("kpis-2", kpis)
    assert (kpis["device_seconds"], kpis["cost_usd"]) == (10.0, 0.0002)
    assert (kpis["audio_seconds"], kpis["gpu_estimate_usd"]) == (120.0, 0.012)


@pytest.mark.parametrize("said", [SEGMENTS, (), (Segment(0.0, 0.0, "", speaker="Ann"),)])
def test_what_is_written_is_what_the_schemas_say(rows: Rows, objects: ObjectStore, said: tuple[Segment, ...]) -> None:
    (episode_id,) = rows.transcribes(1)
    episode = transcribe(rows, objects, episode_id, (part(segments=said),))
    conforms("transcript-2", document(objects, str(episode.transcript_key)))
    conforms("kpis-2", document(objects, f"{episode.stage}/kpis/kpis.json"))
    conforms("meta-1", document(objects, episode.meta_key))
    lines = objects.get(f"{episode.stage}/segments/segments.json").decode().splitlines()
    for line in lines:
        conforms("segment-1", json.loads(line))
    assert len(lines) == len(said)


def test_parts_without_a_model_were_decoded_by_the_one_that_was_asked_for(rows: Rows, objects: ObjectStore) -> None:
    (episode_id,) = rows.transcribes(1)
    assert transcribe(rows, objects, episode_id, (part(model=""),)).model == "tiny.en"


@pytest.mark.parametrize("kpis", [old_kpis(), None, b"nonsense", b"[]", b"{}"])
def test_a_worse_transcript_or_one_that_cannot_be_compared_changes_nothing(
    rows: Rows, objects: ObjectStore, kpis: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    (episode_id,) = rows.transcribes(1)
    key = there(rows, objects, episode_id, kpis)
    stage = known(rows, episode_id).stage
    before = {info.key: objects.get(info.key) for info in objects.list(stage)}
    episode = transcribe(rows, objects, episode_id, (part(),), transcript_key=key, model="small")
    assert (episode.transcript_key, episode.model) == (key, "small")
    assert {info.key: objects.get(info.key) for info in objects.list(stage)} == before
    assert rows.state(episode_id, "transcribe") is State.DONE
    assert document(objects, episode.meta_key)["model"] == "small"
    assert "the transcript that is there stays" in caplog.text


@pytest.mark.parametrize(
    ("kpis", "params"),
    [
        (old_kpis(), {"replace": True}),
        (None, {"replace": True}),
        (old_kpis(model="tiny"), {}),
        (old_kpis(model="base"), {}),
        (old_kpis(coverage=0.5), {}),
    ],
)
def test_a_better_one_or_one_that_is_wanted_replaces_it(
    rows: Rows, objects: ObjectStore, kpis: bytes | None, params: dict[str, object]
) -> None:
    (episode_id,) = rows.transcribes(1)
    key = there(rows, objects, episode_id, kpis)
    episode = transcribe(rows, objects, episode_id, (part(),), params, transcript_key=key, model="small")
    assert episode.model == "base"
    assert document(objects, key)["segments"]


def test_where_the_old_transcript_is_gone_the_new_one_takes_its_place(rows: Rows, objects: ObjectStore) -> None:
    (episode_id,) = rows.transcribes(1)
    key = there(rows, objects, episode_id, old_kpis())
    objects.delete([key])
    assert transcribe(rows, objects, episode_id, (part(),), transcript_key=key, model="small").model == "base"
