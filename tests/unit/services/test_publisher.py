"""F12: publisher transcripts beside the audio, and in the place of the device."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from io import BytesIO
from typing import cast

import pytest

from podinsight.adapters.caption_files import CaptionFiles
from podinsight.adapters.database import SqlStore
from podinsight.adapters.memory_speech import BYTES_PER_SECOND, ScriptedTranscriber
from podinsight.adapters.obstore_objects import S3Options, open_objects
from podinsight.domain.episode import Episode
from podinsight.domain.feed import Document, FeedItem, ParsedFeed, TranscriptLink
from podinsight.domain.hosts import HostLimits
from podinsight.domain.publisher import Captions, Kind
from podinsight.domain.work import State
from podinsight.errors import Abandoned, Busy, LeaseLost, NotThere, Permanent, Transient, Unavailable
from podinsight.ports import Body, CaptionParser, Fetcher, MediaProbe, ObjectStore, Piece, Probe
from podinsight.services.fetch import FetchPorts, fetch_episode
from podinsight.services.lease import LeaseTimes
from podinsight.services.publisher import PublisherPorts, collect, publisher_part
from podinsight.services.reconcile import reconcile
from podinsight.services.transcribe import TranscribePorts, take_publisher_transcript, transcribe_episode
from podinsight.topology import AREAS
from tests.support.clock import ManualClock
from tests.support.databases import open_migrated
from tests.support.planning import plan
from tests.support.transcripts import PRICES

TIMES = LeaseTimes(90.0, 20.0, 600.0)
SECONDS = 60.0
AUDIO = b"sound" * int(SECONDS * BYTES_PER_SECOND / 5)
WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu"]
GOOD = json.dumps(
    {
        "version": "1.0.0",
        "segments": [
            {"speaker": "AB"[n % 2], "startTime": n * 5, "endTime": n * 5 + 5, "body": f"so {word}, again {word} it is"}
            for n, word in enumerate(WORDS)
        ],
    }
).encode()  # fmt: skip
SHORT = b"WEBVTT\n\n00:00.000 --> 00:10.000\nOnly the beginning of what was said in this long episode of ours.\n"
LINKS = (
    TranscriptLink("https://h.test/1.srt?token=secret", "application/srt", "en"),
    TranscriptLink("https://h.test/1.vtt?token=secret", "text/vtt", "en"),
    TranscriptLink("https://h.test/1.json?token=secret", "application/json", "en"),
    TranscriptLink("https://h.test/1.html", "text/html", "en"),
)
SRT, VTT, JSON, HTML = (link.url for link in LINKS)


@dataclass
class Web:
    """ports.Fetcher and MediaProbe of one audio and of each transcript URL's answer or error, or of several in turn."""

    answers: dict[str, bytes | Exception | list[bytes | Exception]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    received: Callable[[int], None] = lambda _bytes: None

    def metered(self, received: Callable[[int], None]) -> "Web":
        self.received = received
        return self

    def transcript(self, url: str, user_agent: str | None = None) -> Document:
        self.asked.append(url)
        answer = self.answers.get(url, NotThere("404", 404))
        if isinstance(answer, list):
            answer = answer.pop(0)
        if isinstance(answer, Exception):
            raise answer
        self.received(len(answer))
        return Document(url, BytesIO(answer))

    def audio(self, url: str, user_agent: str | None = None) -> AbstractContextManager[Body]:
        self.received(len(AUDIO))
        return nullcontext(Body(url, 200, len(AUDIO), "audio/mpeg", iter([Piece(0, AUDIO)])))

    def probe(self, stream: object) -> Probe:
        return Probe("mp3", "audio/mpeg", SECONDS)


@dataclass
class House:
    """The parts that a publisher's transcript goes through."""

    store: SqlStore
    objects: ObjectStore
    web: Web
    episode_id: str

    @property
    def episode(self) -> Episode:
        found = self.store.catalogue.episode(self.episode_id)
        assert found is not None
        return found

    def state(self, stage: str = "transcribe") -> State:
        return self.store.work.states(stage, [self.episode_id])[self.episode_id][0]

    @property
    def fetcher(self) -> Fetcher:
        return cast(Fetcher, self.web)

    def publisher_ports(self, use: bool = True) -> PublisherPorts:
        return PublisherPorts(self.objects, CaptionFiles(), use, self.web.slept.append)

    def enqueue(self, approved: str = "test", **params: object) -> None:
        self.store.work.enqueue_fetch([self.episode_id], 5, {"model": "tiny.en", **params}, approved)

    def plan(self) -> None:
        plan(self.store, self.objects, self.episode_id)

    def fetch(self, use: bool = True) -> None:
        ports = FetchPorts(
            self.store,
            self.objects,
            self.fetcher,
            cast(MediaProbe, self.web),
            publisher=partial(collect, self.publisher_ports(use)),
        )
        fetch_episode(ports, self.episode_id, "cpu", TIMES, lambda: False)

    def ports(self, captions: CaptionParser | None = None, device: bool = True) -> TranscribePorts:
        transcriber = ScriptedTranscriber() if device else None
        return TranscribePorts(self.store, self.objects, transcriber, captions or CaptionFiles(), PRICES)

    def take(self) -> str | None:
        """What the fetch worker does after its fetch."""
        return take_publisher_transcript(self.ports(device=False), self.episode_id, "cpu", TIMES, lambda: False)

    def decode(self) -> str:
        """What the gpu worker does."""
        return transcribe_episode(self.ports(), self.episode_id, "gpu", TIMES, lambda: False)

    def json(self, key: str) -> dict[str, object]:
        found = json.loads(self.objects.get(key))
        assert isinstance(found, dict)
        return found

    def transcript(self) -> dict[str, object]:
        return self.json(f"{self.episode.stage}/transcripts/transcript.json")

    def outputs(self) -> dict[str, bytes]:
        """Every result but kpis.json, which tells times."""
        keys = [info.key for info in self.objects.list(self.episode.stage)]
        return {key: self.objects.get(key) for key in keys if "/kpis/" not in key}


def make_house(clock: ManualClock) -> House:
    store = open_migrated("sqlite://", clock, HostLimits({}, 10), 30.0)
    feed, _ = store.catalogue.add_feed("https://h.test/feed")
    item = FeedItem("g", "t", "https://h.test/a.mp3", transcripts=LINKS)
    parsed = ParsedFeed("F", language="en", items=(item,))
    store.catalogue.record_poll(feed.id, Document(feed.url, BytesIO(b"")), parsed, 0.0)
    (episode,) = store.catalogue.first_episodes(None)
    store.workers.register("cpu", "here", "fetch", 1, 1)
    store.workers.register("gpu", "here", "gpu", 2, 1)
    return House(store, open_objects(dict.fromkeys(AREAS, "memory:///"), S3Options()), Web(), episode.id)


@pytest.fixture
def house(clock: ManualClock) -> Iterator[House]:
    made = make_house(clock)
    yield made
    made.store.close()


def test_an_accepted_one_ends_the_transcription_where_it_was_fetched(house: House) -> None:
    house.web.answers = {JSON: GOOD}
    house.enqueue()
    house.fetch()
    assert house.web.asked == [JSON], "the best one first, and no more when it is accepted"
    assert house.objects.get(house.episode.publisher_name(0, "json")) == GOOD
    assert house.take() == f"{house.episode_id}: transcribed"
    assert house.state() is State.DONE

    document = house.transcript()
    assert document["source"] == "publisher"
    assert document["publisher"] == {
        "url": "https://h.test/1.json?token=***", "type": "application/json", "language": "en"
    }  # fmt: skip
    assert (document["language"], document["duration"], document["model"]) == ("en", SECONDS, "publisher")
    assert document["speakers"] == ["A", "B"]
    kpis = house.json(f"{house.episode.stage}/kpis/kpis.json")
    assert (kpis["source"], kpis["device_seconds"], kpis["gpu_estimate_usd"]) == ("publisher", 0.0, 0.0)
    meta = house.json(house.episode.meta_key)
    assert (meta["source"], meta["transcript_key"]) == ("publisher", house.episode.transcript_key)
    assert b"secret" not in house.objects.get(house.episode.meta_key)
    assert not [info for info in house.objects.list(house.episode.raw) if "/attempts/" in info.key]
    assert house.decode().endswith("nothing to claim"), "a gpu worker that was told of it finds nothing"


def test_what_transcripts_bring_in_is_paid_for_with_the_audio(house: House) -> None:
    """G1: all that came, used or not."""
    house.web.answers = {JSON: [Transient("503"), SHORT], VTT: GOOD}
    house.enqueue()
    house.fetch()
    lines = house.store.purse.entries("0000", "9999", episode_id=house.episode_id)
    received = [line.entry.quantity for line in lines if (line.entry.stage, line.entry.service) == ("fetch", "nat")]
    assert received == [len(AUDIO) + len(SHORT) + len(GOOD)]


def test_what_does_not_pass_is_kept_aside_and_speech_is_decoded(house: House) -> None:
    house.web.answers = {JSON: b"<html>", VTT: SHORT, SRT: Transient("503")}
    house.enqueue()
    house.fetch()
    assert house.web.asked == [JSON, VTT, *[SRT] * 4], "HTML gives no times: it is not asked for"
    assert house.take() is None
    assert house.state() is State.HELD
    house.plan()
    house.decode()
    assert house.transcript()["source"] == "whisper"
    meta = house.json(house.episode.meta_key)
    assert meta["source"] == "whisper"
    kept = [(each.key.rpartition("/")[2], each.accepted, each.reason) for each in house.episode.publisher]
    assert kept[0][:2] == ("0.json", False)
    assert "HTML" in kept[0][2]
    assert kept[1] == ("1.vtt", False, "from its first to its last word it spans 17% of the audio")
    assert len(kept) == 2, "what did not come has no key"
    assert house.objects.get(house.episode.publisher[1].key) == SHORT


@pytest.mark.parametrize(
    "error",
    [Busy("cooling", 60.0), NotThere("404", 404), Transient("reset"), Permanent("too large"), Unavailable("no gate"),
     ZeroDivisionError("ours")],
)  # fmt: skip
def test_no_failure_of_a_transcript_fails_the_audio(house: House, error: Exception) -> None:
    house.web.answers = {JSON: error, VTT: error, SRT: GOOD}
    house.enqueue()
    house.fetch()
    assert house.state("fetch") is State.DONE
    (found,) = house.episode.publisher
    assert found.accepted
    assert found.key.endswith("/0.json"), "named for what it turned out to be"


@pytest.mark.parametrize(
    "error",
    [
        Busy("all places taken", 2.0),
        Busy("the gate recovers", 1.5),
        Transient("503", retry_after=5.0),
        Transient("reset"),
        Busy("now", 0.0),
    ],
)
def test_one_that_is_kept_from_us_for_a_moment_is_waited_for(house: House, error: Busy | Transient) -> None:
    house.web.answers = {JSON: [error, error, GOOD]}
    beats: list[int] = []
    (found,), _copies = collect(
        house.publisher_ports(),
        house.fetcher,
        house.episode,
        SECONDS,
        "raw/a/t-",
        lambda: beats.append(len(house.web.slept)),
    )
    assert found.accepted
    assert house.web.asked == [JSON] * 3
    asked = error.seconds if isinstance(error, Busy) else error.retry_after or 0.0
    assert sum(house.web.slept) >= max(2 * asked, 0.5)
    assert max(house.web.slept) <= 1.0
    assert set(range(len(house.web.slept) + 1)) <= set(beats), "a beat before each sleep and after the last"


def test_a_process_that_stops_does_not_wait_any_longer(house: House) -> None:
    house.web.answers = {JSON: Busy("cooling", 15.0)}

    def beat() -> None:
        if len(house.web.slept) == 2:
            raise Abandoned("stop")

    with pytest.raises(Abandoned):
        collect(house.publisher_ports(), house.fetcher, house.episode, SECONDS, "raw/a/t-", beat)
    assert house.web.asked == [JSON]


def test_what_is_away_for_longer_is_given_up_and_the_log_says_what_that_means(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    house.web.answers = {JSON: Busy("h.test is cooling", 60.0), VTT: Transient("503", retry_after=300.0), SRT: GOOD}
    assert collect(house.publisher_ports(), house.fetcher, house.episode, SECONDS, "raw/a/t-", lambda: None)[0][
        -1
    ].accepted
    assert house.web.asked == [JSON, VTT, SRT]
    assert house.web.slept == []
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING], "nothing is lost: one was found"

    house.web.answers |= {SRT: NotThere("404", 404)}
    collect(house.publisher_ports(), house.fetcher, house.episode, SECONDS, "raw/a/t-", lambda: None)
    (warning,) = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    assert house.episode_id in warning
    assert "decoded instead" in warning
    assert "h.test is cooling" in warning
    assert "secret" not in caplog.text


def test_what_is_not_there_is_asked_for_once_and_is_no_warning(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.web.answers = {JSON: Permanent("too large"), VTT: ZeroDivisionError("ours")}
    assert collect(house.publisher_ports(), house.fetcher, house.episode, SECONDS, "raw/a/t-", lambda: None) == ((), ())
    assert house.web.asked == [JSON, VTT, SRT]
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


def test_all_waits_of_an_episode_together_are_short(house: House) -> None:
    busy = Busy("busy", 3.9)
    house.web.answers = {JSON: busy, VTT: busy, SRT: busy}
    collect(house.publisher_ports(), house.fetcher, house.episode, SECONDS, "raw/a/t-", lambda: None)
    assert house.web.asked == [*[JSON] * 4, *[VTT] * 3, SRT], "three times again, and no more when 20 s are used up"
    assert sum(house.web.slept) <= 20.0


class OneByOne:
    """A parser that notices when a second file is parsed while the first is in its hands."""

    def __init__(self) -> None:
        self.inside, self.most, self.calls = 0, 0, 0

    def parse(self, data: bytes, promised: Kind) -> Captions:
        self.inside += 1
        self.calls += 1
        self.most = max(self.most, self.inside)
        threading.Event().wait(0.05)
        self.inside -= 1
        return CaptionFiles().parse(data, promised)


def test_files_are_judged_one_at_a_time_and_who_waits_beats(house: House) -> None:
    house.web.answers = {JSON: GOOD}
    parser = OneByOne()
    ports = replace(house.publisher_ports(), captions=parser)
    episode, beats = house.episode, [0] * 4

    def work(n: int) -> None:
        def beat() -> None:
            beats[n] += 1

        collect(ports, house.fetcher, episode, SECONDS, f"raw/a/{n}-", beat)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (parser.most, parser.calls) == (1, 4)


def test_a_stopping_process_does_not_wait_for_its_turn_to_judge(house: House) -> None:
    house.web.answers = {JSON: GOOD}
    ended = threading.Event()

    class Slow:
        def parse(self, data: bytes, promised: Kind) -> Captions:
            entered.set()
            assert ended.wait(10)
            return CaptionFiles().parse(data, promised)

    entered = threading.Event()
    slow = replace(house.publisher_ports(), captions=Slow())
    episode = house.episode
    first = threading.Thread(target=collect, args=(slow, house.fetcher, episode, SECONDS, "raw/a/1-", lambda: None))
    first.start()
    try:
        assert entered.wait(10)
        beats = iter([None, Abandoned("stop")])

        def beat() -> None:
            if (said := next(beats)) is not None:
                raise said

        with pytest.raises(Abandoned):
            collect(house.publisher_ports(), house.fetcher, episode, SECONDS, "raw/a/2-", beat)
        assert first.is_alive()
    finally:
        ended.set()
        first.join()


def test_one_that_cannot_be_judged_is_kept_aside(house: House) -> None:
    class Broken:
        def parse(self, data: bytes, promised: object) -> object:
            raise ZeroDivisionError("ours")

    house.web.answers = {JSON: GOOD}
    ports = replace(house.publisher_ports(), captions=cast(CaptionParser, Broken()))
    (found,), copies = collect(ports, house.fetcher, house.episode, SECONDS, "raw/a/t-", lambda: None)
    assert (found.accepted, found.reason) == (False, "it could not be judged (ZeroDivisionError)")
    assert copies == (("raw/a/t-transcript.0", found.key),)


@pytest.mark.parametrize("error", [Abandoned("stop"), LeaseLost("lost")])
def test_a_fetch_that_is_to_end_leaves_nothing_behind(house: House, error: Exception) -> None:
    house.web.answers = {JSON: SHORT, VTT: SHORT, SRT: SHORT}
    beats = iter([None, None, None, error])

    def beat() -> None:
        if (said := next(beats)) is not None:
            raise said

    with pytest.raises(type(error)):
        collect(house.publisher_ports(), house.fetcher, house.episode, SECONDS, "raw/a/t-", beat)
    assert len(house.web.asked) == 2
    assert list(house.objects.list("raw")) == []


def test_the_setting_keep_only_keeps(house: House) -> None:
    house.web.answers = {JSON: GOOD}
    house.enqueue()
    house.fetch(use=False)
    found = house.episode.publisher[0]
    assert (found.accepted, "publisher_transcripts" in found.reason) == (False, True)
    assert house.take() is None
    house.plan()
    house.decode()
    assert house.transcript()["source"] == "whisper"


@pytest.mark.parametrize("params", [{"publisher": False}, {"language": "de"}])
def test_a_row_that_asks_for_decoding_gets_it(house: House, params: dict[str, object]) -> None:
    house.web.answers = {JSON: GOOD}
    house.enqueue("test", **params)
    house.fetch()
    assert house.take() == f"{house.episode_id}: nothing to claim"
    assert house.state() is State.HELD
    house.plan()
    assert house.take() is None, "handed back"
    house.decode()
    assert house.transcript()["source"] == "whisper"


def test_nothing_is_taken_where_it_is_not_to_be_used(house: House) -> None:
    house.web.answers = {JSON: GOOD}
    house.enqueue()
    house.fetch()
    without = replace(house.ports(), captions=None)
    assert take_publisher_transcript(without, house.episode_id, "cpu", TIMES, lambda: False) is None
    transcribe_episode(without, house.episode_id, "gpu", TIMES, lambda: False)
    assert house.state() is State.HELD, "what is decoded has a plan"
    house.plan()
    transcribe_episode(without, house.episode_id, "gpu", TIMES, lambda: False)
    assert house.transcript()["source"] == "whisper"


def test_the_gpu_worker_takes_it_when_the_fetch_worker_died_before(house: House) -> None:
    house.web.answers = {JSON: GOOD}
    house.enqueue()
    house.fetch()
    assert house.decode() == f"{house.episode_id}: transcribed"
    assert house.transcript()["source"] == "publisher"


class Dies:
    """The rows of a process that is killed at one of its calls."""

    def __init__(self, store: SqlStore, where: str) -> None:
        self._store, self._where = store, where

    @property
    def work(self) -> object:
        return self

    def __getattr__(self, name: str) -> Callable[..., object]:
        if name == self._where:
            raise SystemExit(137)
        return cast(Callable[..., object], getattr(self._store.work, name, None) or getattr(self._store, name))


@pytest.mark.parametrize("where", ["commit_chunk", "parts", "commit_transcript", "unprojected"])
def test_a_kill_anywhere_changes_no_byte(house: House, clock: ManualClock, where: str) -> None:
    undisturbed = make_house(clock)
    for each in (house, undisturbed):
        each.web.answers = {JSON: GOOD}
        each.enqueue()
        each.fetch()
    undisturbed.take()
    dying = replace(house.ports(device=False), store=cast(SqlStore, Dies(house.store, where)))
    with pytest.raises(SystemExit):
        take_publisher_transcript(dying, house.episode_id, "cpu", TIMES, lambda: False)
    clock.advance(91.0)
    house.store.workers.heartbeat("gpu")
    reconcile(house.store, house.objects, 60.0)
    if house.state() is not State.DONE:
        house.decode()
    assert house.state() is State.DONE
    assert house.outputs() == undisturbed.outputs()
    undisturbed.store.close()


@pytest.mark.parametrize("approved", ["test", ""])
def test_a_transcript_that_is_gone_is_decoded_instead(house: House, approved: str) -> None:
    """It costs something now: whoever has not approved of that is asked."""
    house.web.answers = {JSON: GOOD}
    house.enqueue(approved)
    house.fetch()
    house.objects.delete([house.episode.publisher[0].key])
    assert house.take() == f"{house.episode_id}: chunk 0 has ended"
    assert house.state() is State.HELD
    assert house.store.work.waiting_for_approval() == ([] if approved else [house.episode_id])
    house.store.work.approve("somebody")
    house.plan()
    house.decode()
    assert house.transcript()["source"] == "whisper"


def test_an_object_store_that_is_away_is_waited_for(house: House) -> None:
    house.web.answers = {JSON: GOOD}
    house.enqueue()
    house.fetch()

    class Away:
        def get(self, key: str) -> bytes:
            raise Transient("away", ours=True)

    lease = house.store.work.claim("transcribe", house.episode_id, "gpu", 90.0)
    assert lease is not None
    assert lease.span is not None
    with pytest.raises(Transient):
        publisher_part(cast(ObjectStore, Away()), CaptionFiles(), house.episode, lease.params, lease.span)
