"""docs/outputs.md shows what the code writes, names every field, and its query runs (T5, T10)."""

import json
import re
from pathlib import Path
from typing import Any

import duckdb
import pytest

from podinsight import schemas
from podinsight.domain import captions
from podinsight.domain.episode import Episode
from podinsight.domain.kpis import kpis
from podinsight.domain.transcript import join
from tests.support.transcripts import PRICES, conforms, part

DOCS = Path(__file__).resolve().parents[2] / "docs" / "outputs.md"
TEXT = DOCS.read_text("utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
EPISODE = Episode(
    "0f3c2a9be4d15c77a801", 1, "f1", "a-show", "urn:show:7", "urn-show-7-4f1d2c3b", "Salt and pepper",
    "https://x.test/7.mp3", "x.test",
)  # fmt: skip


def examples() -> dict[str, str]:
    """What the code writes of one short episode."""
    transcript = join([part()], "base", part().profile)
    figures = kpis(transcript, [part()], PRICES.book, PRICES.gpu_speed)
    return {
        "transcript.json": captions.to_json(transcript, EPISODE),
        "transcript.vtt": captions.to_vtt(transcript),
        "segments.json": captions.to_jsonl(transcript),
        "kpis.json": json.dumps(figures, indent=2, sort_keys=True) + "\n",
    }


@pytest.mark.parametrize("name", sorted(examples()))
def test_every_example_is_what_the_code_writes(name: str) -> None:
    assert examples()[name] in [body for _language, body in BLOCKS]


@pytest.mark.parametrize("name", ["transcript-2", "kpis-2"])
def test_the_examples_are_what_the_schemas_say(name: str) -> None:
    conforms(name, json.loads(examples()[f"{name.partition('-')[0]}.json"]))


@pytest.mark.parametrize("name", schemas.names())
def test_every_schema_and_every_field_is_named(name: str) -> None:
    kind, _, version = name.partition("-")
    assert (f"`podinsight/{kind}/{version}`" if kind != "segment" else f"`{name}`") in TEXT
    if kind != "part":  # parts are ours: nobody else reads them
        assert [field for field in fields(schemas.read(name)) if not re.search(rf'[`"]{field}[`"]', TEXT)] == []


def fields(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return {found for each in schema for found in fields(each)}
    if not isinstance(schema, dict):
        return set()
    here = set(schema.get("properties", {})) if schema.get("type") == "object" else set()
    return here | {found for each in schema.values() for found in fields(each)}


def test_the_query_reads_a_folder_laid_out_like_that(tmp_path: Path) -> None:
    (query,) = [body for language, body in BLOCKS if language == "sql"]
    for slug, folder in (("a-show", "g-1"), ("a-show", "g-2"), ("b", "g-1")):
        segments = tmp_path / "stage" / slug / folder / "segments"
        segments.mkdir(parents=True)
        (segments / "segments.json").write_text(examples()["segments.json"], "utf-8")
    with duckdb.connect() as duck:
        rows = duck.execute(query.replace("s3://bucket", tmp_path.as_posix())).fetchall()
    assert len(rows) == 6
    assert {row[4:] for row in rows} == {("a-show", "g-1"), ("a-show", "g-2"), ("b", "g-1")}
    assert rows[0][:4] == ("Salt & pepper: a talk.", 0.48, 2.9, None)


def test_the_table_of_objects_names_what_a_transcription_writes() -> None:
    names = ("transcripts/transcript.json", "transcripts/transcript.vtt", "transcripts/transcript.srt")
    for name in (*names, "transcripts/transcript.txt", "segments/segments.json", "kpis/kpis.json"):
        assert f"`stage/<feed_slug>/<guid>/{name}`" in TEXT
