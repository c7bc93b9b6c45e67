"""Registering what lands (T10): nothing is lost, nothing waits for the catalogue, and no setting means no query."""

from collections.abc import Mapping, Sequence
from typing import cast

import pytest

from podinsight.adapters.memory import MemoryTable, NoTable
from podinsight.adapters.obstore_objects import S3Options, open_objects
from podinsight.domain.table import Partition
from podinsight.errors import Unavailable
from podinsight.ports import Clock, ObjectStore, StatusStore
from podinsight.services.register import PAUSE_SECONDS, RegisterReport, register, register_all
from podinsight.topology import AREAS
from tests.support.rows import Rows


@pytest.fixture
def objects() -> ObjectStore:
    """On S3; nothing there is asked for."""
    return open_objects({area: f"s3://bucket/{area}" for area in AREAS}, S3Options())


def landed(rows: Rows, count: int, feed: str = "a") -> list[str]:
    ids = rows.transcribes(count, feed=feed)
    for episode_id in ids:
        rows.transcribe(episode_id)
    return ids


def waiting(rows: Rows) -> list[str]:
    return [episode.id for episode in rows.store.catalogue.unregistered(999)]


class Counting(MemoryTable):
    """Counts how often it is asked. interrupt: ends the process, as it were, once it has registered."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.interrupt = False

    def register(self, partitions: Sequence[Partition]) -> Mapping[Partition, str]:
        self.asked += 1
        refused = super().register(partitions)
        if self.interrupt:
            raise KeyboardInterrupt
        return refused


def test_what_landed_is_registered_once(rows: Rows, objects: ObjectStore) -> None:
    landed(rows, 2)
    table = Counting()
    assert register(rows.store, objects, table, rows.clock) == RegisterReport(2)
    assert table.partitions == {
        ("a", "a-0"): "s3://bucket/stage/a/a-0/segments/",
        ("a", "a-1"): "s3://bucket/stage/a/a-1/segments/",
    }
    assert register(rows.store, objects, table, rows.clock) == RegisterReport(0)
    assert table.asked == 1
    assert rows.store.control.ticks()["register_segments"] == rows.clock.now()


def test_without_a_table_nothing_is_asked_of_anybody() -> None:
    nobody = object()
    report = register(cast(StatusStore, nobody), cast(ObjectStore, nobody), NoTable(), cast(Clock, nobody))
    assert report == RegisterReport(0)


def test_a_catalogue_that_is_away_is_left_alone_for_a_while_and_nothing_is_lost(
    rows: Rows, objects: ObjectStore
) -> None:
    ids = landed(rows, 2)
    table = Counting()
    table.down = True
    report = register(rows.store, objects, table, rows.clock)
    assert (report.registered, len(report.faults)) == (0, 1)
    assert "does not answer" in report.faults[0]
    table.down = False
    rows.clock.advance(PAUSE_SECONDS - 1)
    ids += landed(rows, 1, feed="b")
    assert register(rows.store, objects, table, rows.clock) == RegisterReport(0)
    assert (table.asked, waiting(rows)) == (1, ids)
    rows.clock.advance(1)
    assert register(rows.store, objects, table, rows.clock) == RegisterReport(3)
    assert (len(table.partitions), waiting(rows)) == (3, [])


def test_killed_between_the_catalogue_and_the_rows(rows: Rows, objects: ObjectStore) -> None:
    ids = landed(rows, 2)
    table = Counting()
    table.interrupt = True
    with pytest.raises(KeyboardInterrupt):
        register(rows.store, objects, table, rows.clock)
    assert (len(table.partitions), waiting(rows)) == (2, ids)
    table.interrupt = False
    assert register(rows.store, objects, table, rows.clock) == RegisterReport(2)
    assert (len(table.partitions), waiting(rows)) == (2, [])


def test_a_table_that_is_missing_is_said_and_waited_for(rows: Rows, objects: ObjectStore) -> None:
    ids = landed(rows, 1)
    table = MemoryTable()
    table.made = False
    report = register(rows.store, objects, table, rows.clock)
    assert "podrun table ddl" in report.faults[0]
    assert waiting(rows) == ids


def test_one_that_is_refused_comes_after_all_others(rows: Rows, objects: ObjectStore) -> None:
    first, _second = landed(rows, 2)
    rows.clock.advance(1)
    (third,) = landed(rows, 1, feed="b")
    table = MemoryTable()
    table.refuses = {"a-0": "InvalidInputException"}
    rows.clock.advance(1)
    feed = rows.store.catalogue.first_episodes(None)[0].feed_id
    assert register_all(rows.store, objects, table, feed) == RegisterReport(1, ("a/a-0: InvalidInputException",))
    assert waiting(rows) == [third, first]
    assert register(rows.store, objects, table, rows.clock) == RegisterReport(1, ("a/a-0: InvalidInputException",))
    assert waiting(rows) == [first]
    table.refuses = {}
    assert register(rows.store, objects, table, rows.clock) == RegisterReport(1)
    assert waiting(rows) == []


def test_by_hand_every_transcript_is_registered_whatever_was_before(rows: Rows, objects: ObjectStore) -> None:
    landed(rows, 2)
    landed(rows, 1, feed="b")
    rows.transcribes(1, feed="c")
    table = MemoryTable()
    register(rows.store, objects, table, rows.clock)
    table.partitions.clear()  # the table was dropped, and made anew
    feed = rows.store.catalogue.first_episodes(None)[0].feed_id
    assert register_all(rows.store, objects, table, feed) == RegisterReport(2)
    assert register_all(rows.store, objects, table) == RegisterReport(3)
    assert sorted(table.partitions) == [("a", "a-0"), ("a", "a-1"), ("b", "b-0")]


def test_by_hand_what_waits_waits_no_more(rows: Rows, objects: ObjectStore) -> None:
    first, _second = landed(rows, 2)
    table = MemoryTable()
    table.down = True
    with pytest.raises(Unavailable):
        register_all(rows.store, objects, table)
    assert len(waiting(rows)) == 2
    table.down, table.refuses = False, {"a-0": "no"}
    assert register_all(rows.store, objects, table) == RegisterReport(1, ("a/a-0: no",))
    assert waiting(rows) == [first]
