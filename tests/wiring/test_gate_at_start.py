"""The host gate is opened for a stack that starts from nothing, and by nobody else (F5)."""

import uuid
from pathlib import Path

import pytest

from podinsight.adapters.redis_gate import RedisGate
from podinsight.domain.hosts import HostRule
from podinsight.supervisor.registry import Registry
from tests.support.stand_in_stack import StandInStack, kill, kill_supervisor_and_keeper, make_stack, replaced, wait_for
from tests.support.valkey import valkey


def gate_says(stack: StandInStack) -> str:
    """Empty when it grants, else why not."""
    gate = RedisGate(stack.settings.redis_url, stack.settings.gate_lease_seconds, stack.settings.gate_quiet_seconds)
    return gate.acquire("some.test", uuid.uuid4().hex, HostRule(1, 100.0)).reason


def test_a_stack_from_nothing_opens_the_host_gate_and_a_broker_that_died_does_not(fresh: StandInStack) -> None:
    """Nobody can hold a place at a host; later, workers may."""
    fresh.up()
    assert gate_says(fresh) == ""
    broker = fresh.pid("broker")
    kill(broker)
    wait_for(lambda: replaced(fresh, "broker", broker))
    wait_for(lambda: fresh.health()["broker"].ok)
    assert gate_says(fresh) == "recovering"
    fresh.down()
    fresh.up()
    assert gate_says(fresh) == ""


@pytest.mark.parametrize("lost", [False, True], ids=["run files are there", "run files are lost"])
def test_a_new_broker_does_not_open_the_gate_while_workers_live(fresh: StandInStack, lost: bool) -> None:
    fresh.up()
    workers = fresh.pids()["fetch"]
    kill_supervisor_and_keeper(fresh)
    kill(fresh.pid("broker"))
    if lost:
        kill(fresh.pid("flower"))  # these two leave no other trace
        kill(fresh.pid("beat"))
        Registry(fresh.settings.state_dir).clear()
    assert fresh.up().started
    assert fresh.pids()["fetch"] == workers
    assert gate_says(fresh) == "recovering"


def test_the_gate_on_a_broker_of_somebody_else_is_never_opened(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    with valkey(folder) as server:
        stack = make_stack(tmp_path / "state", redis_url=server.url)
        try:
            stack.up()
            assert gate_says(stack) == "recovering"
        finally:
            stack.down()
