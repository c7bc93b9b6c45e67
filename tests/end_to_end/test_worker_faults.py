"""A pool child alone is stopped, killed or frozen, and a whole worker is frozen: the work goes on by itself."""

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy import func, select

from podinsight.adapters.database.models import stage_runs
from podinsight.domain.work import State
from tests.support.audio import unlike
from tests.support.feeds import rss
from tests.support.stack import Stack, running_stack, wait_for
from tests.support.webserver import WebServer

MP3 = (Path(__file__).parents[2] / "samples" / "episode-1.mp3").read_bytes()
LONG_LEASE = {"PODINSIGHT_LEASE_SECONDS": "60", "PODINSIGHT_RENEW_SECONDS": "5"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Leases of a minute: whoever waits for one to expire is too slow for these tests."""
    with running_stack(tmp_path_factory.mktemp("state"), **LONG_LEASE) as running:
        yield running


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Leases of three seconds: to wait for one to expire is quick."""
    with running_stack(tmp_path_factory.mktemp("forgetful")) as running:
        yield running


def begin(stack: Stack, web: WebServer, name: str, count: int = 3) -> list[str]:
    """Enqueues `count` episodes and waits until the gpu child is in the middle of one."""
    items = []
    for index in range(count):
        web.serve(f"/{name}-{index}.mp3", unlike(MP3, f"{name}-{index}"), mime="audio/mpeg")
        items.append((f"{name}-{index}", web.url(f"/{name}-{index}.mp3")))
    web.serve(f"/{name}.xml", rss(name, items), mime="application/rss+xml")
    ids = stack.add_feed(web.url(f"/{name}.xml"))
    stack.start(ids)
    wait_for(lambda: stack.running("transcribe"), 60, "a transcription runs")
    return ids


def child_of(stack: Stack) -> psutil.Process:
    (main,) = stack.pids("gpu")
    (child,) = [each for each in psutil.Process(main).children() if "spawn_main" in " ".join(each.cmdline())]
    return child


def outcomes(stack: Stack, ids: list[str]) -> Counter[str]:
    query = (
        select(stage_runs.c.outcome, func.count().label("n"))
        .where(stage_runs.c.episode_id.in_(ids), stage_runs.c.stage == "transcribe")
        .group_by(stage_runs.c.outcome)
    )
    with stack.store.db.read() as connection:
        return Counter({row.outcome: row.n for row in connection.execute(query)})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_child_that_is_ended_alone_is_replaced_and_its_unit_comes_back_at_once(
    stack: Stack, number: signal.Signals
) -> None:
    with WebServer() as web:
        ids = begin(stack, web, f"child-{number.name.lower()}")
        (main,) = stack.pids("gpu")
        child = child_of(stack)
        os.kill(child.pid, number)
        stack.wait_ended("transcribe", ids, 40)
        assert stack.states("transcribe", ids) == [State.DONE] * len(ids)
        assert stack.pids("gpu") == [main], "the worker stays, its pool has a new child"
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
        assert outcomes(stack, ids)["handed back"] <= 1


@pytest.mark.parametrize("signal_to", [os.kill, os.killpg])
def test_a_worker_that_is_stopped_hands_back_within_seconds_and_nothing_is_charged(
    stack: Stack, signal_to: Callable[[int, int], None]
) -> None:
    """Told alone, or with its child at once."""
    with WebServer() as web:
        ids = begin(stack, web, f"stopped-by-{signal_to.__name__}")
        (main,) = stack.pids("gpu")
        signal_to(main, signal.SIGTERM)
        wait_for(lambda: main not in stack.pids("gpu"), 8, "the worker is gone")
        stack.wait_ended("transcribe", ids, 40)
        assert stack.states("transcribe", ids) == [State.DONE] * len(ids)
        assert set(stack.commits().values()) == {1}
        assert set(outcomes(stack, ids)) <= {"done", "handed back"}, "no loss"


def test_a_worker_that_was_frozen_past_its_lease_wakes_and_replaces_nothing(forgetful: Stack) -> None:
    stack = forgetful
    with WebServer() as web:
        ids = begin(stack, web, "frozen")
        (main,) = stack.pids("gpu")
        child = child_of(stack)
        for pid in (main, child.pid):
            os.kill(pid, signal.SIGSTOP)
        stack.store.workers.mark(next(each.id for each in stack.store.workers.list() if each.pid == main), "dead")
        wait_for(lambda: not stack.running("transcribe"), 20, "its lease has expired")
        for pid in (main, child.pid):
            os.kill(pid, signal.SIGCONT)
        wait_for(lambda: main not in stack.pids("gpu"), 20, "it learns that it counts as dead, and stops")
        stack.wait_ended("transcribe", ids, 60)
        assert stack.states("transcribe", ids) == [State.DONE] * len(ids)
        assert set(stack.commits().values()) == {1}


def test_a_child_that_hangs_in_a_native_call_is_ended_after_its_lease(forgetful: Stack) -> None:
    stack = forgetful
    with WebServer() as web:
        ids = begin(stack, web, "hung")
        child = child_of(stack)
        os.kill(child.pid, signal.SIGSTOP)  # as a call that holds the interpreter: no thread of it gets on
        stack.wait_ended("transcribe", ids, 60)
        assert stack.states("transcribe", ids) == [State.DONE] * len(ids)
        assert set(stack.commits().values()) == {1}


def test_a_fetch_from_a_silent_server_is_handed_back_when_its_worker_stops(stack: Stack) -> None:
    with WebServer() as web:
        web.serve("/silent.mp3", MP3, mime="audio/mpeg", rate=1)
        web.serve("/silent.xml", rss("silent", [("silent", web.url("/silent.mp3"))]), mime="application/rss+xml")
        ids = stack.add_feed(web.url("/silent.xml"))
        stack.start(ids, transcribe=False)
        wait_for(lambda: stack.running("fetch") and web.in_flight() == 1, 20, "the download hangs")
        (main,) = stack.pids("fetch")
        web.serve("/silent.mp3", MP3, mime="audio/mpeg")
        os.kill(main, signal.SIGTERM)
        wait_for(lambda: main not in stack.pids("fetch"), 5, "the worker is gone")
        stack.wait_ended("fetch", ids, 30)
        assert stack.states("fetch", ids) == [State.DONE]
        with stack.store.db.read() as connection:
            query = select(stage_runs.c.outcome).where(stage_runs.c.episode_id.in_(ids)).order_by(stage_runs.c.id)
            assert list(connection.execute(query).scalars()) == ["handed back", "done"]
