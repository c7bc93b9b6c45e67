"""A Spot machine is about to be taken away: real workers, and a metadata service that says so (T4, G9)."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from celery import Celery
from sqlalchemy import func, select

from podinsight.adapters.database.models import stage_runs
from podinsight.domain.work import State
from tests.support.feeds import rss
from tests.support.imds import MetadataService
from tests.support.long_audio import flac, strung
from tests.support.stack import Stack, running_stack, wait_for
from tests.support.webserver import WebServer

# No lease expires in these tests, and an episode has one chunk.
LONG_LEASE = {
    "PODINSIGHT_LEASE_SECONDS": "60",
    "PODINSIGHT_RENEW_SECONDS": "5",
    "PODINSIGHT_CHUNK_SECONDS": "600",
}


@contextmanager
def spot_machine(folder: Path) -> Iterator[tuple[Stack, MetadataService, WebServer]]:
    with MetadataService() as machine, WebServer() as web:
        spot = {"SPOT_WATCH": "on", "SPOT_URL": machine.url, "SPOT_POLL_SECONDS": "0.3"}
        more = LONG_LEASE | {f"PODINSIGHT_{name}": value for name, value in spot.items()}
        with running_stack(folder, **more) as stack:
            yield stack, machine, web


def begin(stack: Stack, web: WebServer, count: int, seconds: float) -> list[str]:
    """Waits until one of `count` episodes is being decoded and all are fetched."""
    web.serve("/a.flac", flac(strung(seconds, seed=0)[0]), mime="audio/flac")
    items = [(f"spot-{index}", f"{web.url('/a.flac')}?{index}") for index in range(count)]
    web.serve("/spot.xml", rss("spot", items), mime="application/rss+xml")
    ids = stack.add_feed(web.url("/spot.xml"))
    stack.start(ids)
    stack.wait_ended("fetch", ids, 60)
    wait_for(lambda: stack.running("transcribe"), 60, "a transcription runs")
    return ids


def outcomes(stack: Stack) -> Counter[str]:
    query = (
        select(stage_runs.c.outcome, func.count().label("n"))
        .where(stage_runs.c.stage == "transcribe")
        .group_by(stage_runs.c.outcome)
    )
    with stack.store.db.read() as connection:
        return Counter({row.outcome: row.n for row in connection.execute(query)})


def consumed(stack: Stack) -> set[str]:
    """The queues that any worker takes messages from now."""
    replies = Celery(broker=stack.settings.redis_url).control.inspect(timeout=1).active_queues() or {}
    assert any(name.startswith("light") for name in replies), "the workers answer"
    return {queue["name"] for queues in replies.values() for queue in queues}


def the_next_worker_waits(stack: Stack, machine: MetadataService, last: int) -> None:
    """The supervisor has started another one, which looks again and again and is neither ready nor restarted."""
    wait_for(lambda: set(stack.pids("gpu")) - {last}, 20, "another worker was started")
    pids = stack.pids("gpu")
    looked = len(machine.asked)
    wait_for(lambda: len(machine.asked) > looked + 20, 20, "the workers look for notices")
    assert stack.pids("gpu") == pids
    assert stack.store.workers.live_slots("gpu") == 0
    assert not stack.running("transcribe")


def test_a_stop_notice_hands_the_chunk_back_within_seconds(tmp_path: Path) -> None:
    with spot_machine(tmp_path / "state") as (stack, machine, web):
        ids = begin(stack, web, count=1, seconds=300)
        (main,) = stack.pids("gpu")
        machine.stop_in(120)
        told = time.monotonic()
        wait_for(lambda: main not in stack.pids("gpu") and not stack.running("transcribe"), 15, "it is handed back")
        print(f"handed back and gone {time.monotonic() - told:.1f} s after the notice")
        assert outcomes(stack) == {"handed back": 1}
        assert not stack.store.work.leftovers(time.time() + 1, 10), "no loss is charged"
        assert stack.states("transcribe", ids) == [State.WAITING]
        the_next_worker_waits(stack, machine, main)
        machine.withdraw()  # as a machine that comes back from hibernation sees it
        stack.wait_ended("transcribe", ids, 90)
        assert stack.states("transcribe", ids) == [State.DONE]
        assert set(stack.commits().values()) == {1}


def test_advice_to_rebalance_lets_the_chunk_end_and_takes_no_other(tmp_path: Path) -> None:
    with spot_machine(tmp_path / "state") as (stack, machine, web):
        ids = begin(stack, web, count=2, seconds=150)
        (main,) = stack.pids("gpu")
        machine.advise_rebalance()
        wait_for(lambda: stack.store.workers.live_slots("gpu") == 0, 10, "it drains")
        assert main in stack.pids("gpu")
        assert stack.running("transcribe"), "and still runs what it ran"
        wait_for(lambda: "gpu" not in consumed(stack), 10, "it takes no messages that another machine's could have")
        wait_for(lambda: main not in stack.pids("gpu"), 60, "it ends after the chunk")
        assert set(outcomes(stack)) == {"done"}, "nothing is handed back"
        assert Counter(state is State.DONE for state in stack.states("transcribe", ids)) == {True: 1, False: 1}
        stack.wait_ended("transcribe", ids, 90)  # by the next worker, which starts although the advice stands
        assert stack.states("transcribe", ids) == [State.DONE] * 2
        assert set(stack.commits().values()) == {1}


def test_a_stop_notice_after_the_advice_hands_the_chunk_back(tmp_path: Path) -> None:
    with spot_machine(tmp_path / "state") as (stack, machine, web):
        ids = begin(stack, web, count=1, seconds=300)
        (main,) = stack.pids("gpu")
        machine.advise_rebalance()
        wait_for(lambda: stack.store.workers.live_slots("gpu") == 0, 10, "it drains")
        assert stack.running("transcribe")
        machine.stop_in(120)
        wait_for(lambda: main not in stack.pids("gpu"), 15, "it is gone")
        assert outcomes(stack) == {"handed back": 1}
        assert stack.states("transcribe", ids) == [State.WAITING]
