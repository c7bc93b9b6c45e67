"""podrun feeds, fetch, transcribe, retry, status and show on a small web."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from podinsight.domain.work import State
from tests.unit.cli.desk import Desk


@contextmanager
def working(desk: Desk) -> Iterator[None]:
    """A worker that takes what is published until the block ends."""
    desk.start_worker()
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(0.02):
            desk.work()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def states(desk: Desk) -> list[State]:
    ids = [episode.id for episode in desk.episodes()]
    return [state for state, _reason in desk.store.work.states("fetch", ids).values()]


# ---------------------------------------------------------------------------------------------------- feeds


def test_feeds_add_and_list(desk: Desk) -> None:
    url = desk.serve_feed("/a", "First Show", 3)
    result = desk.run("feeds", "add", url)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "First Show (first-show): 3 episodes\n"
    (feed,) = desk.json("feeds", "list")["feeds"]
    assert (feed["slug"], feed["title"], feed["episodes"], feed["error"]) == ("first-show", "First Show", 3, None)
    listed = desk.run("feeds", "list").stdout.splitlines()
    assert len(listed) == 2
    assert feed["id"] in listed[1]


def test_feeds_add_twice_polls_again(desk: Desk) -> None:
    url = desk.serve_feed("/a", "First Show", 2)
    desk.run("feeds", "add", url)
    desk.serve_feed("/a", "First Show", 3)
    (added,) = desk.json("feeds", "add", url)["feeds"]
    assert (added["known"], added["new_episodes"], added["episodes"]) == (True, 1, 3)
    assert "polled again" in desk.run("feeds", "add", url).stdout


@pytest.mark.parametrize(
    ("body", "mime"),
    [
        (b"<!doctype html><html><head><title>Hi</title></head><body>Hi</body></html>", "text/html"),
        (b"{not xml at all", "application/json"),
        (b"", "application/rss+xml"),
    ],
)
def test_feeds_add_what_is_no_feed(desk: Desk, body: bytes, mime: str) -> None:
    bad = desk.web.serve("/bad", body, mime=mime)
    good = desk.serve_feed("/good", "Good Show", 1)
    result = desk.run("feeds", "add", bad, good)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"podrun: {bad}: ")
    assert result.stderr.count("\n") == 1
    assert [feed.title for feed in desk.store.catalogue.feeds()] == ["Good Show"]


def test_feeds_add_of_a_wrong_url_is_wrong_use(desk: Desk) -> None:
    good = desk.serve_feed("/good", "Good Show", 1)
    result = desk.run("feeds", "add", "gopher://x.example/feed", "not a url", desk.web.url("/missing"), good, "--json")
    assert result.exit_code == 2
    assert result.stderr.count("podrun: ") == 3
    assert [("error" in each and bool(each["error"])) for each in json.loads(result.stdout)["feeds"]] == [
        True,
        True,
        True,
        False,
    ]
    assert len(desk.store.catalogue.feeds()) == 1


def test_a_known_feed_that_fails_stays(desk: Desk) -> None:
    url = desk.serve_feed("/a", "First Show", 2)
    desk.run("feeds", "add", url)
    desk.web.fail("/a.xml", 404)
    assert desk.run("feeds", "add", url).exit_code == 1
    assert desk.json("feeds", "list")["feeds"][0]["error"]


# ---------------------------------------------------------------------------------------------------- fetch


def test_fetch_dry_run_changes_nothing(desk: Desk) -> None:
    desk.run("feeds", "add", desk.serve_feed("/a", "First Show", 5))
    new_url = desk.web.url("/single.mp3")
    for words in (("--limit", "3"), ("--feed", "first-show"), (desk.episodes()[0].id, new_url)):
        assert desk.run("fetch", "--dry-run", *words).exit_code == 0
    said = desk.json("fetch", "--dry-run", "--limit", "3", "--transcribe", "--model", "tiny.en")
    assert said["fetch"] | {"declared_bytes": 0} == {
        "to_do": 3,
        "queued": 0,
        "done": 0,
        "failed": 0,
        "declared_bytes": 0,
        "declared_bytes_of": 0,
        "audio_seconds": 0.0,
        "audio_seconds_unknown": 3,
        "usd": 0.0,
    }
    assert (said["transcribe"]["to_do"], said["transcribe"]["quote"]["usd"]["high"]) == (3, 0.0)
    assert desk.store.work.counts() == []
    assert len(desk.episodes()) == 5


def test_fetch_without_a_worker_changes_nothing(desk: Desk) -> None:
    desk.run("feeds", "add", desk.serve_feed("/a", "First Show", 2))
    for words in ((), (desk.web.url("/single.mp3"),)):
        result = desk.run("fetch", *words)
        assert result.exit_code == 3
        assert result.stderr == "podrun: no fetch worker is up: start the stack with `make up` (or `podrun up`)\n"
    assert desk.store.work.counts() == []
    assert len(desk.episodes()) == 2


def test_fetch_no_wait_queues(desk: Desk) -> None:
    desk.run("feeds", "add", desk.serve_feed("/a", "First Show", 3))
    assert desk.json("fetch", "--no-wait", "--limit", "2")["fetch"] == 2
    assert states(desk) == [State.WAITING] * 2


def test_fetch_follows_to_the_end(desk: Desk) -> None:
    desk.run("feeds", "add", desk.serve_feed("/a", "First Show", 3, broken=1))
    with working(desk):
        result = desk.run("fetch")
        again = desk.run("fetch", "--limit", "2")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert sorted(line.split(":")[0] for line in lines[:3]) == [
        "failed first-show/guid-3",
        "fetched first-show/guid-1",
        "fetched first-show/guid-2",
    ]
    assert lines[3].startswith("fetched 2 episodes, 1 failed, ")
    assert "podrun retry --failed" in result.stdout
    assert again.exit_code == 0
    assert again.stdout.startswith("fetched 0 episodes, 0 failed, 2 there already")
    assert desk.web.hits("/a/1.mp3") == 1


def test_fetch_is_cumulative_and_tells_old_failures(desk: Desk) -> None:
    desk.run("feeds", "add", desk.serve_feed("/a", "First Show", 4, broken=1))
    with working(desk):
        documents = [_lines(desk.run("fetch", "--limit", limit, "--json").stdout)[-1] for limit in ("1", "3")]
        desk.run("fetch")
        last = desk.run("fetch")
    assert [(each["fetch"]["done"], each["fetch"]["already"]) for each in documents] == [(1, 0), (2, 1)]
    assert last.exit_code == 1
    assert last.stdout.startswith("failed first-show/guid-4: ")
    assert "from before" in last.stdout
    assert desk.web.hits("/a/4.mp3") == 1


def test_fetch_of_ids_and_urls(desk: Desk) -> None:
    desk.run("feeds", "add", desk.serve_feed("/a", "First Show", 3))
    second = desk.episodes()[1]
    with working(desk):
        result = desk.run("fetch", second.id, desk.web.url("/a/1.mp3"), second.id, "--json")
    assert result.exit_code == 0
    *episodes, summary = _lines(result.stdout)
    assert {each["feed_slug"] for each in episodes} == {"first-show", "direct"}
    assert summary["fetch"]["done"] == 2
    assert len(states(desk)) == 2


def test_fetch_while_paused_queues_and_sends_nothing(desk: Desk) -> None:
    desk.run("feeds", "add", desk.serve_feed("/a", "First Show", 1))
    desk.start_worker()
    desk.run("pause", "--by", "ada", "--why", "maintenance")
    assert desk.run("fetch", "--no-wait").exit_code == 0
    assert states(desk) == [State.WAITING]
    assert desk.queue.messages == []


def test_a_broker_that_is_away_leaves_the_work_queued(desk: Desk) -> None:
    desk.run("feeds", "add", desk.serve_feed("/a", "First Show", 1))
    desk.start_worker()
    desk.queue.down = True
    result = desk.run("fetch", "--no-wait")
    assert result.exit_code == 0
    assert "broker" in result.stderr
    assert states(desk) == [State.WAITING]


def test_retry_failed(desk: Desk) -> None:
    desk.run("feeds", "add", desk.serve_feed("/a", "First Show", 2, broken=1))
    with working(desk):
        desk.run("fetch")
    assert desk.json("retry", "--failed", "--stage", "transcribe") == {"retried": 0, "rows": []}
    assert desk.json("retry", "--failed", "--host", "other.example") == {"retried": 0, "rows": []}
    result = desk.run("retry", "--failed")
    assert result.exit_code == 0
    assert result.stdout.startswith("1 row starts over\n")
    assert desk.run("retry", "--failed").stdout == "nothing has failed\n"
    assert desk.run("retry", "--failed", "--host", "nosuch").stdout == "nothing failed at host nosuch\n"
    said = desk.run("retry", "--failed", "--host", "nosuch", "--stage", "fetch").stdout
    assert said == "nothing failed in fetch at host nosuch\n"


# ---------------------------------------------------------------------------------------------------- transcribe


def test_transcribe_takes_what_is_downloaded(desk: Desk) -> None:
    desk.run("feeds", "add", desk.serve_feed("/a", "First Show", 3))
    with working(desk):
        desk.run("fetch", "--limit", "2")
    said = desk.json("transcribe", "--dry-run", "--model", "tiny.en")["transcribe"]
    assert said["to_do"] == 2
    assert said["audio_seconds"] == pytest.approx(2.0, abs=0.3)
    assert said["quote"]["device_seconds"]["likely"] == pytest.approx(said["audio_seconds"] / 12)
    assert said["quote"]["basis"].startswith("tiny.en: 12 × real time is assumed")
    assert desk.run("transcribe", "--model", "tiny.en").exit_code == 3
    assert desk.json("transcribe", "--model", "tiny.en", "--no-wait", "--limit", "1")["transcribe"] == 1
    third = desk.episodes()[2].id
    for text in (third, desk.web.url("/never.mp3")):  # what it advises can be done
        result = desk.run("transcribe", "--model", "tiny.en", text)
        assert (result.exit_code, result.stderr) == (
            2,
            f"podrun: {text} is not downloaded: `podrun fetch --transcribe {text}`\n",
        )
        assert desk.run("fetch", "--dry-run", "--transcribe", "--model", "tiny.en", text).exit_code == 0


@pytest.mark.parametrize("words", [("transcribe",), ("fetch", "--transcribe")])
def test_an_unknown_model_is_wrong_use_and_queues_nothing(desk: Desk, words: tuple[str, ...]) -> None:
    desk.run("feeds", "add", desk.serve_feed("/a", "First Show", 1))
    result = desk.run(*words, "--model", "tinny.en", "--no-wait")
    assert result.exit_code == 2
    assert "tinny.en" in result.stderr
    assert desk.store.work.counts() == []


def test_fetch_and_transcribe_do_not_wait_for_what_failed_before(desk: Desk) -> None:
    desk.run("feeds", "add", desk.serve_feed("/a", "First Show", 1, broken=1))
    with working(desk):
        desk.start_worker("plan")
        desk.start_worker("gpu")
        desk.run("fetch")
        result = desk.run("fetch", "--transcribe", "--model", "tiny.en")
    assert result.exit_code == 1
    assert "transcribed 0 episodes" in result.stdout


# ---------------------------------------------------------------------------------------------------- status, show


def test_status_with_the_stack_down(desk: Desk) -> None:
    said = desk.json("status")
    assert said["control"]["mode"] == "running"
    assert said["workers"] == []
    assert said["slots"] == {"fetch": 0, "plan": 0, "gpu": 0, "light": 0, "guard": 0}
    assert said["waiting_for_approval"] == 0
    assert said["stages"]["fetch"] == {state.value: 0 for state in State}
    assert said["running"] == said["failed"] == said["refused"] == said["delayed"] == []
    assert "no worker is up" in desk.run("status").stdout


def test_status_counts_and_reasons(desk: Desk) -> None:
    desk.run("feeds", "add", desk.serve_feed("/a", "First \x1b[31mShow", 3, broken=1))
    with working(desk):
        desk.run("fetch")
        said = desk.json("status")
        text = desk.run("status").stdout
    assert (said["stages"]["fetch"]["done"], said["stages"]["fetch"]["failed"]) == (2, 1)
    (failed,) = said["failed"]
    assert "404" in failed["reason"]
    assert said["slots"]["fetch"] == 10
    assert failed["episode_id"] in text
    assert "404" in text
    assert "\x1b" not in text


def test_show(desk: Desk) -> None:
    desk.run("feeds", "add", desk.serve_feed("/a", "First Show", 2))
    first, second = desk.episodes()
    with working(desk):
        desk.run("fetch", first.id)
    said = desk.json("show", first.id)
    assert said["stages"] == {"fetch": {"state": "done", "reason": ""}}
    assert list(said["files"]) == [
        "raw/first-show/guid-1/audio/episode.mp3",
        "raw/first-show/guid-1/meta/meta.json",
    ]
    for path in said["files"].values():
        assert path in desk.run("show", first.id).stdout
    assert "not asked for" in desk.run("show", second.id).stdout
    assert desk.json("show", "first-show/guid-1") == said


def test_names_of_progress_lines_are_accepted(desk: Desk) -> None:
    desk.run("feeds", "add", desk.serve_feed("/a", "First Show", 2))
    with working(desk):
        assert desk.run("fetch", "first-show/guid-2").stdout.startswith("fetched first-show/guid-2: ")
        line = desk.run("fetch", desk.web.url("/a/1.mp3")).stdout
    direct = line.removeprefix("fetched ").partition(":")[0]
    assert direct.startswith("direct/")
    assert desk.json("show", direct)["stages"]["fetch"]["state"] == "done"
    assert desk.json("transcribe", "--dry-run", "--model", "tiny.en", "first-show/guid-2")["transcribe"]["to_do"] == 1
    for text in ("first-show/guid-3", "second-show/guid-2", "first-show/", "/guid-2"):
        assert desk.run("show", text).stderr == f"podrun: no episode {text!r}: `podrun episodes` lists them\n"


def test_episodes(desk: Desk) -> None:
    assert desk.run("episodes").stdout == "no episode is known yet: `podrun feeds add URL`\n"
    desk.run("feeds", "add", desk.serve_feed("/a", "First Show", 3, broken=1), desk.serve_feed("/b", "Other Show", 1))
    with working(desk):
        desk.run("fetch", "--feed", "first-show")
    rows = desk.json("episodes")["episodes"]
    assert [(row["id"], row["fetch"], row["transcribe"]) for row in rows] == [
        (episode.id, state, None)
        for episode, state in zip(desk.episodes(), ["done", "done", "failed", None], strict=True)
    ]
    assert [row["name"] for row in desk.json("episodes", "--limit", "2")["episodes"]] == [
        "first-show/guid-1",
        "first-show/guid-2",
    ]
    _head, line = desk.run("episodes", "--feed", "other-show").stdout.splitlines()
    assert line.split()[:2] == [rows[3]["id"], "other-show/guid-1"]


def _lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]
