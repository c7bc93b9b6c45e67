"""One episode's way through the house, in one process, on every database: feed in, transcript out."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from podinsight.adapters.av_probe import AvProbe
from podinsight.adapters.caption_files import CaptionFiles
from podinsight.adapters.database import SqlStore
from podinsight.adapters.door import OpenDoor
from podinsight.adapters.feedparser_feeds import FeedparserParser
from podinsight.adapters.memory import MemoryQueue
from podinsight.adapters.memory_cutter import ScriptedCutter
from podinsight.adapters.memory_speech import ScriptedTranscriber
from podinsight.adapters.obstore_objects import S3Options, open_objects
from podinsight.adapters.requests_fetcher import FetchPolicy, RequestsFetcher
from podinsight.cli.serve_folder import FolderServer
from podinsight.domain.work import State
from podinsight.errors import Permanent
from podinsight.ports import ObjectStore
from podinsight.services.dispatch import dispatch
from podinsight.services.fetch import FetchPorts, fetch_episode
from podinsight.services.lease import LeaseTimes
from podinsight.services.plan import PlanPorts, plan_episode
from podinsight.services.poll import PollPorts, poll_feed
from podinsight.services.publisher import PublisherPorts, collect
from podinsight.services.reconcile import reconcile
from podinsight.services.transcribe import TranscribePorts, take_publisher_transcript, transcribe_episode
from podinsight.topology import AREAS
from tests.support.clock import ManualClock
from tests.support.planning import plan
from tests.support.transcripts import PRICES

SAMPLES = Path(__file__).parents[2] / "samples"
POLICY = FetchPolicy(
    user_agent="PodInsight/test",
    allowed_hosts=frozenset({"127.0.0.1"}),
    connect_seconds=5,
    read_seconds=5,
    total_seconds=60,
    max_feed_bytes=10**6,
    max_audio_bytes=10**8,
)
CUT_SHORT = "WEBVTT\n\n00:00.550 --> 00:13.552\nWelcome to the show about podcasts, and that is all there is.\n"
TIMES = LeaseTimes(lease=90.0, renew=20.0, progress=600.0)


def test_a_feed_goes_in_and_readable_transcripts_come_out(store: SqlStore, clock: ManualClock, tmp_path: Path) -> None:
    objects = open_objects({area: f"file://{tmp_path}/objects/{area}" for area in AREAS}, S3Options())
    fetcher = RequestsFetcher(POLICY, OpenDoor())
    queue = MemoryQueue()
    store.workers.register("cpu", "here", "fetch", 1, 10)
    store.workers.register("ear", "here", "plan", 3, 1)
    store.workers.register("gpu", "here", "gpu", 2, 1)
    planning = PlanPorts(store, objects, ScriptedCutter(), 240.0)
    publisher = partial(collect, PublisherPorts(objects, CaptionFiles()))
    fetching = FetchPorts(store, objects, fetcher, AvProbe(), publisher=publisher)
    speaking = TranscribePorts(store, objects, ScriptedTranscriber(), CaptionFiles(), PRICES)

    with FolderServer(SAMPLES) as web:
        feed, new = store.catalogue.add_feed(web.url("feed.xml"))
        assert new
        assert poll_feed(PollPorts(store, fetcher, FeedparserParser(), clock), feed, 3600.0) == 3
        ids = [episode.id for episode in store.catalogue.first_episodes(None)]
        assert store.work.enqueue_fetch(ids, 5, {"model": "tiny.en"}, "test") == 3

        assert dispatch(store, queue) == 3
        for task, (episode_id,) in queue.take():
            assert task == "fetch_episode"
            fetch_episode(fetching, episode_id, "cpu", TIMES, lambda: False)
            assert fetch_episode(fetching, episode_id, "cpu", TIMES, lambda: False).endswith("nothing to claim")
        asked = list(web.requests)

    planned: list[str] = []
    seen: list[str] = []
    while dispatch(store, queue):
        for task, (episode_id,) in queue.take():
            if task == "plan_episode":
                plan_episode(planning, episode_id, "ear", TIMES, lambda: False)
                planned.append(episode_id)
            else:
                assert task == "transcribe_episode"
                transcribe_episode(speaking, episode_id, "gpu", TIMES, lambda: False)
                seen.append(episode_id)
    assert sorted(seen) == sorted(ids)
    assert len(planned) == 2, "what the publisher wrote needs no plan"
    assert len(asked) == 1 + 3 + 1, "the feed, each episode and the one publisher transcript, once each"
    assert {state for state, _ in store.work.states("transcribe", ids).values()} == {State.DONE}

    for episode in store.catalogue.episodes(ids):
        meta = json.loads(objects.get(episode.meta_key))
        assert meta["transcript_key"] == episode.transcript_key == f"{episode.stage}/transcripts/transcript.json"
        assert meta["audio_sha256"] == episode.audio_sha256
        transcript = json.loads(objects.get(str(episode.transcript_key)))
        assert transcript["episode"]["id"] == episode.id
        assert transcript["segments"]
        whose = "publisher" if episode.guid == "podinsight-sample-0001" else "whisper"
        assert (transcript["source"], meta["source"]) == (whose, whose)
        assert objects.exists(episode.plan_name) is (whose == "whisper")
        lines = objects.get(f"{episode.stage}/segments/segments.json").decode().splitlines()
        assert [json.loads(line)["text"] for line in lines] == [part["text"] for part in transcript["segments"]]
        assert objects.get(f"{episode.stage}/transcripts/transcript.vtt").startswith(b"WEBVTT")
        assert objects.get(f"{episode.stage}/transcripts/transcript.srt").startswith(b"1\n")
        assert json.loads(objects.get(f"{episode.stage}/kpis/kpis.json"))["audio_seconds"] > 10
    keys = [info.key for area in ("raw", "stage") for info in objects.list(area)]
    assert not [key for key in keys if set(key.split("/")) & {"attempts", "parts", "chunks"}], "tidied away"
    report = reconcile(store, objects, 60.0)
    assert (report.projected, report.faults) == (0, ())


@pytest.mark.parametrize(
    ("words", "source"), [((SAMPLES / "episode-1.vtt").read_text("utf-8"), "publisher"), (CUT_SHORT, "whisper")]
)
def test_a_publisher_transcript_spares_the_gpu_when_it_passes(
    store: SqlStore, clock: ManualClock, tmp_path: Path, words: str, source: str
) -> None:
    """F12: the fetch worker ends what the publisher has written; all else is left to the gpu worker."""
    objects = open_objects({area: f"file://{tmp_path}/objects/{area}" for area in AREAS}, S3Options())
    fetcher = RequestsFetcher(POLICY, OpenDoor())
    folder = tmp_path / "web"
    folder.mkdir()
    for name in ("feed.xml", "episode-1.mp3"):
        (folder / name).write_bytes((SAMPLES / name).read_bytes())
    (folder / "episode-1.vtt").write_text(words, "utf-8")
    store.workers.register("cpu", "here", "fetch", 1, 10)
    publisher = partial(collect, PublisherPorts(objects, CaptionFiles()))
    with FolderServer(folder) as web:
        feed, _ = store.catalogue.add_feed(web.url("feed.xml"))
        poll_feed(PollPorts(store, fetcher, FeedparserParser(), clock), feed, 3600.0)
        (chosen,) = [each for each in store.catalogue.first_episodes(None) if each.transcripts]
        store.work.enqueue_fetch([chosen.id], 5, {"model": "tiny.en"}, "test")
        fetching = FetchPorts(store, objects, fetcher, AvProbe(), publisher=publisher)
        fetch_episode(fetching, chosen.id, "cpu", TIMES, lambda: False)
        without_device = TranscribePorts(store, objects, None, CaptionFiles(), PRICES)
        take_publisher_transcript(without_device, chosen.id, "cpu", TIMES, lambda: False)

    taken = store.work.states("transcribe", [chosen.id])[chosen.id][0] is State.DONE
    assert taken is (source == "publisher")
    store.workers.register("gpu", "here", "gpu", 2, 1)
    queue = MemoryQueue()
    if not taken:
        plan(store, objects, chosen.id)
    assert dispatch(store, queue) == (0 if taken else 1), "what is done wakes nobody"
    speaking = replace(without_device, transcriber=ScriptedTranscriber())
    for _task, (episode_id,) in queue.take():
        transcribe_episode(speaking, episode_id, "gpu", TIMES, lambda: False)

    episode = store.catalogue.episode(chosen.id)
    assert episode is not None
    (received,) = episode.publisher
    assert received.accepted is taken
    assert bool(received.reason) is not taken
    assert objects.get(received.key).decode() == words, "kept in any case"
    transcript = json.loads(objects.get(str(episode.transcript_key)))
    meta = json.loads(objects.get(episode.meta_key))
    assert (transcript["source"], meta["source"]) == (source, source)
    assert ("Welcome to the show" in transcript["segments"][0]["text"]) is taken


def test_a_worker_that_dies_after_its_commit_leaves_a_projection_that_reconcile_finishes(
    store: SqlStore, clock: ManualClock, tmp_path: Path
) -> None:
    objects = open_objects({area: f"file://{tmp_path}/objects/{area}" for area in AREAS}, S3Options())
    fetcher = RequestsFetcher(POLICY, OpenDoor())
    store.workers.register("cpu", "here", "fetch", 1, 10)

    class DiesWhenPublishing:
        """The object store, from whose `copy` on the process is gone."""

        def __getattr__(self, name: str) -> object:
            if name == "copy":
                raise SystemExit(137)
            return getattr(objects, name)

    with FolderServer(SAMPLES) as web:
        feed, _ = store.catalogue.add_feed(web.url("feed.xml"))
        poll_feed(PollPorts(store, fetcher, FeedparserParser(), clock), feed, 3600.0)
        episode = store.catalogue.first_episodes(1)[0]
        store.work.enqueue_fetch([episode.id], 5, {"model": "tiny.en"}, "test")
        dying = FetchPorts(store, cast(ObjectStore, DiesWhenPublishing()), fetcher, AvProbe())
        with pytest.raises(SystemExit):
            fetch_episode(dying, episode.id, "cpu", TIMES, lambda: False)

    assert store.work.states("fetch", [episode.id])[episode.id] == (State.RUNNING, "publishing")
    assert store.work.states("transcribe", [episode.id])[episode.id][0] is State.HELD
    assert reconcile(store, objects, 60.0).projected == 1
    after = store.catalogue.episode(episode.id)
    assert after is not None
    assert after.audio_key is not None
    assert objects.size(after.audio_key) == after.audio_bytes
    assert store.work.states("fetch", [episode.id])[episode.id] == (State.DONE, "")
    assert store.work.states("transcribe", [episode.id])[episode.id] == (State.HELD, "waits for its plan")
    assert reconcile(store, objects, 60.0).projected == 0


def test_an_unknown_episode_is_a_clear_error(store: SqlStore, tmp_path: Path) -> None:
    objects = open_objects({area: f"file://{tmp_path}/objects/{area}" for area in AREAS}, S3Options())
    fetcher = RequestsFetcher(POLICY, OpenDoor())
    ports = FetchPorts(store, objects, fetcher, AvProbe())
    with pytest.raises(Permanent, match="no episode 'nope'"):
        fetch_episode(ports, "nope", "cpu", TIMES, lambda: False)
    with pytest.raises(Permanent, match="not an http or https URL"):
        fetch_episode(ports, "ftp://example.com/a.mp3", "cpu", TIMES, lambda: False)
    assert store.catalogue.first_episodes(None) == []
