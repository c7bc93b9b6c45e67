"""Taking over an archive (F15)."""

import hashlib
import json
from collections.abc import Iterator, Mapping

import pytest

from podinsight.adapters.av_probe import AvProbe
from podinsight.adapters.database import SqlStore
from podinsight.adapters.obstore_objects import S3Options, open_objects
from podinsight.domain.episode import Episode
from podinsight.domain.feed import Document, FeedItem, ParsedFeed
from podinsight.domain.hosts import HostLimits
from podinsight.ports import ObjectStore
from podinsight.services.adopt import AdoptPorts, Event, Root, adopt
from podinsight.services.gates import Stage, check
from podinsight.services.manifest import pages
from tests.support.audio import tone
from tests.support.clock import ManualClock
from tests.support.databases import open_migrated

AUDIO = tone("mp3", 1.0)
SHA256 = hashlib.sha256(AUDIO).hexdigest()
FEED = "https://feeds.test/20vc.xml"
TRANSCRIPT = json.dumps({"model": "base", "segments": [{"start": 0, "end": 1, "text": "hi"}]}).encode()


@pytest.fixture
def store() -> Iterator[SqlStore]:
    opened = open_migrated("sqlite://", ManualClock(), HostLimits({}, 10), 30.0)
    yield opened
    opened.close()


@pytest.fixture
def objects() -> ObjectStore:
    return open_objects({"raw": "memory:///", "stage": "memory:///", "place": "memory:///"}, S3Options())


class House:
    """An archive in `place`, or in our own areas, and what is adopted of it."""

    def __init__(self, store: SqlStore, objects: ObjectStore, own: bool) -> None:
        self.store, self.objects, self.own = store, objects, own
        self.raw, self.stage = ("raw", "stage") if own else ("place/raw", "place/stage")

    def put(self, name: str, guid: str = "g-1", audio: bytes | None = AUDIO, **meta: object) -> None:
        """An episode of 20vc as the old pipeline left it."""
        base = f"{self.raw}/20vc/{name}"
        if audio is not None:
            self.objects.put(f"{base}/audio/20vc-episode.mp3", audio)
        self.objects.put(f"{base}/meta/meta.json", json.dumps({"guid": guid, "title": "An old one"} | meta).encode())

    def text(self, name: str, body: bytes = TRANSCRIPT) -> None:
        self.objects.put(f"{self.stage}/20vc/{name}/transcripts/transcript.json", body)
        self.objects.put(f"{self.stage}/20vc/{name}/transcripts/transcript.vtt", b"WEBVTT\n")

    def adopt(self, dry_run: bool = False, feeds: Mapping[str, str] | None = None) -> list[Event]:
        ports = AdoptPorts(self.store, self.objects, AvProbe())
        roots = [Root(self.objects, prefix, self.own) for prefix in (self.raw, self.stage)]
        return list(adopt(ports, roots, feeds, dry_run))

    def episodes(self) -> list[Episode]:
        return self.store.intake.page(0, 100)

    def keys(self, area: str) -> list[str]:
        return [info.key for info in self.objects.list(area)]


@pytest.fixture(params=["own", "elsewhere"])
def house(request: pytest.FixtureRequest, store: SqlStore, objects: ObjectStore) -> House:
    return House(store, objects, request.param == "own")


def test_audio_and_transcript_are_registered_and_nothing_is_left_to_do(house: House) -> None:
    house.put("g-1")
    house.text("g-1")
    assert [(e.kind, e.stages) for e in house.adopt()] == [("adopted", ("fetch", "transcribe"))]
    (episode,) = house.episodes()
    assert (episode.guid, episode.title, episode.feed_slug, episode.folder) == ("g-1", "An old one", "20vc", "g-1")
    assert (episode.audio_bytes, episode.audio_sha256, episode.audio_mime) == (len(AUDIO), SHA256, "audio/mpeg")
    assert episode.audio_seconds == pytest.approx(1.0, abs=0.2)
    name = "20vc-episode.mp3" if house.own else "episode.mp3"
    assert episode.audio_key == f"raw/20vc/g-1/audio/{name}"
    assert house.objects.get(episode.audio_key) == AUDIO
    assert episode.transcript_key == "stage/20vc/g-1/transcripts/transcript.json"
    assert house.objects.get(episode.transcript_key) == TRANSCRIPT
    assert house.objects.get("stage/20vc/g-1/transcripts/transcript.vtt") == b"WEBVTT\n"
    assert json.loads(house.objects.get(episode.meta_key))["transcript_key"] == episode.transcript_key
    assert not [key for area in ("raw", "stage") for key in house.keys(area) if "/attempts/" in key]
    assert house.store.work.enqueue_fetch([episode.id], 5, {"model": "base"}) == 0
    stages: tuple[Stage, ...] = ("fetch", "transcribe")
    for stage in stages:
        criteria = check(house.store, house.objects, stage, pages(house.store))
        assert [each.name for each in criteria if not each.green] == []


def test_saying_it_again_changes_nothing(house: House) -> None:
    house.put("g-1")
    house.adopt()
    before = house.episodes(), house.keys("raw")
    assert [event.kind for event in house.adopt()] == ["known"]
    assert (house.episodes(), house.keys("raw")) == before


def test_a_transcript_that_comes_later_is_added(house: House) -> None:
    house.put("g-1")
    house.adopt()
    house.text("g-1")
    assert [event.stages for event in house.adopt()] == [("transcribe",)]
    assert house.episodes()[0].transcript_key


def test_a_dry_run_changes_nothing(house: House) -> None:
    house.put("g-1", feed_url=FEED)
    house.text("g-1")
    before = house.keys("raw"), house.keys("stage")
    assert [(e.kind, e.stages) for e in house.adopt(dry_run=True)] == [("adopted", ("fetch", "transcribe"))]
    assert (house.keys("raw"), house.keys("stage")) == before
    assert (house.episodes(), house.store.catalogue.feeds()) == ([], [])


def test_a_meta_json_of_another_make_is_kept_beside_ours(house: House) -> None:
    house.put("g-1", mood="curious")
    house.adopt()
    kept = "raw/20vc/g-1/meta/adopted.json"
    assert house.objects.exists(kept) is house.own
    assert json.loads(house.objects.get("raw/20vc/g-1/meta/meta.json"))["schema"] == "podinsight/meta/1"
    where = kept if house.own else "place/raw/20vc/g-1/meta/meta.json"
    assert json.loads(house.objects.get(where))["mood"] == "curious"


def test_the_guid_of_meta_json_counts_and_a_poll_knows_it(house: House) -> None:
    """F10, F15: the real feed, polled later, brings no second episode."""
    house.put("some-folder", guid="https://20vc.test/?p=12", feed_url=FEED)
    house.adopt()
    (feed,) = house.store.catalogue.feeds()
    assert (feed.url, feed.slug) == (FEED, "20vc")
    item = FeedItem("http://20vc.test/?p=12", "A new title", "https://cdn.test/12.mp3")
    assert house.store.catalogue.record_poll(feed.id, Document(FEED, None), ParsedFeed("20VC", items=(item,)), 0) == 0
    (episode,) = house.episodes()
    assert (episode.title, episode.url, episode.folder) == ("A new title", "https://cdn.test/12.mp3", "some-folder")


def test_without_a_guid_the_folder_tells_the_episode_of_a_followed_feed(house: House) -> None:
    feed, _new = house.store.catalogue.add_feed(FEED)
    item = FeedItem("https://20vc.test/?p=12", "Twelve", "https://cdn.test/12.mp3")
    house.store.catalogue.record_poll(feed.id, Document(FEED, None), ParsedFeed("20vc", items=(item,)), 0)
    (known,) = house.episodes()
    house.objects.put(f"{house.raw}/20vc/{known.folder}/audio/x.mp3", AUDIO)
    assert [event.kind for event in house.adopt()] == ["adopted"]
    (episode,) = house.episodes()
    assert (episode.id, bool(episode.audio_key)) == (known.id, True)


def test_a_folder_can_be_given_to_a_feed(house: House) -> None:
    house.put("g-1")
    house.adopt(feeds={"20vc": FEED})
    (feed,) = house.store.catalogue.feeds()
    assert (feed.url, feed.slug, feed.episodes) == (FEED, "20vc", 1)
    assert house.adopt(feeds={"20vc": "https://other.test/b.xml"})[0].kind == "broken"


def test_broken_ones_are_told_and_the_others_are_adopted(house: House) -> None:
    house.put("a-empty", guid="a", audio=b"")
    house.put("b-text", guid="b", audio=b"<html>no audio</html>" * 50)
    house.put("c-short", guid="c", audio_bytes=5)
    house.put("d-other", guid="d", audio_sha256="0" * 64, audio_bytes=len(AUDIO) if not house.own else 4)
    house.put("e-json", guid="e")
    house.objects.put(f"{house.raw}/20vc/e-json/meta/meta.json", b"{nope")
    house.text("f-alone")
    house.put("g-words", guid="g")
    house.text("g-words", b"[")
    house.put("h-good", guid="h")
    events = {event.folder: event for event in house.adopt()}
    assert {name: event.kind for name, event in events.items()} == {
        "a-empty": "broken",
        "b-text": "broken",
        "c-short": "broken",
        "d-other": "broken",
        "e-json": "broken",
        "f-alone": "broken",
        "g-words": "broken",
        "h-good": "adopted",
    }
    assert all(event.reason for event in events.values() if event.kind == "broken")
    assert [episode.guid for episode in house.episodes()] == ["h"]
    assert not [key for area in ("raw", "stage") for key in house.keys(area) if "/attempts/" in key]


def test_names_cannot_leave_their_folder(store: SqlStore, objects: ObjectStore) -> None:
    """F11: what an archive calls things is not trusted."""
    house = House(store, objects, own=False)
    house.put("g 1 !", guid="../../../etc/passwd")
    objects.put("place/raw/Ünsafe Näme/x/audio/a.mp3", AUDIO)
    assert [event.kind for event in house.adopt()] == ["adopted", "adopted"]
    for episode in house.episodes():
        assert episode.audio_key is not None
        assert " " not in episode.audio_key
        assert ".." not in episode.audio_key
        assert objects.get(episode.audio_key) == AUDIO


def test_the_largest_audio_of_several_is_taken(house: House) -> None:
    house.put("g-1")
    house.objects.put(f"{house.raw}/20vc/g-1/audio/teaser.mp3", tone("mp3", 0.2))
    house.objects.put(f"{house.raw}/20vc/g-1/audio/.hidden.mp3", b"x" * 10**6)
    house.adopt()
    assert house.episodes()[0].audio_sha256 == SHA256


def test_what_meta_json_says_of_the_audio_is_believed_where_it_lies(store: SqlStore, objects: ObjectStore) -> None:
    house = House(store, objects, own=True)
    house.put("g-1", audio_bytes=len(AUDIO), audio_sha256=SHA256, audio_seconds=77.0)
    house.adopt()
    (episode,) = house.episodes()
    assert (episode.audio_sha256, episode.audio_seconds, episode.audio_mime) == (SHA256, 77.0, "audio/mpeg")


def test_episodes_of_one_address_stay_apart(house: House) -> None:
    """News are always the latest.mp3: the GUID tells them apart, and each has its own audio, title and date."""
    news = {f"g-{day}": tone("mp3", day / 5) for day in (1, 2)}
    for day, (guid, audio) in enumerate(news.items(), 1):
        said = {"url": "https://news.test/latest.mp3", "title": f"Day {day}", "published": f"2024-01-0{day}T06:00:00Z"}
        house.put(guid, guid, audio, **said)
    assert [event.kind for event in house.adopt()] == ["adopted", "adopted"]
    found = [(each.guid, each.title, each.published, each.audio_sha256) for each in house.episodes()]
    first = 1704088800.0
    assert found == [
        (guid, f"Day {n + 1}", first + n * 86_400, hashlib.sha256(audio).hexdigest())
        for n, (guid, audio) in enumerate(news.items())
    ]
