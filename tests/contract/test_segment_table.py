"""The port SegmentTable (T10), by memory and by Glue: boto3 itself, against moto's server.

Where moto is not AWS: it takes more than a hundred partitions a request (so the requests themselves are looked at), it
asks nobody for credentials or rights, it never throttles, and it refuses no partition but those that are there already
(the door before it gives those answers, in AWS's words).
"""

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
import pytest

from podinsight.adapters.glue_table import GlueTable
from podinsight.adapters.memory import MemoryTable, NoTable
from podinsight.domain.identity import safe_name, slug
from podinsight.domain.table import EMPTY_FOLDER, MOST_PARTITIONS, TABLE, Partition
from podinsight.errors import ConfigError, Permanent, Unavailable
from podinsight.ports import SegmentTable
from tests.support.glue import ENVIRONMENT, GlueDoor, glue, table_input

BUCKET = "s3://bucket/stage"


@dataclass(frozen=True)
class Shelf:
    """A table, how to make it, and what lies in it: locations by values. away: while it lasts nobody answers."""

    table: SegmentTable
    make: Callable[[], object]
    locations: Callable[[], dict[tuple[str, str], str]]
    away: Callable[[], AbstractContextManager[None]]


def partition(guid: str, feed: str = "a-show") -> Partition:
    return Partition(feed, guid, f"{BUCKET}/{feed}/{guid}/segments")


@pytest.fixture(scope="module")
def server() -> Iterator[GlueDoor]:
    with glue() as door:
        yield door


@pytest.fixture
def door(server: GlueDoor, monkeypatch: pytest.MonkeyPatch) -> GlueDoor:
    """The environment names it, as it would name AWS."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_GLUE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    server.forget()
    return server


@dataclass(frozen=True)
class Catalogue:
    """A database of the test's own, and what the test itself does and sees in it."""

    client: Any
    database: str

    def make(self, **other: Any) -> None:
        made = table_input(TABLE, f"{BUCKET}/{EMPTY_FOLDER}/") | other
        self.client.create_table(DatabaseName=self.database, TableInput=made)

    def partitions(self) -> list[dict[str, Any]]:
        pages = self.client.get_paginator("get_partitions").paginate(DatabaseName=self.database, TableName=TABLE)
        return [each for page in pages for each in page["Partitions"]]

    def locations(self) -> dict[tuple[str, str], str]:
        return {(p["Values"][0], p["Values"][1]): p["StorageDescriptor"]["Location"] for p in self.partitions()}


@pytest.fixture(scope="module")
def client(server: GlueDoor) -> Any:
    """The test's own, which asks as the adapter does."""
    return boto3.session.Session().client(
        "glue",
        endpoint_url=server.url,
        region_name=ENVIRONMENT["AWS_DEFAULT_REGION"],
        aws_access_key_id=ENVIRONMENT["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
    )


@pytest.fixture
def catalogue(door: GlueDoor, client: Any) -> Catalogue:
    database = f"d{uuid.uuid4().hex}"
    client.create_database(DatabaseInput={"Name": database})
    return Catalogue(client, database)


@pytest.fixture
def table(catalogue: Catalogue) -> GlueTable:
    return GlueTable(catalogue.database, TABLE)


@pytest.fixture(params=["memory", "glue"])
def shelf(request: pytest.FixtureRequest) -> Shelf:
    if request.param == "memory":
        memory = MemoryTable()
        memory.made = False
        return Shelf(memory, lambda: setattr(memory, "made", True), lambda: dict(memory.partitions), _down(memory))
    seen: Catalogue = request.getfixturevalue("catalogue")
    door: GlueDoor = request.getfixturevalue("door")
    return Shelf(request.getfixturevalue("table"), seen.make, seen.locations, door.away)


def _down(memory: MemoryTable) -> Callable[[], AbstractContextManager[None]]:
    @contextmanager
    def away() -> Iterator[None]:
        memory.down = True
        yield
        memory.down = False

    return away


def test_partitions_are_registered_with_their_own_location_twice_without_harm(shelf: Shelf) -> None:
    shelf.make()
    many = [partition(f"g-{number}") for number in range(250)]
    wanted = {("a-show", each.guid): f"{BUCKET}/a-show/{each.guid}/segments/" for each in many}
    for _ in range(2):
        assert shelf.table.register(many) == {}
        assert shelf.locations() == wanted
    assert shelf.table.register([*many[:3], partition("new")]) == {}
    assert shelf.locations() == wanted | {("a-show", "new"): f"{BUCKET}/a-show/new/segments/"}


def test_what_is_registered_already_stays_as_it_is(shelf: Shelf) -> None:
    shelf.make()
    shelf.table.register([Partition("a", "g", "s3://elsewhere/g/segments")])
    assert shelf.table.register([partition("g", "a"), partition("h", "a")]) == {}
    assert shelf.locations() == {
        ("a", "g"): "s3://elsewhere/g/segments/",
        ("a", "h"): f"{BUCKET}/a/h/segments/",
    }


def test_without_the_table_it_says_what_to_do(shelf: Shelf) -> None:
    with pytest.raises(ConfigError, match=r"no table .*\.pod_insight_transcripts.*podrun table ddl"):
        shelf.table.register([partition("g")])
    shelf.make()
    assert shelf.table.register([partition("g")]) == {}
    assert len(shelf.locations()) == 1


def test_away_and_back(shelf: Shelf) -> None:
    shelf.make()
    with shelf.away(), pytest.raises(Unavailable, match="does not answer"):
        shelf.table.register([partition("g")])
    assert shelf.locations() == {}
    assert shelf.table.register([partition("g")]) == {}
    assert len(shelf.locations()) == 1


def test_nothing_to_register_asks_nobody(shelf: Shelf) -> None:
    with shelf.away():
        assert shelf.table.register([]) == {}


def test_names_of_feeds_and_guids_are_values_as_they_are(shelf: Shelf) -> None:
    """F11: whatever a feed says, its folders are what the table has."""
    shelf.make()
    guids = (
        "urn:show:7",
        'it\'s "quoted", a=b/c%20d',
        "日本語",
        "UPPER.Case_1",
        "upper.case_1",
        "con",
        "a..b",
        "…",
        "a" * 300,
    )
    names = [(slug(f"Ünd {guid} = ?"), safe_name(guid)) for guid in guids]
    assert shelf.table.register([partition(folder, feed) for feed, folder in names]) == {}
    assert shelf.locations() == {(feed, folder): f"{BUCKET}/{feed}/{folder}/segments/" for feed, folder in names}
    assert len(shelf.locations()) == len(guids)


def test_the_name_is_the_database_and_the_table() -> None:
    assert [MemoryTable().name, GlueTable("shows", "t").name, NoTable().name] == [
        "shows.pod_insight_transcripts", "shows.t", "",
    ]  # fmt: skip
    assert NoTable().register([partition("g")]) == {partition("g"): "no table is set"}


def test_no_request_holds_more_than_glue_takes(table: GlueTable, catalogue: Catalogue, door: GlueDoor) -> None:
    catalogue.make()
    door.forget()
    table.register([partition(f"g-{number}") for number in range(250)])
    sizes = [len(each["PartitionInputList"]) for each in door.requests("BatchCreatePartition")]
    assert sizes == [MOST_PARTITIONS, MOST_PARTITIONS, 50]
    assert [action for action, _body in door.seen] == ["GetTable", *["BatchCreatePartition"] * 3]  # the rights it needs


def test_a_partition_is_read_as_its_table_is(table: GlueTable, catalogue: Catalogue) -> None:
    """One without columns, formats and SerDe of its own reads as nothing."""
    catalogue.make()
    table.register([partition("g")])
    (made,) = catalogue.partitions()
    storage = table_input(TABLE, "")["StorageDescriptor"]
    assert made["StorageDescriptor"] == storage | {"Location": f"{BUCKET}/a-show/g/segments/"}
    assert [column["Name"] for column in storage["Columns"]] == ["text", "start_sec", "end_sec", "speaker"]


def test_a_table_that_is_partitioned_otherwise_is_left_alone(table: GlueTable, catalogue: Catalogue) -> None:
    catalogue.make(PartitionKeys=[{"Name": "guid", "Type": "string"}, {"Name": "feed_slug", "Type": "string"}])
    with pytest.raises(ConfigError, match=r"partitioned by guid, feed_slug, not by feed_slug, guid.*podrun table ddl"):
        table.register([partition("g")])
    assert catalogue.partitions() == []


def test_cut_off_between_two_requests(table: GlueTable, catalogue: Catalogue, door: GlueDoor) -> None:
    catalogue.make()
    many = [partition(f"g-{number}") for number in range(250)]
    table.register(many[:100])
    door.answers["BatchCreatePartition"] = [
        (200, {}),  # the first hundred, which are there
        *[(500, {"__type": "InternalServiceException", "Message": "again"})] * 3,
    ]
    with pytest.raises(Unavailable, match="InternalServiceException"):
        table.register(many)
    assert len(catalogue.partitions()) == 100
    assert table.register(many) == {}
    assert len(catalogue.partitions()) == 250


def test_throttling_is_waited_for_and_then_given_up(table: GlueTable, catalogue: Catalogue, door: GlueDoor) -> None:
    catalogue.make()
    slow_down = (400, {"__type": "ThrottlingException", "Message": "Rate exceeded"})
    door.answers["BatchCreatePartition"] = [slow_down] * 2
    assert table.register([partition("g")]) == {}
    assert (len(door.requests("BatchCreatePartition")), len(catalogue.partitions())) == (3, 1)
    door.answers["GetTable"] = [slow_down] * 9
    with pytest.raises(Unavailable, match="ThrottlingException: Rate exceeded"):
        table.register([partition("h")])
    assert len(door.answers["GetTable"]) == 6


def test_one_that_is_refused_keeps_no_other_from_it(table: GlueTable, catalogue: Catalogue, door: GlueDoor) -> None:
    catalogue.make()
    errors = [
        {"PartitionValues": ["a-show", "g"], "ErrorDetail": {"ErrorCode": "AlreadyExistsException"}},
        {
            "PartitionValues": ["a-show", "h"],
            "ErrorDetail": {"ErrorCode": "InvalidInputException", "ErrorMessage": "no\nstack"},
        },
    ]
    door.answers["BatchCreatePartition"] = [(200, {"Errors": errors})]
    refused = table.register([partition(guid) for guid in ("g", "h", "i")])
    assert refused == {partition("h"): "InvalidInputException: no"}


def test_who_may_not_is_told_what_is_denied(table: GlueTable, catalogue: Catalogue, door: GlueDoor) -> None:
    catalogue.make()
    said = "User: arn:aws:iam::123456789012:role/podinsight is not authorized to perform: glue:BatchCreatePartition"
    door.answers["BatchCreatePartition"] = [(400, {"__type": "AccessDeniedException", "Message": said})]
    with pytest.raises(Permanent, match=r"AccessDeniedException: .*glue:BatchCreatePartition"):
        table.register([partition("g")])


@pytest.mark.parametrize(("name", "said"), [("AWS_ACCESS_KEY_ID", "credentials"), ("AWS_DEFAULT_REGION", "region")])
def test_what_is_not_said_to_boto3_is_a_setting(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    catalogue.make()
    monkeypatch.delenv(name)
    with pytest.raises(ConfigError, match=said):
        GlueTable(catalogue.database, TABLE).register([partition("g")])


def test_the_region_is_boto3s_else_the_buckets(
    catalogue: Catalogue, door: GlueDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue.make()
    door.forget()
    GlueTable(catalogue.database, TABLE, region="us-west-2").register([partition("g")])
    assert set(door.regions) == {"eu-west-1"}
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    door.forget()
    with pytest.raises(ConfigError):  # moto keeps a catalogue for each region, as AWS does
        GlueTable(catalogue.database, TABLE, region="us-west-2").register([partition("g")])
    assert door.regions == ["us-west-2"]
