"""Identity (F10): re-issued GUIDs, rotated tokens, moved feeds, the same audio twice; and nothing merged wrongly."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO

import pytest

from podinsight.adapters.database import SqlStore
from podinsight.domain.episode import Episode
from podinsight.domain.feed import ChaptersLink, Document, Feed, FeedItem, ParsedFeed, Person, TranscriptLink
from podinsight.domain.work import State
from podinsight.errors import Permanent
from tests.support.rows import Rows, audio

URL = "https://feeds.test/show.xml"
NEW = "https://new.test/show.xml"
DAY = 86_400.0
LATEST = "https://cdn.test/latest.mp3"
TOKENS = [f"{n}f3Kd92QxLm7Zt4Rb8Wc" for n in range(6)]


def item(
    guid: str, url: str, title: str = "One", published: float | None = None, length: int | None = None
) -> FeedItem:
    return FeedItem(guid, title, url, published=published, length=length)


def poll(store: SqlStore, *items: FeedItem, url: str = URL) -> int:
    feed, _new = store.catalogue.add_feed(url)
    return store.catalogue.record_poll(feed.id, Document(feed.url, BytesIO(b"x")), ParsedFeed("Show", items=items), 0)


def known(store: SqlStore) -> list[Episode]:
    return store.catalogue.first_episodes(None)


# ------------------------------------------------------------------------------------------------- episodes
def test_a_new_guid_on_a_known_enclosure_is_the_known_episode(store: SqlStore) -> None:
    poll(store, item("g1", f"http://cdn.test/1.mp3?token={TOKENS[0]}&utm_source=x", published=DAY))
    (before,) = known(store)
    assert poll(store, item("g2", f"https://cdn.test/1.mp3?token={TOKENS[1]}", published=DAY)) == 0
    assert poll(store, item("g3", f"https://cdn.test:443/1.mp3?token={TOKENS[2]}", published=DAY)) == 0
    (after,) = known(store)
    assert (after.id, after.guid, after.folder) == (before.id, "g1", before.folder)
    assert after.url == f"https://cdn.test:443/1.mp3?token={TOKENS[2]}"
    for guid in ("g1", "g2", "g3"):  # each name is remembered, wherever the enclosure goes
        assert poll(store, item(guid, f"https://moved.test/{guid}.mp3")) == 0
    assert [episode.url for episode in known(store)] == ["https://moved.test/g3.mp3"]


def test_an_episode_with_a_new_guid_is_not_fetched_again(rows: Rows) -> None:
    poll(rows.store, item("g1", "https://cdn.test/1.mp3"))
    (episode,) = known(rows.store)
    rows.work.enqueue_fetch([episode.id], 5, None)
    rows.fetch(episode.id)
    assert poll(rows.store, item("g2", "https://cdn.test/1.mp3")) == 0
    assert rows.work.enqueue_fetch([each.id for each in known(rows.store)], 5, None) == 0
    assert rows.state(episode.id) is State.DONE


def test_a_known_guid_at_another_cdn_is_the_same_episode(store: SqlStore) -> None:
    poll(store, item("http://show.test/?p=1", "https://old.test/1.mp3"))
    assert poll(store, item("https://show.test/?p=1", "https://new.test/audio/1")) == 0
    assert [episode.host for episode in known(store)] == ["new.test"]


def test_items_that_share_an_enclosure_stay_apart(store: SqlStore) -> None:
    """A feed whose items differ in nothing but what the fingerprint drops must not collapse."""
    first = [item(f"g{n}", f"https://cdn.test/play.mp3?token={TOKENS[n]}") for n in range(4)]
    assert poll(store, *first) == 4
    assert poll(store, *first[1:], item("g4", f"https://cdn.test/play.mp3?token={TOKENS[4]}")) == 1
    assert poll(store, item("g5", f"https://cdn.test/play.mp3?token={TOKENS[5]}")) == 1  # alone, but of several like it
    assert len(known(store)) == 6


def test_what_is_not_dropped_tells_episodes_apart(store: SqlStore) -> None:
    poll(store, item("g1", "https://cdn.test/play.mp3?id=1"))
    for n, query in enumerate(("id=2", "src=2.mp3", "t=77", "key=3.mp3", "hash=ab", "token=ep2", ""), 1):
        assert poll(store, item(f"h{n}", f"https://cdn.test/play.mp3?{query}")) == 1, query


def test_an_episode_that_is_in_the_document_is_no_other_item(store: SqlStore) -> None:
    poll(store, item("g1", "https://cdn.test/1.mp3"))
    assert poll(store, item("g2", "https://cdn.test/1.mp3"), item("g1", "https://cdn.test/1b.mp3")) == 1
    assert [episode.url for episode in known(store)] == ["https://cdn.test/1b.mp3", "https://cdn.test/1.mp3"]


def test_a_new_name_beside_the_old_one_is_not_lost_when_it_says_something_else(store: SqlStore) -> None:
    poll(store, item("g1", LATEST))
    assert poll(store, item("g2", LATEST)) == 0
    for added in (1, 0):
        assert poll(store, item("g2", LATEST, "Two"), item("g1", LATEST)) == added
    assert [episode.title for episode in known(store)] == ["One", "Two"]


def test_a_new_name_beside_the_old_one_is_one_episode_until_they_part(store: SqlStore) -> None:
    poll(store, item("g1", "https://cdn.test/1.mp3"))
    assert poll(store, item("g2", "https://cdn.test/1.mp3")) == 0
    assert poll(store, item("g2", "https://cdn.test/1.mp3"), item("g1", "https://cdn.test/1.mp3")) == 0
    assert len(known(store)) == 1
    assert poll(store, item("g2", "https://cdn.test/2.mp3"), item("g1", "https://cdn.test/1.mp3")) == 1
    assert poll(store, item("g2", "https://cdn.test/2c.mp3")) == 0
    assert [episode.url for episode in known(store)] == ["https://cdn.test/1.mp3", "https://cdn.test/2c.mp3"]


@pytest.mark.parametrize(
    ("again", "new"),
    [
        (item("g2", LATEST, "At five", DAY, 900), 0),
        (item("g2", LATEST, "At five", DAY + 0.4), 0),
        (item("g2", LATEST, "At five", length=900), 0),
        (item("g2", LATEST, "At five", length=0), 0),
        (item("g2", LATEST, "At six", 2 * DAY, 900), 1),
        (item("g2", LATEST, "At six", DAY, 800), 1),  # a date without a time of day
        (item("g2", LATEST, "At five", 2 * DAY, 800), 1),
        (item("g2", LATEST, "At five", 2 * DAY, 900), 1),
        (item("g2", LATEST, "At five", DAY + 3600), 1),
        (item("g2", LATEST, "At five", DAY, 800), 1),
        (item("g2", LATEST, "At five, corrected", DAY, 900), 1),
        (item("g2", LATEST, "At six"), 1),
        (item("g2", LATEST, "At six", length=800), 1),
    ],
)
def test_news_that_always_have_one_address_are_not_lost(store: SqlStore, again: FeedItem, new: int) -> None:
    """A new GUID is a known episode when nothing else has changed; in doubt it is one of its own."""
    poll(store, item("g1", LATEST, "At five", DAY, 900))
    assert poll(store, again) == new


def test_news_without_dates_are_told_apart_by_what_they_do_say(store: SqlStore) -> None:
    assert [poll(store, item(f"g{n}", LATEST, f"Day {n}", length=n)) for n in (1, 2, 3)] == [1, 1, 1]


def test_feeds_share_no_episodes(store: SqlStore) -> None:
    poll(store, item("g1", "https://cdn.test/1.mp3"))
    assert poll(store, item("g2", "https://cdn.test/1.mp3"), url=NEW) == 1


def test_who_names_a_url_means_that_url(store: SqlStore) -> None:
    one = store.catalogue.add_direct(FeedItem("d1", "1", "http://a.test:8001/1.mp3"))
    two = store.catalogue.add_direct(FeedItem("d2", "1", "http://a.test:8002/1.mp3"))
    assert one.id != two.id


def test_everything_a_feed_says_is_kept_up_to_date(store: SqlStore) -> None:
    poll(store, item("g1", "https://cdn.test/1.mp3"))
    full = FeedItem(
        *("g1", "Better", "https://cdn.test/1.m4a", "audio/mp4", 7, 5.0, 60.0, 2, 3, "https://cdn.test/1.jpg"),
        transcripts=(TranscriptLink("https://cdn.test/1.vtt", "text/vtt", "en"),),
        chapters=ChaptersLink("https://cdn.test/1.json", "application/json+chapters"),
        persons=(Person("Ann"), Person("Bob", "guest", "https://bob.test/")),
    )
    poll(store, full)
    for _ in range(2):  # what it stops saying stays as it was said last
        (episode,) = known(store)
        assert (episode.title, episode.url, episode.mime, episode.length) == (full.title, full.url, full.mime, 7)
        assert (episode.published, episode.duration, episode.season, episode.number) == (5.0, 60.0, 2, 3)
        assert (episode.image, episode.transcripts, episode.chapters) == (full.image, full.transcripts, full.chapters)
        assert episode.persons == full.persons
        poll(store, item("g1", full.url, full.title))
    poll(store, replace(full, season=0, episode=2**70, persons=()))
    (episode,) = known(store)
    assert (episode.season, episode.number, episode.persons) == (0, 3, full.persons)


def test_an_enclosure_of_any_length_has_a_fingerprint(store: SqlStore) -> None:
    noise = "".join(chr(0x4E00 + (n * 7919) % 20000) for n in range(4000))
    assert poll(store, item("g1", f"https://cdn.test/{noise}1.mp3")) == 1
    assert poll(store, item("g2", f"https://cdn.test/{noise}2.mp3")) == 1
    assert poll(store, item("g3", f"https://cdn.test/{noise}2.mp3")) == 0


def test_the_same_audio_in_an_earlier_episode_is_noted(rows: Rows) -> None:
    one, two, three, four = rows.fetches(4)
    (other_feed,) = rows.fetches(1, feed="b")
    rows.worker()
    for episode_id, sha in ((two, "aa" * 32), (one, "bb" * 32), (three, "aa" * 32), (four, "aa" * 32)):
        rows.work.commit_fetch(rows.claim(episode_id), replace(audio(), sha256=sha), 1)
        rows.project("fetch", episode_id)
    rows.work.commit_fetch(rows.claim(other_feed), replace(audio(), sha256="aa" * 32), 1)
    rows.project("fetch", other_feed)
    found = rows.store.catalogue.episodes([one, two, three, four, other_feed])
    assert [episode.same_as for episode in found] == [None, None, two, two, two], "whatever the feed"


# ---------------------------------------------------------------------------------------------------- feeds
def test_http_and_https_are_one_feed(store: SqlStore) -> None:
    feed, _new = store.catalogue.add_feed("http://feeds.test/show.xml")
    assert store.catalogue.add_feed(URL) == (feed, False)
    other, new = store.catalogue.add_feed("https://feeds.test/other.xml")
    assert new
    assert store.catalogue.add_feed("http://feeds.test/other.xml") == (other, False)


def move(store: SqlStore, feed: Feed, moved_to: str | None = None, new_url: str | None = None) -> Feed:
    document = Document(feed.url, BytesIO(b"x"), '"v1"', "Mon", moved_to=moved_to)
    store.catalogue.record_poll(feed.id, document, ParsedFeed("Show", new_url=new_url), 0)
    return next(each for each in store.catalogue.feeds() if each.id == feed.id)


@pytest.mark.parametrize("how", ["moved_to", "new_url"])
def test_a_feed_that_moved_is_asked_for_there_and_stays_the_same(store: SqlStore, how: str) -> None:
    feed, _new = store.catalogue.add_feed(URL)
    feed = move(store, feed)
    assert feed.etag == '"v1"'
    moved = move(store, feed, **{how: "HTTPS://New.test:443/show.xml#top"})
    assert (moved.id, moved.slug, moved.url) == (feed.id, "show", NEW)
    assert (moved.etag, moved.last_modified) == (None, None)
    for url in (URL, "http://feeds.test/show.xml", NEW, "http://new.test/show.xml"):
        assert store.catalogue.add_feed(url) == (moved, False)
    there = move(store, moved, **{how: NEW})
    assert (there.url, there.etag) == (NEW, '"v1"')


def test_a_move_to_nowhere_or_to_another_feed_is_none(store: SqlStore) -> None:
    feed, _new = store.catalogue.add_feed(URL)
    other, _new = store.catalogue.add_feed(NEW)
    for said in ("file:///etc/passwd", "ftp://new.test/", "no url", NEW, "http://new.test/show.xml"):
        assert move(store, feed, moved_to=said, new_url=said).url == URL
    store.catalogue.record_poll(feed.id, Document(URL, None, moved_to="https://x.test/"), None, 0)
    assert store.catalogue.add_feed(URL)[0].url == URL
    assert store.catalogue.add_feed(NEW)[0].id == other.id


def test_feeds_that_point_at_each_other_do_no_harm(store: SqlStore) -> None:
    feed, _new = store.catalogue.add_feed(URL)
    for _ in range(3):
        feed = move(store, feed, new_url=NEW if feed.url == URL else URL)
    assert feed.url == NEW
    assert len(store.catalogue.feeds()) == 1
    # A server that redirects to a feed that says that it lives where it was asked for: it stays there.
    assert move(store, feed, moved_to=URL, new_url=NEW).url == NEW


def test_a_password_given_for_the_old_address_does_not_move_a_feed_back(store: SqlStore) -> None:
    feed, _new = store.catalogue.add_feed(URL)
    move(store, feed, moved_to=NEW)
    assert store.catalogue.add_feed("https://ann:secret@feeds.test/show.xml")[0].url == NEW
    assert (
        store.catalogue.add_feed("https://ann:secret@new.test/show.xml")[0].url
        == "https://ann:secret@new.test/show.xml"
    )


def test_a_feed_that_moved_can_be_forgotten_with_its_names(store: SqlStore) -> None:
    feed, _new = store.catalogue.add_feed(URL)
    move(store, feed, moved_to=NEW)
    store.catalogue.remove_feed(feed.id)
    again, new = store.catalogue.add_feed(NEW)
    assert (new, again.url) == (True, NEW)


def test_one_feed_however_many_add_it_under_both_schemes(store: SqlStore, another: Callable[[], SqlStore]) -> None:
    stores = [another() for _ in range(4)]
    urls = [URL, "http://feeds.test/show.xml"] * 2
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda pair: pair[0].catalogue.add_feed(pair[1]), zip(stores, urls, strict=True)))
    assert sorted(new for _feed, new in found) == [False, False, False, True]
    assert len(store.catalogue.feeds()) == 1


@pytest.mark.parametrize("way", ["polls", "rows of manifests"])
def test_feeds_of_one_title_get_slugs_of_their_own_at_the_same_time(
    store: SqlStore, another: Callable[[], SqlStore], way: str
) -> None:
    """A poll that failed by it would make `podrun feeds add` forget the feed."""
    stores, items = [another() for _ in range(3)], tuple(item(f"g{n}", f"https://cdn.test/{n}.mp3") for n in range(200))

    def name(mine: SqlStore, feed: Feed, title: str) -> None:
        if way == "polls":
            mine.catalogue.record_poll(feed.id, Document(feed.url, BytesIO(b"x")), ParsedFeed(title, items=items), 0)
        else:
            mine.intake.add(feed.id, title, items)

    with ThreadPoolExecutor(len(stores)) as threads:
        for turn in range(3):
            feeds = [store.catalogue.add_feed(f"https://f{n}.test/{turn}")[0] for n in range(len(stores))]
            list(threads.map(name, stores, feeds, [f"show-{turn}"] * len(stores)))
    slugs = [feed.slug or "" for feed in store.catalogue.feeds()]
    assert len(set(slugs)) == len(slugs) == 9
    assert [sum(slug.startswith(f"show-{turn}") for slug in slugs) for turn in range(3)] == [3, 3, 3]


def test_a_poll_keeps_what_was_odd_and_the_podcast_guid(store: SqlStore) -> None:
    feed, _new = store.catalogue.add_feed(URL)
    notes = ("a\0b", "x" * 5000, *(f"note {n}" for n in range(100)))
    parsed = ParsedFeed("Show", podcast_guid="917393e3-1b1e-5cef-ace4-edaa54e1f810", notes=notes)
    store.catalogue.record_poll(feed.id, Document(URL, BytesIO(b"x")), parsed, 0)
    (stored,) = store.catalogue.feeds()
    assert stored.notes[0] == "ab"
    assert (len(stored.notes), len(stored.notes[1])) == (50, 500)
    store.catalogue.record_poll(feed.id, Document(URL, BytesIO(b"x")), ParsedFeed("Show"), 0)
    assert store.catalogue.feeds()[0].notes == ()


def test_a_feed_may_have_a_user_agent_of_its_own(store: SqlStore) -> None:
    feed, _new = store.catalogue.add_feed(URL)
    poll(store, item("g1", "https://cdn.test/1.mp3"))
    store.catalogue.set_user_agent(feed.id, "Special/1.0")
    assert [store.catalogue.feeds()[0].user_agent, known(store)[0].user_agent] == ["Special/1.0"] * 2
    for bad in ("", "  ", "a\r\nX-Evil: 1", "é"):
        with pytest.raises(Permanent, match="ASCII"):
            store.catalogue.set_user_agent(feed.id, bad)
    with pytest.raises(Permanent, match="no feed"):
        store.catalogue.set_user_agent("nobody", "x")
    store.catalogue.set_user_agent(feed.id, None)
    assert known(store)[0].user_agent is None
