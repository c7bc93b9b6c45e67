"""The stack as people use it: celery call, Flower, up twice, a port in use, old state."""

import json
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from podinsight.domain.work import State
from podinsight.topology import QUEUES, TASKS
from tests.support.audio import unlike
from tests.support.feeds import rss
from tests.support.stack import PODRUN, ROOT, Stack, running_stack, wait_for
from tests.support.webserver import WebServer

MP3 = (ROOT / "samples" / "episode-1.mp3").read_bytes()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    quick_polls = {"PODINSIGHT_POLL_EVERY_SECONDS": "1", "PODINSIGHT_FEED_POLL_SECONDS": "1"}
    with running_stack(tmp_path_factory.mktemp("state"), **quick_polls) as running:
        yield running


def podrun(stack: Stack, *words: str) -> subprocess.CompletedProcess[str]:
    """As a person sees it."""
    return stack.run(*PODRUN, *words)


@pytest.mark.parametrize("with_app_option", [True, False])
def test_celery_call_fetches_an_audio_url(stack: Stack, with_app_option: bool) -> None:
    with WebServer() as web:
        web.serve(f"/{with_app_option}.mp3", unlike(MP3, str(with_app_option)), mime="audio/mpeg")
        url = web.url(f"/{with_app_option}.mp3")
        celery = [sys.executable, "-m", "celery"]
        words = ["call", "fetch_episode", "--args", json.dumps([url])]
        if with_app_option:
            done = stack.run(*celery, "-A", "workers", *words)
        else:
            done = stack.run(*celery, *words, APP="workers")
        assert done.returncode == 0, done.stderr

        def fetched() -> bool:
            return any(
                episode.url == url and episode.audio_key and episode.feed_slug == "direct"
                for episode in stack.store.catalogue.first_episodes(None)
            )

        wait_for(fetched, 20, f"{url} is fetched")
        assert web.hits(f"/{with_app_option}.mp3") == 1
        again = stack.run(*celery, "-A", "workers", *words)
        assert again.returncode == 0
        wait_for(
            lambda: "nothing to claim" in (stack.settings.state_dir / "logs" / "fetch.log").read_text(), 20, "told"
        )
        assert web.hits(f"/{with_app_option}.mp3") == 1


def test_flower_shows_workers_queues_and_tasks_by_their_plain_names(stack: Stack) -> None:
    def flower(path: str) -> str:
        url = f"http://127.0.0.1:{stack.settings.flower_port}{path}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.read().decode())

    def pools() -> set[str]:
        return {str(row["hostname"]).split("-")[0] for row in json.loads(flower("/workers?json=1"))["data"]}

    def tasks() -> set[str]:
        columns = "&columns%5B0%5D%5Bdata%5D=name&order%5B0%5D%5Bcolumn%5D=0&order%5B0%5D%5Bdir%5D=desc"
        found = json.loads(flower(f"/tasks/datatable?draw=1&start=0&length=100&search%5Bvalue%5D={columns}"))
        return {str(row["name"]) for row in found["data"]}

    wait_for(lambda: pools() == set(QUEUES), 30, f"a worker of each pool, not {pools()}")
    wait_for(lambda: {"reconcile", "dispatch"} <= tasks(), 30, f"beat's tasks, not {tasks()}")
    assert tasks() <= set(TASKS)
    wait_for(lambda: all(f"<td>{queue}</td>" in flower("/broker") for queue in QUEUES), 30, "each queue")


def test_beat_polls_a_feed_that_is_due_and_reads_only_what_changed(stack: Stack) -> None:
    with WebServer() as web:
        first = rss("Followed", [("one", "http://127.0.0.1:9/1.mp3")])
        web.serve("/feed.xml", first, mime="application/rss+xml", etag='"1"')
        feed, _ = stack.store.catalogue.add_feed(web.url("/feed.xml"))

        def episodes() -> int:
            return {each.id: each.episodes for each in stack.store.catalogue.feeds()}[feed.id]

        wait_for(lambda: episodes() == 1, 20, "beat's poll_feeds found the feed")
        wait_for(lambda: web.hits("/feed.xml") >= 2, 20, "it is polled again")
        asked = {name.lower(): value for name, value in web.requests("/feed.xml")[-1].headers.items()}
        assert asked["if-none-match"] == '"1"'
        second = rss("Followed", [("two", "http://127.0.0.1:9/2.mp3"), ("one", "http://127.0.0.1:9/1.mp3")])
        web.serve("/feed.xml", second, mime="application/rss+xml", etag='"2"')
        wait_for(lambda: episodes() == 2, 20, "the new episode is known")
        web.fail("/feed.xml", 404)
        wait_for(
            lambda: any("404" in (each.error or "") for each in stack.store.catalogue.feeds()), 20, "the fault is shown"
        )
        assert {"dispatch", "reconcile", "poll_feeds"} <= set(stack.store.control.ticks())


def test_a_second_up_harms_nothing(stack: Stack) -> None:
    before = {role: stack.pids(role) for role in ("broker", "fetch", "plan", "gpu", "light", "guard", "beat")}
    done = podrun(stack, "up")
    assert done.returncode == 0, done.stderr
    assert "already running" in done.stdout + done.stderr
    assert {role: stack.pids(role) for role in before} == before


def test_a_port_in_use_is_named_and_nothing_is_started(stack: Stack, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = stack.run(
            *PODRUN,
            "up",
            PODINSIGHT_STATE_DIR=str(tmp_path / "other"),
            PODINSIGHT_BROKER_PORT=port,
        )
    assert done.returncode == 3
    assert port in done.stderr
    assert "PODINSIGHT_BROKER_PORT" in done.stderr


def test_health_names_every_part(stack: Stack) -> None:
    done = podrun(stack, "health")
    assert done.returncode == 0, done.stdout
    for part in ("supervisor", "broker", "database", "fetch", "plan", "gpu", "light", "guard", "beat", "flower"):
        assert part in done.stdout.lower()


def test_fetch_and_transcribe_by_podrun_and_status_afterwards(stack: Stack) -> None:
    with WebServer() as web:
        web.serve("/one.mp3", MP3, mime="audio/mpeg")
        web.serve("/feed.xml", rss("By hand", [("one", web.url("/one.mp3"))]), mime="application/rss+xml")
        assert podrun(stack, "feeds", "add", web.url("/feed.xml")).returncode == 0
        fetched = podrun(stack, "fetch", "--feed", "by-hand")
        assert fetched.returncode == 0, fetched.stderr
        transcribed = podrun(stack, "transcribe", "--feed", "by-hand")
        assert transcribed.returncode == 0, transcribed.stderr
        (feed,) = [feed for feed in stack.store.catalogue.feeds() if feed.slug == "by-hand"]
        (episode,) = stack.store.catalogue.first_episodes(None, feed.id)
        assert stack.states("transcribe", [episode.id]) == [State.DONE]
        shown = podrun(stack, "show", episode.id)
        assert "podcast" in shown.stdout.lower()
        assert podrun(stack, "fetch", "--feed", "by-hand").returncode == 0
        assert web.hits("/one.mp3") == 1


def test_the_same_file_in_two_feeds_is_decoded_once(stack: Stack) -> None:
    """F10: both are transcribed, device seconds are paid for once, and the words are the same."""
    with WebServer() as web:
        ids: list[str] = []
        for name in ("here", "there"):
            web.serve(f"/{name}.mp3", unlike(MP3, "in two feeds"), mime="audio/mpeg")
            items = [(name, web.url(f"/{name}.mp3"))]
            web.serve(f"/{name}.xml", rss(name, items), mime="application/rss+xml")
            ids += stack.add_feed(web.url(f"/{name}.xml"))
        stack.start(ids)
        stack.wait_ended("transcribe", ids, 90)
    assert stack.states("transcribe", ids) == [State.DONE] * 2
    both = stack.store.catalogue.episodes(ids)
    kpis = [json.loads(stack.world.objects.get(f"{each.stage}/kpis/kpis.json")) for each in both]
    decoded, taken = sorted(kpis, key=lambda each: "same_as" in each)
    assert decoded["device_seconds"] > 0
    assert (taken["device_seconds"], taken["cost_usd"]) == (0.0, 0.0)
    assert taken["same_as"] in ids
    said = {stack.world.objects.get(f"{each.stage}/transcripts/transcript.vtt") for each in both}
    assert len(said) == 1


def test_a_worker_that_is_started_wrongly_says_why(stack: Stack) -> None:
    celery = [sys.executable, "-m", "celery", "-A", "workers", "worker"]
    wrong = (
        (["-Q", "gpu", "-P", "threads", "-c", "1"], "-P prefork"),
        (["-Q", "gpu", "-P", "prefork", "-c", "2"], "-c 1"),
        (["-Q", "fetch,gpu", "-P", "threads"], "exactly one"),
        (["-Q", "typo", "-P", "threads"], "typo"),
    )
    with ThreadPoolExecutor(len(wrong)) as threads:
        ended = list(threads.map(lambda each: stack.run(*celery, *each[0]), wrong))
    for (words, said), done in zip(wrong, ended, strict=True):
        assert done.returncode != 0
        assert said in done.stdout + done.stderr, (words, done.stdout[-300:], done.stderr[-300:])
