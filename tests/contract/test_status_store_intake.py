"""ports.Intake on every database: walking, manifests' rows, and archives (F2, F15)."""

from dataclasses import replace
from io import BytesIO

import pytest

from podinsight.adapters.database import SqlStore
from podinsight.domain.archive import ADOPTED, unknown_url
from podinsight.domain.episode import FetchedAudio, TranscriptFiles
from podinsight.domain.feed import Document, FeedItem, ParsedFeed
from podinsight.domain.work import State
from podinsight.errors import Permanent
from podinsight.ports import Holding
from tests.support.rows import APPROVED, PARAMS, Rows, recount

FEED = "https://feeds.test/a.xml"
KEY = "raw/old/one/audio/20vc-episode.mp3"
AUDIO = FetchedAudio(KEY, KEY, 1000, "ab" * 32, "audio/mpeg", 60.0, "", "")
TEXT = TranscriptFiles((), "stage/old/one/transcripts/transcript.json", "base", 0, 60.0, 0.0, 0.0)


def item(name: str, url: str | None = None) -> FeedItem:
    return FeedItem(name, f"Title of {name}", url or f"https://cdn.test/{name}.mp3")


def held(name: str = "one", audio: bool = True, text: bool = True) -> Holding:
    return Holding(item(name, unknown_url("old", name)), name, AUDIO if audio else None, TEXT if text else None)


def poll(store: SqlStore, feed_id: str, *items: FeedItem) -> int:
    parsed = ParsedFeed("Old Show", items=tuple(items))
    return store.catalogue.record_poll(feed_id, Document(FEED, BytesIO(b"x")), parsed, 0)


def test_pages_give_every_episode_once_in_order(store: SqlStore, rows: Rows) -> None:
    ids = rows.episodes(5) + rows.episodes(3, feed="b")
    found, after = [], 0
    while page := store.intake.page(after, 3):
        found += [episode.id for episode in page]
        after = page[-1].seq
    assert found == ids
    feed_id = store.catalogue.feeds()[1].id
    assert [episode.id for episode in store.intake.page(0, 10, feed_id)] == ids[5:]


def test_added_episodes_are_those_that_a_poll_finds(store: SqlStore) -> None:
    feed, _new = store.catalogue.add_feed(FEED)
    one, two = store.intake.add(feed.id, "old", [item("one"), item("two")])
    assert [one.feed_slug, one.guid, two.guid] == ["old", "one", "two"]
    assert poll(store, feed.id, item("one"), item("two"), item("three")) == 1
    assert {each.guid: each.id for each in store.intake.page(0, 10)} | {one.guid: one.id, two.guid: two.id} == {
        each.guid: each.id for each in store.intake.page(0, 10)
    }
    (known,) = store.catalogue.feeds()
    assert (known.slug, known.episodes) == ("old", 3)


def test_adding_what_is_known_changes_nothing(store: SqlStore) -> None:
    feed, _new = store.catalogue.add_feed(FEED)
    poll(store, feed.id, item("one", "https://ada:secret@cdn.test/one.mp3"))
    before = store.intake.page(0, 10)
    assert store.intake.add(feed.id, "other", [item("one"), item("one")]) == before * 2
    assert store.intake.page(0, 10) == before
    assert store.catalogue.feeds()[0].slug == "old-show"


def test_a_slug_that_is_taken_is_not_given_twice(store: SqlStore) -> None:
    for name in ("a", "b"):
        feed, _new = store.catalogue.add_feed(f"https://feeds.test/{name}.xml")
        store.intake.add(feed.id, "same", [item("one")])
    slugs = [feed.slug for feed in store.catalogue.feeds()]
    assert slugs[0] == "same"
    assert slugs[1] is not None
    assert slugs[1].startswith("same-")


def test_feeds_are_found_as_add_feed_finds_them(store: SqlStore) -> None:
    assert store.intake.find_feed(FEED) is None
    feed, _new = store.catalogue.add_feed(FEED)
    for url in (FEED, "http://feeds.test/a.xml", "HTTPS://ada:x@Feeds.test:443/a.xml"):
        found = store.intake.find_feed(url)
        assert found is not None
        assert found.id == feed.id


@pytest.mark.parametrize("steps", [(1, 2), (2,), (2, 1)])
def test_rows_are_told_apart_by_their_guids_however_many_come_at_once(store: SqlStore, steps: tuple[int, ...]) -> None:
    """F2: `--limit 1` and then all, or a border between batches, gives what all at once does."""
    feed, _new = store.catalogue.add_feed(FEED)
    rows = [FeedItem(guid, "News", "https://cdn.test/latest.mp3", published=5.0) for guid in ("one", "two")]
    for count in steps:
        store.intake.add(feed.id, "old", rows[:count])
    assert [episode.guid for episode in store.intake.page(0, 10)] == ["one", "two"]


def test_episodes_of_an_archive_are_told_apart_by_their_guids(store: SqlStore) -> None:
    """F15: the archive that a poll finds later under a new GUID is known by its enclosure."""
    feed = store.intake.archive_feed("old", FEED)
    for guid in ("one", "two"):
        news = FeedItem(guid, "News", "https://cdn.test/latest.mp3", published=5.0)
        assert store.intake.adopt(feed.id, Holding(news, guid, AUDIO))[1] == ("fetch",)
    store.intake.adopt(feed.id, Holding(item("three"), "three", AUDIO))
    assert poll(store, feed.id, replace(item("three"), guid="three anew")) == 0


def test_an_episode_is_found_by_a_guid_that_it_had_before(store: SqlStore) -> None:
    """F10: a GUID that was issued anew is another name of the same episode."""
    feed, _new = store.catalogue.add_feed(FEED)
    poll(store, feed.id, item("one"))
    poll(store, feed.id, replace(item("one"), guid="one again"))
    found = store.intake.find(feed.id, ["one", "one again", "never"])
    assert {guid: episode.guid for guid, episode in found.items()} == {"one": "one", "one again": "one"}


def adopt(store: SqlStore, holding: Holding, slug: str = "old") -> tuple[str, tuple[str, ...]]:
    feed = store.intake.archive_feed(slug, None)
    episode, made = store.intake.adopt(feed.id, holding)
    recount(store)
    return episode.id, made


def project(store: SqlStore, episode_id: str) -> None:
    for stage in ("fetch", "transcribe"):
        for projection in store.work.unprojected(10, stage, episode_id):
            assert projection.copies == ()
            store.work.projected(projection)


def test_what_is_adopted_is_done_and_nothing_is_left_to_do(store: SqlStore, rows: Rows) -> None:
    """F15: none is fetched or transcribed again, and saying it twice changes nothing."""
    this, made = adopt(store, held())
    assert made == ("fetch", "transcribe")
    project(store, this)
    episode = store.catalogue.episode(this)
    assert episode is not None
    assert (episode.audio_key, episode.audio_bytes, episode.folder, episode.fetched_at) == (KEY, 1000, "one", None)
    assert (episode.transcript_key, episode.model) == (TEXT.transcript_key, "base")
    assert adopt(store, held()) == (this, ())
    assert rows.work.enqueue_fetch([this], 5, PARAMS, APPROVED) == 0
    assert rows.work.enqueue_transcribe([this], 5, PARAMS, APPROVED) == 0
    rows.worker()
    rows.worker("g1", "gpu")
    assert rows.work.dispatch("fetch", 10) == rows.work.dispatch("chunk", 10) == []
    assert {rows.state(this), rows.state(this, "transcribe")} == {State.DONE}


def test_an_adopted_feed_is_never_polled_until_it_has_an_address(store: SqlStore) -> None:
    this, _made = adopt(store, held())
    (feed,) = store.catalogue.feeds()
    assert (feed.url, feed.slug, feed.episodes) == (f"{ADOPTED}old", "old", 1)
    assert store.catalogue.due_feeds(10, 60) == []
    assert store.intake.archive_feed("old", FEED).id == feed.id
    (due,) = store.catalogue.due_feeds(10, 60)
    assert (due.id, due.url) == (feed.id, FEED)
    again, new = store.catalogue.add_feed(FEED)
    assert (again.id, new) == (feed.id, False)
    assert poll(store, feed.id, item("one"), item("two")) == 1
    episode = store.catalogue.episode(this)
    assert episode is not None
    assert (episode.url, episode.host, episode.feed_slug) == ("https://cdn.test/one.mp3", "cdn.test", "old")


def test_an_archive_goes_to_the_feed_that_is_followed_under_its_name(store: SqlStore) -> None:
    feed, _new = store.catalogue.add_feed(FEED)
    poll(store, feed.id, item("one"))
    assert store.intake.archive_feed("old-show", None).id == feed.id
    assert store.intake.archive_feed("other", FEED).id == feed.id
    with pytest.raises(Permanent, match="followed at"):
        store.intake.archive_feed("old-show", "https://elsewhere.test/b.xml")
    episode, made = store.intake.adopt(feed.id, held())
    assert made == ("fetch", "transcribe")
    assert [each.id for each in store.intake.page(0, 10)] == [episode.id]
    assert episode.url == "https://cdn.test/one.mp3"


@pytest.mark.parametrize("slug", ["direct", "../up", "a b", ""])
def test_odd_names_of_feeds_become_safe_ones(store: SqlStore, slug: str) -> None:
    feed = store.intake.archive_feed(slug, None)
    assert feed.slug not in (None, "", "../up", "a b")
    assert feed.id != "direct"


def test_a_folder_that_is_taken_stays_the_others(store: SqlStore) -> None:
    first, _made = adopt(store, held("one"))
    feed = store.intake.archive_feed("old", None)
    other, _made = store.intake.adopt(feed.id, Holding(item("two"), "one", AUDIO))
    assert other.id != first
    assert store.intake.in_folder(feed.id, "one").id == first  # type: ignore[union-attr]
    assert store.intake.in_folder(feed.id, "nowhere") is None


@pytest.mark.parametrize("state", ["waiting", "failed", "delayed"])
def test_open_and_failed_work_ends_with_what_is_there(store: SqlStore, rows: Rows, state: str) -> None:
    (this,) = rows.fetches(1, transcribe=True)
    if state != "waiting":
        rows.worker()
        lease = rows.claim(this)
        if state == "failed":
            rows.work.end(lease, State.FAILED, "404")
        else:
            rows.work.delay(lease, "503", 60)
    feed_id = store.catalogue.feeds()[0].id
    _episode, made = store.intake.adopt(feed_id, Holding(item("a-0"), "a-0", AUDIO, TEXT))
    recount(store)
    assert made == ("fetch", "transcribe")
    project(store, this)
    recount(store)
    assert {rows.state(this), rows.state(this, "transcribe")} == {State.DONE}


def test_audio_without_a_transcript_sets_a_waiting_transcription_free(store: SqlStore, rows: Rows) -> None:
    (this,) = rows.fetches(1, transcribe=True)
    feed_id = store.catalogue.feeds()[0].id
    assert store.intake.adopt(feed_id, Holding(item("a-0"), "a-0", AUDIO))[1] == ("fetch",)
    project(store, this)
    recount(store)
    rows.plan(this)
    assert rows.state(this, "transcribe") is State.WAITING


def test_what_runs_just_now_is_left_alone(store: SqlStore, rows: Rows) -> None:
    (this,) = rows.fetches(1)
    rows.worker()
    lease = rows.claim(this)
    feed_id = store.catalogue.feeds()[0].id
    assert store.intake.adopt(feed_id, Holding(item("a-0"), "a-0", AUDIO))[1] == ()
    rows.work.hand_back(lease)
    (other,) = rows.transcribes(1, feed="b")
    rows.claim(other, "transcribe", "g1")
    feed_b = store.catalogue.feeds()[1].id
    assert store.intake.adopt(feed_b, Holding(item("b-0"), "b-0", None, TEXT))[1] == ()
    recount(store)


def test_chunks_that_wait_are_not_decoded_any_more(store: SqlStore, rows: Rows) -> None:
    (this,) = rows.transcribes(1, chunks=3)
    feed_id = store.catalogue.feeds()[0].id
    assert store.intake.adopt(feed_id, Holding(item("a-0"), "a-0", None, TEXT))[1] == ("transcribe",)
    recount(store)
    assert rows.work.dispatch("chunk", 10) == []
    project(store, this)
    assert rows.state(this, "transcribe") is State.DONE
