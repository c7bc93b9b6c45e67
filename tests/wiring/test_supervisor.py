"""The supervisor, with stand-in processes: what dies is replaced, and what the database wants is there."""

import os
import time
from collections.abc import Iterator

import psutil
import pytest

from podinsight.services import in_force
from tests.support.stand_in_stack import STEADY, StandInStack, kill, log_of, make_stack, ready, replaced, wait_for


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInStack]:
    """One stack that the tests of this module hurt one after the other; each leaves it whole."""
    stack = make_stack(tmp_path_factory.mktemp("stack"))
    stack.up()
    yield stack
    stack.down()
    assert stack.processes() == []


def test_everything_is_healthy_after_up(running: StandInStack) -> None:
    assert {role: len(found) for role, found in running.pids().items()} == dict.fromkeys(
        ("supervisor", "keeper", *STEADY), 1
    )
    wait_for(lambda: all(check.ok for check in running.health().values()))
    assert list(running.health()) == [
        "supervisor",
        "keeper",
        "broker",
        "database",
        "control",
        "fetch",
        "plan",
        "gpu",
        "light",
        "guard",
        "beat",
        "flower",
    ]


def test_second_up_touches_nothing(running: StandInStack) -> None:
    before = running.pids()
    result = running.up()
    assert not result.started
    assert result.message == (
        f"already running (pid {before['supervisor'][0]}); `podrun status` shows it, `podrun down` stops it"
    )
    assert running.pids() == before


def test_every_child_is_a_session_of_its_own_and_a_child_of_the_supervisor(running: StandInStack) -> None:
    supervisor = running.pid("supervisor")
    for role in STEADY:
        pid = running.pid(role)
        assert os.getsid(pid) == pid
        assert psutil.Process(pid).ppid() == supervisor


def test_dead_worker_is_replaced_within_a_second_or_so_and_leaves_no_orphan(running: StandInStack) -> None:
    pid, (instance,) = running.pid("gpu"), ready(running, "gpu")
    (child,) = psutil.Process(pid).children()
    kill(pid)
    assert wait_for(lambda: replaced(running, "gpu", pid)) < 2.0
    wait_for(lambda: child not in running.processes())
    wait_for(lambda: len(ready(running, "gpu")) == 1 and ready(running, "gpu") != [instance])
    with running.store() as store:
        assert store.workers.heartbeat(instance) == "dead"


@pytest.mark.parametrize("role", ["broker", "beat", "flower"])
def test_dead_singleton_is_restarted(running: StandInStack, role: str) -> None:
    pid = running.pid(role)
    kill(pid)
    wait_for(lambda: replaced(running, role, pid))
    wait_for(lambda: running.health()[role].ok)


def test_killed_supervisor_is_started_again_and_adopts(running: StandInStack) -> None:
    before = running.pids()
    kill(before["supervisor"][0])
    wait_for(lambda: replaced(running, "supervisor", before["supervisor"][0]))
    pid = running.pid("gpu")
    wait_for(lambda: "adopted from an earlier supervisor" in log_of(running, "supervisor"))
    after = running.pids()
    assert {role: after[role] for role in (*STEADY, "keeper")} == {role: before[role] for role in (*STEADY, "keeper")}
    kill(pid)  # the new one watches what it adopted
    wait_for(lambda: replaced(running, "gpu", pid))
    wait_for(lambda: len(ready(running, "gpu")) == 1)


def test_killed_keeper_is_replaced_and_the_new_one_keeps_the_supervisor(running: StandInStack) -> None:
    before = running.pids()
    kill(before["keeper"][0])
    wait_for(lambda: replaced(running, "keeper", before["keeper"][0]))
    assert running.pid("supervisor") == before["supervisor"][0]
    kill(before["supervisor"][0])
    wait_for(lambda: replaced(running, "supervisor", before["supervisor"][0]))
    assert {role: running.pids()[role] for role in STEADY} == {role: before[role] for role in STEADY}


def test_a_stack_that_starts_says_which_stop_levels_it_holds(running: StandInStack) -> None:
    """G3, G7: before the scaler does, so that `podrun resume` takes no level of before the restart for it."""
    with running.store() as store:
        held = in_force.held(store, time.time(), 3600.0)
    assert held == {scope: most for scope, most in running.settings.limits().ceilings().items() if most is not None}
    assert held


def test_pools_follow_what_the_database_wants(running: StandInStack) -> None:
    kept = running.pid("fetch")
    with running.store() as store:
        store.workers.set_desired("fetch", 3)
        wait_for(lambda: len(ready(running, "fetch")) == 3)
        store.workers.set_desired("fetch", 1)
        wait_for(lambda: running.pids()["fetch"] == [kept])
        store.workers.set_desired("gpu", 0)
        wait_for(lambda: running.pids()["gpu"] == [] and ready(running, "gpu") == [])
        assert running.health()["gpu"].ok
        store.workers.set_desired("gpu", 1)
        wait_for(lambda: len(ready(running, "gpu")) == 1)
