"""Processes die while twelve episodes run: each ends transcribed exactly once, byte for byte as undisturbed."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from podinsight.domain.work import State
from tests.support.audio import unlike
from tests.support.feeds import rss
from tests.support.stack import Stack, running_stack, wait_for
from tests.support.webserver import WebServer

SAMPLES = Path(__file__).parents[2] / "samples"
EPISODES = 12


@pytest.fixture(scope="module")
def web() -> Iterator[WebServer]:
    """Twelve episodes from three recordings, slow enough to be killed in the middle of a download."""
    with WebServer() as server:
        items: list[tuple[str, str]] = []
        for index in range(EPISODES):
            sample = ("episode-1.mp3", "episode-2.mp3", "episode-3.m4a")[index % 3]
            path = f"/audio/{index}-{sample}"
            mime = "audio/mp4" if sample.endswith("m4a") else "audio/mpeg"
            server.serve(path, unlike((SAMPLES / sample).read_bytes(), path), mime=mime, rate=100_000)
            items.append((f"episode-{index}", server.url(path)))
        server.serve("/feed.xml", rss("Kills", items), mime="application/rss+xml")
        yield server


@pytest.fixture(scope="module")
def undisturbed(web: WebServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a run without any fault leaves in the object store."""
    with running_stack(tmp_path_factory.mktemp("calm")) as stack:
        ids = stack.add_feed(web.url("/feed.xml"))
        stack.start(ids)
        stack.wait_ended("transcribe", ids, 120)
        assert stack.states("transcribe", ids) == [State.DONE] * EPISODES
        return stack.digests()


def kill(stack: Stack, role: str) -> None:
    """`kill -9` of every main process of a role; waits until it is gone."""
    pids = stack.pids(role)
    assert pids, f"no {role} process to kill"
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.timeout(300)  # the undisturbed run before it is counted too
def test_twelve_episodes_survive_every_kill(web: WebServer, undisturbed: dict[str, str], tmp_path: Path) -> None:
    with running_stack(tmp_path / "state") as stack:
        ids = stack.add_feed(web.url("/feed.xml"))
        stack.start(ids)

        wait_for(lambda: stack.running("fetch"), 20, "a download runs")
        kill(stack, "fetch")
        wait_for(lambda: stack.running("plan"), 30, "an episode is planned")
        kill(stack, "plan")
        wait_for(lambda: stack.running("transcribe"), 30, "a transcription runs")
        kill(stack, "gpu")
        kill(stack, "beat")
        wait_for(lambda: stack.states("transcribe", ids).count(State.DONE) >= 3, 60, "three are done")
        redis.Redis.from_url(stack.settings.redis_url).flushall()
        wait_for(lambda: stack.running("transcribe"), 30, "a transcription runs again")
        kill(stack, "supervisor")
        kill(stack, "gpu")
        stack.wait_ended("transcribe", ids, 120)

        assert stack.states("transcribe", ids) == [State.DONE] * EPISODES
        assert set(stack.commits().values()) == {1}
        assert len(stack.commits()) == EPISODES * 4, "a fetch, a plan, a chunk and a join each"
        assert stack.digests() == undisturbed
