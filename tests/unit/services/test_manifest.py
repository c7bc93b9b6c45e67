"""Manifests: written, checked, and turned into episodes (F2, F3)."""

import io
import tracemalloc
from collections.abc import Iterator

import pytest

from podinsight.adapters.database import SqlStore
from podinsight.domain.episode import DIRECT_SLUG
from podinsight.domain.feed import FeedItem
from podinsight.domain.hosts import HostLimits
from podinsight.domain.identity import direct_guid, episode_id
from podinsight.services.manifest import PAGE, find_rows, make_known, scan, write_manifest
from tests.support.clock import ManualClock
from tests.support.databases import open_migrated
from tests.support.rows import Rows, snapshot

FEED = "https://feeds.test/new.xml"


@pytest.fixture
def store() -> Iterator[SqlStore]:
    opened = open_migrated("sqlite://", ManualClock(), HostLimits({}, 10), 30.0)
    yield opened
    opened.close()


def written(store: SqlStore, limit: int | None = None, feed_id: str | None = None) -> bytes:
    out = io.BytesIO()
    write_manifest(store, out.write, limit, feed_id)
    return out.getvalue()


def test_what_is_known_is_written_in_order_and_found_again(store: SqlStore) -> None:
    ids = Rows(store, ManualClock()).episodes(PAGE + 3)
    store.catalogue.add_direct(FeedItem(direct_guid("https://x.test/y.mp3"), "y", "https://x.test/y.mp3"))
    found = scan(io.BytesIO(written(store)), None)
    assert (found.rows, found.faults, found.duplicates) == (PAGE + 4, 0, 0)
    chosen = find_rows(store, found.kept)
    assert [episode.id for episode in chosen.episodes][:-1] == ids
    assert chosen.episodes[-1].feed_slug == DIRECT_SLUG
    assert (chosen.new, chosen.faults) == ({}, ())
    assert scan(io.BytesIO(written(store, limit=2)), None).rows == 2


def test_a_manifest_makes_another_installation_know_the_same_episodes(store: SqlStore) -> None:
    """Ids are hashes of feed and GUID, so they are the same everywhere."""
    Rows(store, ManualClock()).episodes(3)
    store.catalogue.add_direct(FeedItem(direct_guid("https://x.test/y.mp3"), "y", "https://x.test/y.mp3"))
    other = open_migrated("sqlite://", ManualClock(), HostLimits({}, 10), 30.0)
    before = snapshot(other)
    chosen = find_rows(other, scan(io.BytesIO(written(store)), None).kept)
    assert len(chosen.new) == 4
    assert snapshot(other) == before
    known = make_known(other, chosen)
    here = {each.id: (each.guid, each.folder, each.feed_slug, each.url) for each in store.intake.page(0, 10)}
    assert {each.id: (each.guid, each.folder, each.feed_slug, each.url) for each in known.episodes} == here
    assert known.new == {}
    assert find_rows(other, scan(io.BytesIO(written(store)), None).kept).new == {}
    other.close()


def test_rows_in_any_form_become_episodes_once(store: SqlStore) -> None:
    text = (
        "feed_url,feed_slug,guid,url,title,duration\n"
        f"{FEED},,one,https://cdn.test/1.mp3,One,60\n"
        ",,,https://cdn.test/single.mp3,,\n"
        f"HTTP://feeds.test:80/new.xml,,one,https://cdn.test/1.mp3,One once more,60\n"
        f"{FEED},,two,https://cdn.test/2.mp3,,\n"
    )
    found = scan(io.BytesIO(text.encode()), None)
    chosen = make_known(store, find_rows(store, found.kept))
    assert [episode.guid for episode in chosen.episodes] == ["one", direct_guid("https://cdn.test/single.mp3"), "two"]
    assert [episode.feed_slug for episode in chosen.episodes] == ["feeds-test", DIRECT_SLUG, "feeds-test"]
    assert [episode.title for episode in chosen.episodes] == ["One", "single.mp3", "2.mp3"]
    assert [each.id for each in store.intake.page(0, 10)] != []
    assert chosen.episodes[0].duration == 60


def test_the_first_distinct_rows_are_kept_and_all_are_checked() -> None:
    rows = ["https://a.test/1", "https://a.test/1", "https://a.test/2", "nonsense", "https://a.test/3"]
    found = scan(io.BytesIO(("url\n" + "\n".join(rows)).encode()), 2)
    assert [row.url for row in found.kept] == ["https://a.test/1", "https://a.test/2"]
    assert (found.rows, found.duplicates, found.faults) == (5, 1, 1)
    assert [(fault.line, fault.text) for fault in found.shown] == [(5, "url: not an http or https URL: nonsense")]


def test_only_the_first_faults_are_shown_and_all_are_counted() -> None:
    found = scan(io.BytesIO(b"url\n" + b"nonsense\n" * 100))
    assert (found.faults, len(found.shown)) == (100, 20)


def test_an_id_that_is_not_known_and_says_no_more_is_a_fault(store: SqlStore) -> None:
    unknown = episode_id("x", "y")
    chosen = find_rows(store, scan(io.BytesIO(f"episode_id\n{unknown}\n".encode()), None).kept)
    assert chosen.episodes == ()
    assert [(fault.line, unknown in fault.text) for fault in chosen.faults] == [(2, True)]


class Endless(io.RawIOBase):
    """A manifest that is made as it is read."""

    def __init__(self, rows: int) -> None:
        self._lines = (f"https://cdn.test/{number}.mp3\n" if number else "url\n" for number in range(rows + 1))
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readline(self, size: int | None = -1) -> bytes:
        return next(self._lines, "").encode()


def test_checking_takes_the_same_memory_however_many_rows() -> None:
    peaks = []
    for rows in (1_000, 20_000):
        tracemalloc.start()
        assert scan(Endless(rows)).rows == rows  # type: ignore[arg-type]
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 500_000


def test_writing_takes_the_same_memory_however_many_episodes(store: SqlStore) -> None:
    rows = Rows(store, ManualClock())
    peaks = []
    for more in (PAGE * 2, PAGE * 6):
        rows.episodes(more)
        tracemalloc.start()
        write_manifest(store, lambda _data: None)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.3 + 200_000
