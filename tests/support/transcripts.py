"""Transcripts for tests, made by the services' own code from parts that a test lays down."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jsonschema import Draft202012Validator

from podinsight import schemas
from podinsight.domain.episode import Episode
from podinsight.domain.parts import part_to_json
from podinsight.domain.prices import CPU, CUDA, LOCAL, Price, PriceBook
from podinsight.domain.transcript import Part, Segment, Word
from podinsight.ports import ObjectStore
from podinsight.services.join import KpiPrices, join_episode
from podinsight.services.project import project_episode
from tests.support.rows import LEASE_SECONDS, TOOK, Rows

PRICES = KpiPrices(PriceBook({CPU: LOCAL, CUDA: Price(500_000, "test")}), 12.0)
SEGMENTS = (
    Segment(
        0.48, 2.9, "Salt & pepper: a talk.", -0.21, 0.01, 1.1,
        words=(
            Word(0.48, 0.9, "Salt", 0.98), Word(0.9, 1.0, "&", 0.91), Word(1.0, 1.8, "pepper:", 0.97),
            Word(2.0, 2.1, "a", 0.99), Word(2.1, 2.9, "talk.", 0.96),
        ),
    ),
    Segment(3.5, 6.25, "Thanks for thanks for thanks for watching.", -1.42, 0.6, 2.7, doubt="loop"),
)  # fmt: skip


def part(n: int = 0, segments: tuple[Segment, ...] = SEGMENTS, model: str = "base", covered: float = 38.0) -> Part:
    """A chunk of a minute with 40 s of speech, decoded on the CPU."""
    return Part(
        n, 60.0 * n, 60.0 * (n + 1), "en", 0.99, segments, 40.0, 6.0, 5.0, "cpu", "int8", model=model,
        profile=(("engine", "scripted 1"), ("model", model)),
        covered_seconds=covered, redecoded_seconds=4.0, doubtful_seconds=2.0,
    )  # fmt: skip


def known(rows: Rows, episode_id: str) -> Episode:
    episode = rows.store.catalogue.episode(episode_id)
    assert episode is not None
    return episode


def transcribe(
    rows: Rows,
    objects: ObjectStore,
    episode_id: str,
    parts: tuple[Part, ...] = (part(),),
    params: Mapping[str, object] | None = None,
    prices: KpiPrices = PRICES,
    **of_episode: Any,
) -> Episode:
    """The waiting chunks of an episode give these parts, which are joined and projected.

    params: of the join besides the row's own. prices: for kpis.json. of_episode: what the join is told of the episode
    besides what is known.
    """
    episode = known(rows, episode_id)
    lease = rows.claim(episode_id, "transcribe", "g1")
    for each in parts:
        assert lease.span is not None
        key = f"{episode.parts}/{lease.span.n}.{lease.token}.json"
        objects.put(key, part_to_json(replace(each, n=lease.span.n)))
        joined = rows.work.commit_chunk(lease, key, TOOK, LEASE_SECONDS)
        lease = joined or rows.claim(episode_id, "transcribe", "g1")
    told = replace(lease, params={**lease.params, **(params or {})})
    join_episode(rows.store, objects, prices, replace(episode, **of_episode), told, lambda _done: None, [])
    project_episode(rows.store, objects, "transcribe", episode_id)
    return known(rows, episode_id)


def document(objects: ObjectStore, key: str) -> Any:
    return json.loads(objects.get(key))


def conforms(schema: str, value: Any) -> None:
    """Raises jsonschema.ValidationError when it does not."""
    Draft202012Validator(schemas.read(schema)).validate(value)
