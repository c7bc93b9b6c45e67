"""Feeds and episodes: who is who, what a poll changes."""

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO

import pytest
from sqlalchemy import insert, update

from podinsight.adapters.database import SqlStore
from podinsight.adapters.database.catalogue_tables import feeds
from podinsight.domain.feed import Document, Feed, FeedItem, ParsedFeed, TranscriptLink
from podinsight.errors import Permanent
from tests.support.clock import ManualClock
from tests.support.rows import Rows, audio

URL = "https://feeds.test/show.xml"


def item(guid: str, url: str = "https://a.test/1.mp3", title: str = "One") -> FeedItem:
    return FeedItem(guid, title, url)


def poll(store: SqlStore, feed: Feed, *items: FeedItem, title: str = "The Show") -> int:
    return store.catalogue.record_poll(
        feed.id, Document(feed.url, BytesIO(b"x"), '"v1"', "Mon"), ParsedFeed(title, items=items), 9
    )


def known(store: SqlStore, url: str = URL) -> Feed:
    return next(feed for feed in store.catalogue.feeds() if feed.url == url)


def test_a_feed_is_added_once_however_it_is_spelt(store: SqlStore) -> None:
    feed, new = store.catalogue.add_feed("HTTPS://Feeds.test:443/show.xml#top")
    assert (feed.url, new, feed.slug, feed.episodes) == (URL, True, None, 0)
    assert store.catalogue.add_feed(URL) == (feed, False)
    assert store.catalogue.feeds() == [feed]


def test_a_feed_under_another_password_is_the_same_feed(store: SqlStore) -> None:
    feed, _new = store.catalogue.add_feed("https://ann:old@feeds.test/show.xml")
    again, new = store.catalogue.add_feed("https://ann:new@feeds.test/show.xml")
    assert (again.id, again.url, new) == (feed.id, "https://ann:new@feeds.test/show.xml", False)
    assert store.catalogue.add_feed(URL) == (again, False)


def test_a_feed_without_episodes_can_be_forgotten(store: SqlStore) -> None:
    feed, _new = store.catalogue.add_feed(URL)
    store.catalogue.remove_feed(feed.id)
    assert store.catalogue.feeds() == []
    feed, new = store.catalogue.add_feed(URL)
    assert new
    poll(store, feed, item("g1"))
    with pytest.raises(Permanent, match=feed.id):
        store.catalogue.remove_feed(feed.id)


def test_two_feeds_with_one_title_have_slugs_of_their_own(store: SqlStore) -> None:
    slugs = []
    for name in ("a", "b", "direct"):
        feed, _new = store.catalogue.add_feed(f"https://feeds.test/{name}.xml")
        poll(store, feed, title="Direct" if name == "direct" else "Café: Größe!")
        slugs.append(known(store, feed.url).slug)
    assert slugs[0] == "cafe-grosse"
    assert slugs[1] == f"cafe-grosse-{known(store, 'https://feeds.test/b.xml').id[:6]}"
    assert slugs[2] not in (None, "direct")


def test_a_renamed_feed_keeps_its_slug(store: SqlStore) -> None:
    feed, _new = store.catalogue.add_feed(URL)
    poll(store, feed, title="First")
    poll(store, feed, title="Second")
    assert (known(store).slug, known(store).title) == ("first", "Second")


def test_what_a_poll_says_is_kept(store: SqlStore, clock: ManualClock) -> None:
    feed, _new = store.catalogue.add_feed(URL)
    store.catalogue.record_poll_error(feed.id, "502", clock.now() + 60)
    assert (known(store).error, known(store).next_poll_at) == ("502", clock.now() + 60)
    assert poll(store, feed, item("g1"), item("g2"), item("g1", title="again")) == 2
    after = known(store)
    assert (after.error, after.etag, after.last_modified, after.episodes) == (None, '"v1"', "Mon", 2)
    assert (after.last_polled_at, after.next_poll_at) == (clock.now(), 9)
    clock.advance(5)
    assert store.catalogue.record_poll(feed.id, Document(URL, None), None, 70) == 0
    unchanged = known(store)
    assert (unchanged.etag, unchanged.title, unchanged.episodes) == ('"v1"', "The Show", 2)
    assert (unchanged.last_polled_at, unchanged.next_poll_at) == (clock.now(), 70)
    with pytest.raises(Permanent):
        store.catalogue.record_poll("no such feed", Document(URL, None), None, 70)


def test_episodes_are_known_once_in_feed_order(store: SqlStore) -> None:
    feed, _new = store.catalogue.add_feed(URL)
    links = (TranscriptLink("https://a.test/1.vtt", "text/vtt", "en"),)
    first = FeedItem(
        "http://Show.test/?p=1", "One", "https://a.megaphone.fm/1.mp3", "audio/mpeg", 5, 1.5, 60.0, transcripts=links
    )
    assert poll(store, feed, first, item("g2", "https://a.test/2.mp3")) == 2
    assert poll(store, feed, item("g3"), item("https://Show.test/?p=1"), item("g2", "https://b.test/2.mp3", "Two")) == 1
    one, two, three = store.catalogue.first_episodes(None)
    assert [e.seq for e in (one, two, three)] == sorted(e.seq for e in (one, two, three))
    assert (one.guid, one.title, one.feed_slug, one.mime, one.length, one.transcripts) == (
        "http://Show.test/?p=1",
        "One",
        "the-show",
        "audio/mpeg",
        5,
        links,
    )
    assert (one.url, one.host, one.published, one.duration) == ("https://a.test/1.mp3", "a.test", 1.5, 60.0)
    assert (two.url, two.title, two.host) == ("https://b.test/2.mp3", "Two", "b.test")
    assert three.guid == "g3"
    assert store.catalogue.first_episodes(2) == [one, two]
    assert store.catalogue.first_episodes(2, "other feed") == []
    assert store.catalogue.first_episodes(1, feed.id) == [one]
    assert store.catalogue.episodes([three.id, "nobody", one.id]) == [three, one]
    assert store.catalogue.episode(two.id) == two
    assert store.catalogue.episode("nobody") is None


def test_the_host_that_answered_is_remembered_until_the_enclosure_moves(rows: Rows) -> None:
    (episode_id,) = rows.fetches(1, "start.test")
    rows.worker()
    rows.work.commit_fetch(rows.claim(episode_id), audio("end.test"), 1.0)
    rows.project("fetch", episode_id)
    feed = known(rows.store, "https://feeds.test/a.xml")
    hosts = []
    for url in ("https://start.test/?token=2", "https://new.test/1.mp3"):
        poll(rows.store, feed, item("a-0", url))
        episode = rows.store.catalogue.episode(episode_id)
        hosts.append(episode and episode.host)
    assert hosts == ["end.test", "new.test"]


def test_a_guid_cannot_leave_its_folder(store: SqlStore) -> None:
    feed, _new = store.catalogue.add_feed(URL)
    poll(store, feed, item("../../etc/passwd"))
    (episode,) = store.catalogue.first_episodes(None)
    assert episode.guid == "../../etc/passwd"
    assert episode.raw == f"raw/the-show/{episode.folder}"
    assert episode.folder.startswith("etc-passwd-")
    assert not {"/", "\\", ".."} & {episode.folder, *episode.folder}


def test_a_guid_that_spells_the_folder_of_another_gets_its_own(store: SqlStore) -> None:
    feed, _new = store.catalogue.add_feed(URL)
    poll(store, feed, item("../../etc/passwd"))
    taken = store.catalogue.first_episodes(None)[0].folder
    assert poll(store, feed, item("../../etc/passwd"), item(taken), item("other")) == 2
    folders = [episode.folder for episode in store.catalogue.first_episodes(None)]
    assert len(set(folders)) == 3
    assert poll(store, feed, item(taken)) == 0


def test_an_unruly_feed_is_stored_all_the_same(store: SqlStore) -> None:
    feed, _new = store.catalogue.add_feed(URL)
    noise = "".join(chr(0x4E00 + (n * 7919) % 20000) for n in range(3000))
    wild = FeedItem(f"x\x00{noise}", "\ud800 title\x00", "https://a.test/1.mp3", "audio/" + "x" * 300, 2**70)
    twin = FeedItem(f"x{noise}!", "t", "https://a.test/2.mp3", length=-1)
    parsed = ParsedFeed("Long " * 200, "l\x00", "en" * 50, "i\x00", items=(wild, twin))
    for added in (2, 0):
        assert store.catalogue.record_poll(feed.id, Document(URL, BytesIO(b"x")), parsed, 0) == added
    first, second = store.catalogue.first_episodes(None)
    assert (first.title, first.length, second.length) == ("? title", None, None)
    assert first.folder != second.folder
    assert len(first.feed_slug) <= 100
    store.catalogue.record_poll_error(feed.id, "\udfff\x00", 0)
    assert known(store).error == "?"


def test_a_bare_url_lives_under_direct(store: SqlStore) -> None:
    first = store.catalogue.add_direct(item("d1"))
    assert (first.feed_slug, first.raw) == ("direct", "raw/direct/d1")
    assert store.catalogue.add_direct(item("d1")) == first
    assert store.catalogue.add_direct(item("d2")).id != first.id
    assert store.catalogue.feeds() == []
    assert store.catalogue.due_feeds(10, 60) == []


def test_a_due_feed_is_taken_once(store: SqlStore, another: Callable[[], SqlStore], clock: ManualClock) -> None:
    feeds = [store.catalogue.add_feed(f"https://feeds.test/{n}.xml")[0] for n in range(5)]
    other = another()
    taken = [feed.id for feed in (*store.catalogue.due_feeds(3, 60), *other.catalogue.due_feeds(3, 60))]
    assert sorted(taken) == sorted(feed.id for feed in feeds)
    assert store.catalogue.due_feeds(3, 60) == []
    clock.advance(60)
    assert len(store.catalogue.due_feeds(9, 60)) == 5
    store.catalogue.record_poll_error(feeds[2].id, "502", clock.now() + 30)
    clock.advance(30)
    assert [feed.id for feed in store.catalogue.due_feeds(9, 60)] == [feeds[2].id]


def test_what_feeds_and_hosts_say_may_be_long_and_odd(store: SqlStore, rows: Rows) -> None:
    feed, _new = store.catalogue.add_feed(URL)
    host = ".".join(["h" * 60] * 4)
    odd = FeedItem("g", "T\0", f"https://{host}/a.mp3", mime="audio/" + "x" * 300)
    parsed = ParsedFeed("Show\ud800", language="de-" + "x" * 300, items=(odd,))
    assert store.catalogue.record_poll(feed.id, Document(URL, BytesIO(b"x"), '"e\0tag"', "Mon\ud800"), parsed, 9) == 1
    assert (known(store).etag, known(store).last_modified) == ('"etag"', "Mon?")
    (episode,) = store.catalogue.first_episodes(None)
    assert episode.host == host
    rows.work.enqueue_fetch([episode.id], 5, None)
    rows.work.commit_fetch(rows.claim(episode.id, worker=rows.worker()), replace(audio(), mime="audio/" + "y" * 300), 1)
    rows.project("fetch", episode.id)
    assert store.catalogue.episodes([episode.id])[0].audio_mime == "audio/" + "y" * 300


def test_what_the_database_does_not_take_is_permanent_and_changes_nothing(store: SqlStore) -> None:
    feed, _new = store.catalogue.add_feed(URL)

    def change_and_double() -> None:
        with store.db.write() as conn:
            conn.execute(update(feeds).values(title="changed"))
            conn.execute(insert(feeds).values(id=feed.id, url="https://ann:secret@feeds.test/", created_at=0))

    with pytest.raises(Permanent, match="does not take") as caught:
        change_and_double()
    assert "secret" not in str(caught.value)
    assert known(store) == feed
