"""The JobQueue port: the one in memory, and Celery on a real Valkey."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from podinsight.adapters.celery_queue import CeleryQueue
from podinsight.adapters.memory import MemoryQueue
from podinsight.errors import Unavailable
from podinsight.topology import TASKS
from tests.support.stack import free_port
from tests.support.valkey import Valkey, valkey

EXPIRES = 60.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Valkey]:
    with valkey(tmp_path) as running:
        yield running


def messages(server: Valkey, queue: str) -> list[dict[str, object]]:
    return [json.loads(raw) for raw in server.client().lrange(queue, 0, -1)]


def test_in_memory_it_remembers_and_can_be_down() -> None:
    queue = MemoryQueue()
    queue.publish("fetch_episode", ["e1"])
    assert queue.take() == [("fetch_episode", ("e1",))]
    queue.down = True
    with pytest.raises(Unavailable, match="fetch_episode"):
        queue.publish("fetch_episode", ["e1"])
    assert queue.take() == []


def test_each_task_goes_to_its_queue_as_plain_json_and_expires(server: Valkey) -> None:
    queue = CeleryQueue(server.url, EXPIRES)
    for task in TASKS.values():
        before = len(messages(server, task.queue))
        queue.publish(task.name, ["e1"])
        sent = messages(server, task.queue)
        assert len(sent) == before + 1
        headers = sent[0]["headers"]
        assert isinstance(headers, dict)
        assert headers["task"] == task.name
        assert headers["expires"] is not None
        assert sent[0]["content-type"] == "application/json"


def test_an_emptied_broker_still_takes_messages(server: Valkey) -> None:
    queue = CeleryQueue(server.url, EXPIRES)
    queue.publish("fetch_episode", ["e1"])
    server.client().flushall()
    queue.publish("fetch_episode", ["e2"])
    assert len(messages(server, "fetch")) == 1


def test_a_broker_that_is_away_or_frozen_is_an_error_within_ten_seconds(server: Valkey) -> None:
    away = CeleryQueue(f"redis://127.0.0.1:{free_port()}/0", EXPIRES)
    frozen = CeleryQueue(server.url, EXPIRES)
    frozen.publish("fetch_episode", ["e1"])
    server.process.send_signal(signal.SIGSTOP)
    try:
        for queue in (away, frozen):
            started = time.monotonic()
            with pytest.raises(Unavailable, match="the broker did not take"):
                queue.publish("fetch_episode", ["e2"])
            assert time.monotonic() - started < 10
    finally:
        server.process.send_signal(signal.SIGCONT)
    frozen.publish("fetch_episode", ["e3"])


def test_a_broker_that_is_full_is_an_error(server: Valkey) -> None:
    queue = CeleryQueue(server.url, EXPIRES)
    queue.publish("fetch_episode", ["e1"])
    server.client().config_set("maxmemory", "1")
    with pytest.raises(Unavailable):
        queue.publish("fetch_episode", ["e2"])
