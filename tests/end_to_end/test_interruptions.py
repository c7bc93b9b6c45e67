"""A Spot machine is about to be taken away: real workers, and a metadata service that says so (T4, G9)."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from celery import Celery
from sqlalchemy import func, select

from podinsight.adapters.database.models import stage_runs
from podinsight.domain.work import OPEN_STATES, State
from tests.support.feeds import rss
from tests.support.imds import MetadataService
from tests.support.long_audio import flac, strung
from tests.support.spending import paid_to_the_end
from tests.support.stack import Stack, running_stack, wait_for
from tests.support.webserver import WebServer

# No lease expires in these tests. An episode of less than 300 s has one chunk. A millisecond costs a micro-dollar.
LONG_LEASE = {
    "PODINSIGHT_LEASE_SECONDS": "60",
    "PODINSIGHT_RENEW_SECONDS": "5",
    "PODINSIGHT_CHUNK_SECONDS": "200",
    "PODINSIGHT_CPU_HOUR_USD": "3.6",
}
CLOCK = 0.002  # seconds: the ledger has whole milliseconds


@dataclass(frozen=True)
class Spot:
    """A stack on a Spot machine, the machine's metadata service, and a web server to fetch from."""

    stack: Stack
    machine: MetadataService
    web: WebServer


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spot]:
    with MetadataService() as machine, WebServer() as web:
        watch = {"SPOT_WATCH": "on", "SPOT_URL": machine.url, "SPOT_POLL_SECONDS": "0.3"}
        more = LONG_LEASE | {f"PODINSIGHT_{name}": value for name, value in watch.items()}
        with running_stack(tmp_path_factory.mktemp("spot"), **more) as stack:
            yield Spot(stack, machine, web)


@pytest.fixture
def spot(started: Spot) -> Spot:
    """A machine that nobody takes away, whose worker is ready and has nothing to do."""
    stack = started.stack
    started.machine.withdraw()

    def is_idle() -> bool:
        rows = stack.store.work.counts()
        return not any(each.count for each in rows if each.stage == "transcribe" and each.state in OPEN_STATES)

    wait_for(is_idle, 90, "what the test before began has ended")
    wait_for(lambda: stack.store.workers.live_slots("gpu") == len(stack.pids("gpu")) == 1, 30, "one worker is ready")
    return started


def begin(spot: Spot, name: str, count: int, seconds: float) -> list[str]:
    """Waits until one of `count` episodes is being decoded and all are fetched."""
    stack, web = spot.stack, spot.web
    sound = strung(seconds, seed=0)[0]
    items = []
    for index in range(count):
        path = f"/{name}-{index}.flac"
        web.serve(path, flac(sound, title=path), mime="audio/flac")
        items.append((f"{name}-{index}", web.url(path)))
    web.serve(f"/{name}.xml", rss(name, items), mime="application/rss+xml")
    ids = stack.add_feed(web.url(f"/{name}.xml"))
    stack.start(ids)
    stack.wait_ended("fetch", ids, 60)
    wait_for(lambda: stack.running("transcribe"), 60, "a transcription runs")
    return ids


def outcomes(stack: Stack, ids: list[str]) -> Counter[str]:
    query = (
        select(stage_runs.c.outcome, func.count().label("n"))
        .where(stage_runs.c.stage == "transcribe", stage_runs.c.episode_id.in_(ids))
        .group_by(stage_runs.c.outcome)
    )
    with stack.store.db.read() as connection:
        return Counter({row.outcome: row.n for row in connection.execute(query)})


def gpu_leases(stack: Stack, episode_id: str) -> list[tuple[int, float]]:
    """Milliseconds and end of each lease on a chunk that the ledger knows."""
    lines = stack.store.purse.entries("0000-01-01", "9999-12-31", episode_id=episode_id)
    return [(line.entry.quantity, line.at) for line in lines if line.entry.service == "gpu"]


def decoders(stack: Stack, episode_id: str) -> list[tuple[str, float]]:
    """Who committed each chunk, and when."""
    query = select(stage_runs.c.worker, stage_runs.c.at).where(
        stage_runs.c.stage == "transcribe",
        stage_runs.c.episode_id == episode_id,
        stage_runs.c.outcome == "done",
        stage_runs.c.n >= 0,
    )
    with stack.store.db.read() as connection:
        return [(row.worker, row.at) for row in connection.execute(query.order_by(stage_runs.c.n))]


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


def test_scenario_18_a_stop_notice_hands_the_chunk_back_once_and_its_cost_ends_there(spot: Spot) -> None:
    """G9, T4: within seconds, in the second of two chunks. Another worker goes on from there: the first chunk is not
    decoded again, and the ledger has what was spent until the hand-back, and no more."""
    stack, machine = spot.stack, spot.machine
    ids = begin(spot, "stopped", count=1, seconds=320)
    first = ids[0], "transcribe", 0
    wait_for(lambda: first in stack.commits(), 60, "the first chunk is done")
    wait_for(lambda: stack.running("transcribe"), 20, "the second one runs")
    began = time.time()
    (main,) = stack.pids("gpu")
    machine.stop_in(120)
    told = time.time()
    wait_for(lambda: main not in stack.pids("gpu") and not stack.running("transcribe"), 15, "it is handed back")
    gone = time.time()
    print(f"handed back and gone {gone - told:.1f} s after the notice")
    assert outcomes(stack, ids) == {"done": 1, "handed back": 1}
    assert not stack.store.work.leftovers(time.time() + 1, 10), "no loss is charged"
    assert stack.states("transcribe", ids) == [State.WAITING]
    assert not stack.store.purse.unsettled(time.time() + 1, 10), "nothing is reserved for who has left"
    paid = gpu_leases(stack, ids[0])
    _, (part, settled) = paid
    ((_, committed),) = decoders(stack, ids[0])
    assert committed <= settled - part / 1000 + CLOCK <= began + 2 * CLOCK, "from its claim"
    assert told <= settled <= gone, "to its hand-back"
    the_next_worker_waits(stack, machine, main)
    machine.withdraw()  # as a machine that comes back from hibernation sees it
    stack.wait_ended("transcribe", ids, 90)
    assert stack.states("transcribe", ids) == [State.DONE]
    assert set(stack.commits().values()) == {1}
    assert outcomes(stack, ids) == {"done": 3, "handed back": 1}, "two chunks and a join"
    (before, _), (after, _) = decoders(stack, ids[0])
    assert before != after
    paid_to_the_end(stack.store)
    assert gpu_leases(stack, ids[0])[:-1] == paid, "one line more, and those two stay"
    log = (stack.settings.state_dir / "logs" / "gpu.log").read_text()
    (said,) = [line for line in log.splitlines() if f"transcribe_episode ['{ids[0]}']" in line]
    assert "INFO" in said
    assert "rejected" not in log
    assert "Traceback" not in log


def test_scenario_19_advice_to_rebalance_lets_the_chunk_end_and_takes_no_other(spot: Spot) -> None:
    """T4: the task finishes and nothing is handed back. (No extra machine: tests/unit/services/test_scale.py.)"""
    stack, machine = spot.stack, spot.machine
    ids = begin(spot, "advised", count=2, seconds=150)
    (main,) = stack.pids("gpu")
    machine.advise_rebalance()
    wait_for(lambda: stack.store.workers.live_slots("gpu") == 0, 10, "it drains")
    assert main in stack.pids("gpu")
    assert stack.running("transcribe"), "and still runs what it ran"
    wait_for(lambda: "gpu" not in consumed(stack), 10, "it takes no messages that another machine's could have")
    wait_for(lambda: main not in stack.pids("gpu"), 60, "it ends after the chunk")
    assert set(outcomes(stack, ids)) == {"done"}, "nothing is handed back"
    assert Counter(state is State.DONE for state in stack.states("transcribe", ids)) == {True: 1, False: 1}
    stack.wait_ended("transcribe", ids, 90)  # by the next worker, which starts although the advice stands
    assert stack.states("transcribe", ids) == [State.DONE] * 2
    assert set(stack.commits().values()) == {1}


def test_a_stop_notice_after_the_advice_hands_the_chunk_back(spot: Spot) -> None:
    stack, machine = spot.stack, spot.machine
    ids = begin(spot, "both", count=1, seconds=280)
    (main,) = stack.pids("gpu")
    machine.advise_rebalance()
    wait_for(lambda: stack.store.workers.live_slots("gpu") == 0, 10, "it drains")
    assert stack.running("transcribe")
    machine.stop_in(120)
    wait_for(lambda: main not in stack.pids("gpu"), 15, "it is gone")
    assert outcomes(stack, ids) == {"handed back": 1}
    assert stack.states("transcribe", ids) == [State.WAITING]
