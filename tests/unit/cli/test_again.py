"""podrun transcribe --again: what has ended is made anew (T1, T2), and a worse transcript replaces none unless told to
(T6)."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from podinsight.adapters.memory_speech import ScriptedTranscriber
from podinsight.domain.episode import Episode
from podinsight.domain.work import State
from podinsight.services.dispatch import dispatch
from podinsight.services.transcribe import TranscribePorts, transcribe_episode
from tests.support.audio import tone, unlike
from tests.support.planning import plan
from tests.support.transcripts import PRICES
from tests.unit.cli.desk import TIMES, Desk
from tests.unit.cli.test_approval import approvals, approved_by, params, rows, waiting

MODEL = ("--model", "tiny.en")
BETTER = {"source": "whisper", "model": "large-v3", "words": 10_000, "coverage": 1.0, "doubtful_share": 0.0}


def do(desk: Desk) -> None:
    """What beat and the workers make of what is waiting."""
    dispatch(desk.store, desk.queue)
    ports = TranscribePorts(desk.store, desk.world.objects, ScriptedTranscriber(), None, PRICES)
    for task, (episode_id,) in desk.queue.take():
        if task == "plan_episode":
            plan(desk.store, desk.world.objects, episode_id)
        elif task == "transcribe_episode":
            transcribe_episode(ports, episode_id, "gpu-1", TIMES, lambda: False)


@contextmanager
def deciphering(desk: Desk) -> Iterator[None]:
    """Workers of plan and gpu that take what is published until the block ends."""
    desk.start_worker("plan")
    desk.start_worker("gpu")
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(0.02):
            do(desk)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.fixture
def done(desk: Desk) -> Desk:
    """Two episodes are transcribed by tiny.en, a third is downloaded."""
    feed = desk.serve_feed("/a", "First Show", 3)
    for number in (1, 2, 3):
        desk.web.serve(f"/a/{number}.mp3", unlike(tone("mp3", 1.0), str(number)), mime="audio/mpeg")
    desk.run("feeds", "add", feed)
    desk.start_worker()
    for _ in range(2):
        desk.run("fetch", "--no-wait")
        desk.work()
    with deciphering(desk):
        assert desk.run("transcribe", "--limit", "2", *MODEL).exit_code == 0
    return desk


def files(desk: Desk, episode: Episode) -> dict[str, bytes]:
    objects = desk.world.objects
    keys = [info.key for info in objects.list(episode.stage)]
    return {key: objects.get(key) for key in keys if not key.endswith("kpis.json")}


def is_better_now(desk: Desk, episode: Episode) -> str:
    """What is there is said to be by a large model. Returns the key of its transcript."""
    desk.world.objects.put(f"{episode.stage}/kpis/kpis.json", json.dumps(BETTER).encode())
    assert episode.transcript_key is not None
    desk.world.objects.put(episode.transcript_key, b"{}")
    return episode.transcript_key


def test_wrong_use(done: Desk) -> None:
    """And nothing is changed by it."""
    before = rows(done)
    for words, said in (
        (("transcribe", "--replace", "--limit", "1"), "add --again"),
        (("transcribe", "--again"), "--again needs to know of which: name episodes, or give --limit, --feed or"),
        (("transcribe", "--again", "--replace", "--yes"), "--again needs to know of which"),
        (("fetch", "--transcribe", "--again", "--limit", "1"), "No such option"),
    ):
        result = done.run(*words)
        assert (result.exit_code, said in result.stderr) == (2, True), result.stderr
    assert rows(done) == before


def test_again_gives_the_same_and_replaces_it(done: Desk) -> None:
    first = done.episodes()[0]
    before = files(done, first)
    assert before
    with deciphering(done):
        result = done.run("transcribe", "--again", first.id, *MODEL)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "1 episode to transcribe again; what is there stays until that is done"
    assert "quote: 1 episode" in lines[1]
    assert "transcribed first-show/guid-1: 0:01, model tiny.en" in lines
    assert "transcribed 1 episode, 0 failed, 1 transcript replaced, " in result.stdout
    assert files(done, first) == before
    assert [row.episodes for row in approvals(done)] == [2, 1], "approved anew"


def test_without_again_nothing_is_done_twice(done: Desk) -> None:
    before = len(approvals(done))
    with deciphering(done):
        result = done.run("transcribe", "--limit", "2", *MODEL)
    assert "transcribed 0 episodes, 0 failed, 2 there already" in result.stdout
    assert len(approvals(done)) == before


def test_a_worse_one_is_not_taken_and_the_user_is_told(done: Desk) -> None:
    episode = done.episodes()[0]
    key = is_better_now(done, episode)
    with deciphering(done):
        result = done.run("transcribe", "--again", "first-show/guid-1", *MODEL)
        documents = [
            json.loads(line)
            for line in done.run("transcribe", "--again", episode.id, "--json", *MODEL).stdout.splitlines()
        ]
    assert result.exit_code == 0
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("kept ")]
    assert line.startswith("kept first-show/guid-1: the transcript that is there stays: the new one scores ")
    assert "1 better transcript kept" in result.stdout
    assert done.world.objects.get(key) == b"{}"
    assert (
        "transcribe  done: the transcript that is there stays: the new one scores"
        in done.run("show", episode.id).stdout
    )
    said = done.json("show", episode.id)["stages"]["transcribe"]
    assert (said["state"], "stays: the new one scores" in said["reason"]) == ("done", True)
    _quote, ended, summary = documents
    assert (ended["state"], ended["reason"]) == ("done", said["reason"])
    assert (summary["transcribe"]["kept"], summary["transcribe"]["replaced"]) == (1, 0)
    assert done.json("status")["stages"]["transcribe"]["done"] == 2


def test_a_worse_one_is_taken_when_told_to(done: Desk) -> None:
    episode = done.episodes()[0]
    key = is_better_now(done, episode)
    with deciphering(done):
        result = done.run("transcribe", "--again", "--replace", episode.id, *MODEL)
        assert "1 transcript replaced" in result.stdout
        assert json.loads(done.world.objects.get(key))["segments"]
        assert done.json("show", episode.id)["stages"]["transcribe"] == {"state": "done", "reason": ""}
        is_better_now(done, episode)
        assert "kept" in done.run("transcribe", "--again", episode.id, *MODEL).stdout, "told to once, not for ever"


def test_what_is_under_way_stays_as_it_is(done: Desk) -> None:
    """What waits, and what a command that was cut off has started over."""
    ids = [each.id for each in done.episodes()]
    assert done.json("transcribe", ids[2], *MODEL, "--no-wait")["transcribe"] == 1
    result = done.run("transcribe", "--again", "--limit", "2", *MODEL, "--words", "--no-wait")
    assert (result.exit_code, result.stderr) == (0, "")
    before = params(done)
    assert [each.get("words") for each in before] == [None, True, True]
    for words in (("--again", "--limit", "3"), ("--again", "--replace", *ids)):
        result = done.run("transcribe", *words, *MODEL, "--no-wait")
        assert result.exit_code == 0
        assert result.stderr == (
            "podrun: 3 transcriptions are under way already and stay: --again is for what has ended\n"
        )
        assert params(done) == before


def test_what_is_under_way_is_not_counted_among_what_is_asked_for(done: Desk) -> None:
    """One of three waits already: two are made anew."""
    third = done.episodes()[2].id
    assert (
        done.run("transcribe", third, *MODEL, "--no-wait")
        .stdout.splitlines()[-1]
        .startswith("transcribe: 1 episode queued; `podrun status`")
    )
    dry = done.run("transcribe", "--again", "--limit", "3", *MODEL, "--dry-run")
    assert "2 episodes to transcribe again" in dry.stdout
    assert "would transcribe 2 episodes; 1 is queued already; 0 transcribed already" in dry.stdout
    said = done.run("transcribe", "--again", "--limit", "3", *MODEL, "--no-wait")
    assert said.stderr == (
        "podrun: 1 transcription is under way already and stays as it is: --again is for what has ended\n"
    )
    assert "2 episodes to transcribe again" in said.stdout
    assert "transcribe: 2 episodes queued, 1 was before; `podrun status`" in said.stdout
    later = done.json("transcribe", "--again", "--limit", "3", *MODEL, "--no-wait")
    assert (later["transcribe"], later["again"], later["queued_before"]) == (0, 0, {"transcribe": 3})


def test_what_is_new_is_transcribed_as_ever(done: Desk) -> None:
    said = done.json("transcribe", "--again", "--feed", "first-show", *MODEL, "--no-wait")
    assert (said["transcribe"], said["again"], said["quote"]["episodes"]) == (3, 2, 3)
    assert [state for state, _reason in rows(done)] == [State.HELD] * 3


def test_a_dry_run_changes_nothing(done: Desk) -> None:
    before = rows(done)
    said = done.json("transcribe", "--again", "--limit", "2", "--dry-run", *MODEL)["transcribe"]
    assert (said["to_do"], said["again"], said["done"], said["quote"]["episodes"]) == (2, 2, 0, 2)
    assert rows(done) == before


def test_on_a_device_that_costs_something_it_waits_for_a_new_approval(done: Desk) -> None:
    """T2."""
    done.start_worker("gpu", "cuda")
    result = done.run("transcribe", "--again", "--limit", "2", *MODEL)
    assert result.exit_code == 4
    assert "2 transcriptions wait for approval" in result.stderr
    assert waiting(done) == 2
    assert rows(done) == [(State.HELD, "waits for approval")] * 2
    assert all(each.transcript_key for each in done.episodes()[:2])
    assert "words   decoded by Whisper, model tiny.en" in done.run("show", done.episodes()[0].id).stdout
    assert done.run("transcribe", "--again", "--limit", "2", *MODEL, answer="n\n").exit_code == 5
    assert done.run("approve", "--all", "--yes", "--by", "ada").exit_code == 0
    assert approved_by(done) == ["ada"] * 2


def test_what_failed_starts_over_by_the_model_that_is_asked_for(done: Desk) -> None:
    third = done.episodes()[2]
    done.run("transcribe", third.id, *MODEL, "--no-wait")
    plan(done.store, done.world.objects, third.id)
    lease = done.store.work.claim("transcribe", third.id, "gpu-1", 9.0)
    assert lease is not None
    done.store.work.end(lease, State.FAILED, "out of memory")
    assert done.run("transcribe", third.id, *MODEL, "--no-wait").exit_code == 0
    assert done.store.work.states("transcribe", [third.id])[third.id] == (State.FAILED, "out of memory")
    with deciphering(done):
        result = done.run("transcribe", "--again", third.id, *MODEL, "--language", "en")
    assert (result.exit_code, "transcribed first-show/guid-3" in result.stdout) == (0, True)
    assert params(done)[-1]["language"] == "en"
