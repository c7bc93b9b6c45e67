"""podrun table (T10)."""

from dataclasses import replace

import pytest

from podinsight.adapters.database import SqlStore
from podinsight.adapters.memory import MemoryTable
from podinsight.adapters.obstore_objects import S3Options, open_objects
from podinsight.topology import AREAS
from tests.support.clock import ManualClock
from tests.support.rows import Rows
from tests.support.transcripts import transcribe
from tests.unit.cli.desk import Desk


@pytest.fixture
def on_s3(state: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage area on S3; nothing there is asked for."""
    monkeypatch.setenv("PODINSIGHT_STAGE_URL", "s3://bucket/archive/stage")


def test_the_ddl_is_one_statement(on_s3: None, desk: Desk) -> None:
    result = desk.run("table", "ddl", "--database", "shows")
    assert result.exit_code == 0
    assert result.stdout.startswith("CREATE EXTERNAL TABLE IF NOT EXISTS `shows`.`pod_insight_transcripts` (\n")
    assert "LOCATION 's3://bucket/archive/stage/.tables/pod_insight_transcripts/'" in result.stdout
    assert [line for line in result.stdout.splitlines() if line.endswith(";")] == [result.stdout.splitlines()[-1]]
    assert desk.json("table", "ddl", "--database", "shows")["statements"] == [result.stdout.rstrip().rstrip(";")]


def test_every_transcript_that_has_landed_is_registered_with_its_own_folder(on_s3: None, desk: Desk) -> None:
    assert isinstance(desk.store, SqlStore)
    rows, elsewhere = Rows(desk.store, ManualClock()), open_objects(dict.fromkeys(AREAS, "memory:///"), S3Options())
    for feed in ("a", "b"):
        first, _second = rows.transcribes(2, feed=feed)
        transcribe(rows, elsewhere, first)
    statement = (
        "ALTER TABLE `pod_insight_transcripts` ADD IF NOT EXISTS\n"
        "  PARTITION (`feed_slug` = 'a', `guid` = 'a-0')\n"
        "  LOCATION 's3://bucket/archive/stage/a/a-0/segments/'\n"
        "  PARTITION (`feed_slug` = 'b', `guid` = 'b-0')\n"
        "  LOCATION 's3://bucket/archive/stage/b/b-0/segments/'"
    )
    assert desk.run("table", "partitions").stdout == f"{statement};\n\n"
    assert desk.json("table", "partitions") == {"statements": [statement]}
    assert "'b-0'" not in desk.run("table", "partitions", "--feed", "a").stdout
    assert desk.run("table", "partitions", "--feed", "none").exit_code == 2


def test_nothing_to_register_is_no_error(on_s3: None, desk: Desk) -> None:
    result = desk.run("table", "partitions")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no transcript is there yet" in result.stderr


@pytest.mark.parametrize("words", [("ddl", "--table", "a-b"), ("partitions", "--database", "X")])
def test_a_name_that_athena_does_not_take_is_wrong_use(on_s3: None, desk: Desk, words: tuple[str, ...]) -> None:
    result = desk.run("table", *words)
    assert result.exit_code == 2
    assert "lower-case letters, digits and underscores" in result.stderr


def test_a_local_folder_is_no_place_for_athena(desk: Desk) -> None:
    result = desk.run("table", "ddl")
    assert result.exit_code == 2
    assert "Athena reads S3 alone" in result.stderr
    assert "docs/outputs.md" in result.stderr


@pytest.fixture
def table(on_s3: None, desk: Desk) -> MemoryTable:
    """The table that is set; three transcripts of two feeds have landed."""
    assert isinstance(desk.store, SqlStore)
    rows, elsewhere = Rows(desk.store, ManualClock()), open_objects(dict.fromkeys(AREAS, "memory:///"), S3Options())
    for episode_id in [*rows.transcribes(2, feed="a"), *rows.transcribes(1, feed="b")]:
        transcribe(rows, elsewhere, episode_id)
    made = MemoryTable()
    desk.world = replace(desk.world, table=made)
    return made


def test_all_that_landed_is_registered_by_hand(table: MemoryTable, desk: Desk) -> None:
    assert desk.run("table", "register", "--feed", "b").stdout == f"1 transcript registered in {table.name}\n"
    assert table.partitions == {("b", "b-0"): "s3://bucket/archive/stage/b/b-0/segments/"}
    assert desk.json("table", "register") == {"table": table.name, "registered": 3, "faults": []}
    assert len(table.partitions) == 3
    assert desk.store.catalogue.unregistered(9) == []
    assert desk.run("table", "register", "--feed", "none").exit_code == 2


def test_what_is_wrong_with_the_catalogue_is_told_by_the_exit_code(table: MemoryTable, desk: Desk) -> None:
    table.refuses = {"a-1": "InvalidInputException: no"}
    refused = desk.run("table", "register")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "1 partition refused\n  a/a-1: InvalidInputException: no" in refused.stderr
    table.made = False
    missing = desk.run("table", "register")
    assert missing.exit_code == 2
    assert "podrun table ddl" in missing.stderr
    table.down = True
    assert desk.run("table", "register").exit_code == 3


def test_without_a_table_it_is_said_how_to_set_one(on_s3: None, desk: Desk) -> None:
    result = desk.run("table", "register")
    assert result.exit_code == 2
    assert "PODINSIGHT_GLUE_TABLE" in result.stderr
    desk.world = replace(desk.world, table=MemoryTable())
    nothing = desk.run("table", "register")
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert "no transcript is there yet" in nothing.stderr
