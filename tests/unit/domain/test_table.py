"""The DDL and the partitions of the table (T10)."""

import pytest

from podinsight import schemas
from podinsight.domain.table import MOST_PARTITIONS, Partition, add_partitions, create_table, identifier, literal

TEMPLATE = schemas.text("athena.sql")


def test_the_ddl_names_columns_types_partitions_and_a_folder_of_its_own() -> None:
    ddl = create_table(TEMPLATE, "s3://b/stage/.tables/pod_insight_transcripts", database="shows")
    assert ddl.startswith("CREATE EXTERNAL TABLE IF NOT EXISTS `shows`.`pod_insight_transcripts` (")
    columns = ["`text` string", "`start_sec` double", "`end_sec` double", "`speaker` int"]
    assert [ddl.index(column) for column in columns] == sorted(ddl.index(column) for column in columns)
    keys = ddl[ddl.index("PARTITIONED BY") : ddl.index("ROW FORMAT")]
    assert "`feed_slug` string" in keys
    assert "`guid` string" in keys
    assert "LOCATION 's3://b/stage/.tables/pod_insight_transcripts/'\n" in ddl
    assert "$" not in ddl


def test_the_columns_are_those_of_a_line() -> None:
    for name in schemas.read("segment-1")["properties"]:
        assert f"  `{name}` " in TEMPLATE


def test_partitions_are_registered_with_their_own_location() -> None:
    (statement,) = add_partitions([Partition("a-show", "g-1", "s3://b/stage/a-show/g-1/segments")])
    assert statement == (
        "ALTER TABLE `pod_insight_transcripts` ADD IF NOT EXISTS\n"
        "  PARTITION (`feed_slug` = 'a-show', `guid` = 'g-1')\n"
        "  LOCATION 's3://b/stage/a-show/g-1/segments/'"
    )


def test_no_statement_holds_more_partitions_than_a_request_takes() -> None:
    many = [Partition("a", str(n), f"s3://b/a/{n}") for n in range(2 * MOST_PARTITIONS + 1)]
    statements = list(add_partitions(many))
    assert [each.count("PARTITION (") for each in statements] == [MOST_PARTITIONS, MOST_PARTITIONS, 1]
    assert list(add_partitions([])) == []


@pytest.mark.parametrize("name", ["", "Table", "a-b", "a`; DROP TABLE x", "a b", "é", "a" * 256])
def test_names_that_athena_does_not_take_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no name for Athena"):
        identifier(name)
    with pytest.raises(ValueError, match="no name for Athena"):
        identifier("t", name)


def test_nothing_in_a_literal_ends_it() -> None:
    assert literal("it's a \\ 'quote'") == "'it\\'s a \\\\ \\'quote\\''"
    for bad in ("a\nb", "a\x00", "a\u2028b"):
        with pytest.raises(ValueError, match="control character"):
            literal(bad)


@pytest.mark.parametrize("url", ["/home/me/stage", "file:///x", "gs://b/x", "S3://b"])
def test_what_is_not_on_s3_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not on S3"):
        create_table(TEMPLATE, url)
    with pytest.raises(ValueError, match="not on S3"):
        list(add_partitions([Partition("a", "b", url)]))
