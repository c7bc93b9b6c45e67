"""The table of all segments over S3 (T10): the layout that Athena's partitions are registered with, read by DuckDB."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import duckdb
import pytest
from obstore.fsspec import FsspecStore

from podinsight.adapters.obstore_objects import S3Options, open_objects
from podinsight.domain.hosts import HostLimits
from podinsight.domain.table import Partition
from podinsight.domain.transcript import Segment
from podinsight.ports import ObjectStore
from podinsight.topology import AREAS
from tests.support.clock import ManualClock
from tests.support.databases import open_migrated
from tests.support.rows import Rows
from tests.support.seaweed import Seaweed
from tests.support.transcripts import part, transcribe

# As in podinsight/schemas/athena.sql, in DuckDB's names.
COLUMNS = "{text: 'VARCHAR', start_sec: 'DOUBLE', end_sec: 'DOUBLE', speaker: 'INTEGER'}"
SAID = {
    "a-0": (Segment(0.5, 2.0, "It's “one”; two.\nThree."), Segment(2.0, 3.25, "日本語")),
    "a-1": (Segment(1.0, 2.0, "Hello.", speaker="Ann"), Segment(2.0, 3.0, "Hi.", speaker="Bo")),
    "b-0": (),
    "b-1": (Segment(59.999, 60.0, "The end."),),
}


class S3(FsspecStore):
    """DuckDB looks for URLs, which obstore's own `glob` does not take."""

    async def _glob(self, path: str, **options: Any) -> Any:
        return await super()._glob(path.removeprefix("s3://"), **options)


@dataclass
class Lake:
    """Four transcripts of two feeds on S3, and DuckDB that reads them there. stage: URL of the area."""

    partitions: list[Partition]
    duck: duckdb.DuckDBPyConnection
    stage: str
    objects: ObjectStore

    def rows(self, query: str) -> list[tuple[object, ...]]:
        return [tuple(row) for row in self.duck.sql(query).fetchall()]


@pytest.fixture(scope="module")
def lake(seaweed_server: Seaweed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    server, prefix = seaweed_server, tmp_path_factory.mktemp("lake").name
    options = S3Options(server.endpoint, server.region, server.access_key_id, server.secret_access_key)
    areas = {area: f"s3://{server.bucket}/{prefix}/{area}" for area in AREAS}
    objects = open_objects(areas, options)
    store = open_migrated("sqlite://", ManualClock(), HostLimits({}, 10), 30.0)
    rows = Rows(store, ManualClock())
    partitions = []
    for feed in ("a", "b"):
        for episode_id in rows.transcribes(2, feed=feed):
            known = store.catalogue.episode(episode_id)
            assert known is not None
            episode = transcribe(rows, objects, episode_id, (part(segments=SAID[known.guid]),))
            where = objects.where(f"{episode.stage}/segments")
            partitions.append(Partition(episode.feed_slug, episode.folder, where))
    duck = duckdb.connect()
    duck.register_filesystem(
        S3(
            "s3",
            config={
                "endpoint": server.endpoint,
                "region": server.region,
                "access_key_id": server.access_key_id,
                "secret_access_key": server.secret_access_key,
            },
            client_options={"allow_http": True},
        )
    )
    yield Lake(partitions, duck, areas["stage"], objects)
    duck.close()
    store.close()


def as_registered(partitions: list[Partition]) -> str:
    """What Athena reads: every file under each partition's location, with the partition's values in each row."""
    return " UNION ALL ".join(
        f"SELECT *, '{each.feed_slug}' AS feed_slug, '{each.guid}' AS guid FROM "
        f"read_json('{each.location}/*', format = 'newline_delimited', columns = {COLUMNS})"
        for each in partitions
    )


def test_rows_partitions_and_types_over_s3(lake: Lake) -> None:
    lake.duck.sql(f"CREATE OR REPLACE TEMP VIEW pod_insight_transcripts AS {as_registered(lake.partitions)}")
    assert lake.rows("SELECT feed_slug, guid, text, start_sec, end_sec, speaker FROM pod_insight_transcripts") == [
        ("a", "a-0", "It's “one”; two.\nThree.", 0.5, 2.0, None),
        ("a", "a-0", "日本語", 2.0, 3.25, None),
        ("a", "a-1", "Hello.", 1.0, 2.0, 0),
        ("a", "a-1", "Hi.", 2.0, 3.0, 1),
        ("b", "b-1", "The end.", 59.999, 60.0, None),
    ]
    types = {row[0]: row[1] for row in lake.rows("DESCRIBE pod_insight_transcripts")}
    assert types == {
        "text": "VARCHAR", "start_sec": "DOUBLE", "end_sec": "DOUBLE", "speaker": "INTEGER",
        "feed_slug": "VARCHAR", "guid": "VARCHAR",
    }  # fmt: skip
    by_feed = "SELECT feed_slug, count(*), count(DISTINCT guid) FROM pod_insight_transcripts GROUP BY 1 ORDER BY 1"
    assert lake.rows(by_feed) == [("a", 4, 2), ("b", 1, 1)]
    assert lake.rows("SELECT text FROM pod_insight_transcripts WHERE guid = 'a-1' AND speaker = 1") == [("Hi.",)]


def test_the_types_are_what_the_lines_hold_without_being_told(lake: Lake) -> None:
    found = lake.duck.sql(f"DESCRIBE SELECT * FROM read_json('{lake.partitions[1].location}/*')").fetchall()
    assert {row[0]: row[1] for row in found} == {
        "text": "VARCHAR", "start_sec": "DOUBLE", "end_sec": "DOUBLE", "speaker": "BIGINT",
    }  # fmt: skip


def test_one_pattern_reads_them_all_with_the_partitions_from_the_path(lake: Lake) -> None:
    """The query of docs/outputs.md."""
    query = (
        f"SELECT * EXCLUDE filename, split_part(filename, '/', -4) AS feed_slug, split_part(filename, '/', -3) AS guid "
        f"FROM read_json('{lake.stage}/*/*/segments/segments.json', format = 'newline_delimited', "
        f"columns = {COLUMNS}, filename = true)"
    )
    assert sorted(map(repr, lake.rows(query))) == sorted(map(repr, lake.rows(as_registered(lake.partitions))))


def test_a_table_over_the_whole_stage_area_reads_what_are_no_segments(lake: Lake) -> None:
    """The fault of the old DDL: its location was the area itself, so every other file there gave rows too."""
    whole = (
        f"SELECT * FROM read_json('{lake.stage}/*/*/*/*.*', format = 'newline_delimited', columns = {COLUMNS}, "
        "ignore_errors = true)"
    )
    right = lake.rows(as_registered(lake.partitions))
    wrong = lake.rows(whole)
    assert len(wrong) > 2 * len(right)
    assert len([row for row in wrong if row[0] is None or row[1] is None]) > len(right)
    half = "stage/a/a-1/attempts/unfinished.json"
    lake.objects.put(half, (json.dumps({"text": "half", "start_sec": 0.0}) + "\n").encode())
    try:
        assert ("half",) in [row[:1] for row in lake.rows(whole)]
        assert lake.rows(as_registered(lake.partitions)) == right
    finally:
        lake.objects.delete([half])
