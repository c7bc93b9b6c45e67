"""What podinsight writes is what its schemas say, and a shape does not change without its version (T5)."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from podinsight import schemas
from podinsight.domain import captions, kpis, parts, plan
from podinsight.domain.episode import Episode, PublisherTranscript
from podinsight.domain.feed import TranscriptLink
from podinsight.domain.plan import make_plan, plan_to_json
from podinsight.domain.transcript import Part, join
from podinsight.services.project import meta
from tests.support.transcripts import PRICES, SEGMENTS, conforms, part

# sha256 of each schema. One that is out in the world is never changed: a new shape is a new version in a new file.
PINNED = {
    "kpis-2": "28a6321f2034745c467ff0ab95bb8504abfc2fc11cd73a0c39a6d38e67e2d07a",
    "meta-1": "0d688b4bbe612563a521f1e99ff2ca82c9f6dd0efe385a55738ef75fad11c83d",
    "part-2": "42a8a6949ec69b6ff5c6f798e83553426b4c1537b7fb190cfb0607bac91f4e1d",
    "plan-1": "6dea2fea8de672421aa17e097bbe42a8b11b81aa5024c8e4abdfbb19871614be",
    "segment-1": "6ec16bc86918ddcda7f63c27597dfc19a7098b442d212148e31202ede2725596",
    "transcript-2": "0c7f2ddc1c8a38ccba114f84720e5d05ba14d424180cb47cb4862e8f78f3536b",
}
EPISODE = Episode("e1", 1, "f1", "a-show", "guid:1", "guid-1", "One", "https://x.test/1.mp3", "x.test")


def test_no_schema_changes_without_a_new_version() -> None:
    found = {name: hashlib.sha256(schemas.text(f"{name}.json").encode()).hexdigest() for name in schemas.names()}
    assert found == PINNED, "a new shape is a new version: <name>-<version + 1>.json, and the number in the code"


@pytest.mark.parametrize("name", schemas.names())
def test_every_schema_is_one_and_allows_nothing_that_it_does_not_name(name: str) -> None:
    schema = schemas.read(name)
    Draft202012Validator.check_schema(schema)
    kind, _, version = name.partition("-")
    if kind != "segment":
        assert schema["properties"]["schema"] == {"const": f"podinsight/{kind}/{version}"}
    loose = [each for each in objects_in(schema) if each.get("additionalProperties", True) is True]
    assert loose == []


def objects_in(schema: Any) -> list[dict[str, Any]]:
    if isinstance(schema, list):
        return [found for each in schema for found in objects_in(each)]
    if not isinstance(schema, dict):
        return []
    below = [found for each in schema.values() for found in objects_in(each)]
    return [schema, *below] if schema.get("type") == "object" else below


def test_the_code_writes_the_newest_version_of_each() -> None:
    said = (captions.TRANSCRIPT_SCHEMA, kpis.KPIS_SCHEMA, parts.PART_SCHEMA, plan.PLAN_SCHEMA)
    written = {each.removeprefix("podinsight/").replace("/", "-") for each in (*said, str(meta(EPISODE)["schema"]))}
    newest = {name.partition("-")[0]: name for name in sorted(schemas.names(), key=lambda n: int(n.split("-")[1]))}
    assert written == {name for kind, name in newest.items() if kind != "segment"}


def test_an_unknown_schema_is_told_by_name() -> None:
    with pytest.raises(KeyError, match="no schema 'x': there are kpis-2"):
        schemas.read("x")


def test_meta_of_an_episode_of_which_everything_is_known() -> None:
    received = PublisherTranscript("raw/0.vtt", "https://x.test/0", "text/vtt", None, False, "too short")
    episode = Episode(
        "e1", 1, "f1", "a", "g", "g", "One", "https://x.test/1.mp3", "x.test",
        transcripts=(TranscriptLink("https://x.test/0", "text/vtt", "en"),), publisher=(received,),
        published=1.5, audio_key="raw/a", audio_bytes=7, audio_sha256="ab" * 32, audio_seconds=0.5,
        transcript_key="stage/t", model="publisher",
    )  # fmt: skip
    conforms("meta-1", json.loads(json.dumps(meta(episode))))


@given(st.floats(0.5, 20_000), st.lists(st.tuples(st.floats(0, 20_000), st.floats(0, 20_000)), max_size=5))
@settings(deadline=None, max_examples=30)
def test_plans(seconds: float, speech: list[tuple[float, float]]) -> None:
    conforms("plan-1", json.loads(plan_to_json(make_plan(seconds, speech, 300.0, (("engine", "x 1"),)))))


def test_parts_and_kpis_of_silence_and_of_publishers() -> None:
    silent = Part(0, 0.0, 0.0, "", 0.0, (), 0.0, 0.0, 0.0, "cpu", "int8")
    taken = Part(0, 0.0, 9.0, "und", 1.0, SEGMENTS, 7.0, 0.1, 0.0, "none", "none", "publisher")
    for each, model in ((silent, "base"), (taken, "publisher"), (part(), "base")):
        conforms("part-2", json.loads(parts.part_to_json(each)))
        conforms("kpis-2", kpis.kpis(join([each], model, ()), [each], PRICES.book, PRICES.gpu_speed))
        conforms("transcript-2", json.loads(captions.to_json(join([each], model, ()), EPISODE)))
