"""`up` and `down`, with stand-in processes: whatever was left behind, whatever fails on the way."""

import os
import signal
import socket
import threading

import psutil
import pytest

from podinsight.errors import Unavailable
from podinsight.ports import StatusStore
from podinsight.supervisor import stack
from podinsight.supervisor.broker import PortInUse, port_taken
from podinsight.supervisor.checks import Check
from podinsight.supervisor.processes import created
from podinsight.supervisor.registry import Registry
from podinsight.topology import QUEUES
from tests.support.stand_in_child import BROKEN, STUBBORN
from tests.support.stand_in_stack import (
    STEADY,
    StandInCommands,
    StandInStack,
    kill,
    kill_supervisor_and_keeper,
    log_of,
    ready,
    wait_for,
)


def test_down_stops_everything_in_time_and_again_is_fine(fresh: StandInStack) -> None:
    fresh.up()
    result = fresh.down()
    assert {"supervisor", "keeper", "broker", "beat", "flower"} <= set(result.stopped)
    assert len(result.stopped) == len(STEADY) + 2
    assert result.seconds < fresh.settings.stop_seconds + 5
    assert fresh.processes() == []
    registry = Registry(fresh.settings.state_dir)
    assert not registry.processes_file.exists()
    assert not registry.keeper_file.exists()
    with fresh.store() as store:
        assert store.workers.list() == []
    assert fresh.down().stopped == ()


def test_sigterm_ends_everything_although_workers_are_stubborn_and_the_supervisor_is_killed_over_it(
    fresh: StandInStack,
) -> None:
    fresh.up({STUBBORN: "1"})
    supervisor = fresh.pid("supervisor")
    os.kill(supervisor, signal.SIGTERM)
    wait_for(lambda: log_of(fresh, "supervisor").count(" is stopped ") == len(QUEUES))
    kill(supervisor)
    took = wait_for(lambda: fresh.processes() == [], seconds=fresh.settings.stop_seconds + 10)
    assert took >= fresh.settings.stop_seconds
    assert "did not stop within 2 s: killed" in log_of(fresh, "supervisor")
    assert fresh.down().stopped == ()


def test_without_supervisor_and_keeper_the_rest_goes_on_until_up_adopts_it_or_down_stops_it(
    fresh: StandInStack,
) -> None:
    fresh.up()
    before = fresh.pids()
    orphan = psutil.Process(before["light"][0]).children()[0]
    kill_supervisor_and_keeper(fresh)
    assert {role: fresh.pids()[role] for role in STEADY} == {role: before[role] for role in STEADY}
    kill(before["light"][0])  # dies while nobody looks
    assert fresh.up().started
    after = fresh.pids()
    steady = [role for role in STEADY if role != "light"]
    assert {role: after[role] for role in steady} == {role: before[role] for role in steady}
    assert after["light"] != before["light"]
    wait_for(lambda: orphan not in fresh.processes())
    wait_for(lambda: len(ready(fresh, "light")) == 1)

    kill_supervisor_and_keeper(fresh)
    result = fresh.down()
    assert {"broker", "beat", "flower"} <= set(result.stopped)
    assert len(result.stopped) == len(STEADY)
    assert fresh.processes() == []
    with fresh.store() as store:
        assert store.workers.list() == []


@pytest.mark.parametrize("role", ["broker", "flower"])
def test_taken_port_is_named_and_nothing_is_started(fresh: StandInStack, role: str) -> None:
    port = getattr(fresh.settings, f"{role}_port")
    with socket.create_server(("127.0.0.1", port)):
        with pytest.raises(PortInUse, match=rf"port {port} is in use .*PODINSIGHT_{role.upper()}_PORT") as caught:
            fresh.up()
        assert caught.value.exit_code == 3
        assert fresh.processes() == []


@pytest.mark.parametrize(
    ("role", "text"),
    [
        ("keeper", "(?s)the supervisor ended while it started.*keeper is broken on purpose"),
        ("beat", "(?s)beat died 3 times in a row.*beat is broken on purpose"),
    ],
)
def test_up_that_fails_says_which_part_shows_its_log_and_stops_everything(
    fresh: StandInStack, role: str, text: str
) -> None:
    with pytest.raises(Unavailable, match=text):
        fresh.up({BROKEN: role})
    assert fresh.processes() == []


@pytest.mark.parametrize("sighted", ["nothing", "supervisor", "broker"])
def test_up_that_is_interrupted_stops_what_it_started(fresh: StandInStack, sighted: str) -> None:
    opened: list[StatusStore] = []

    def open_store() -> StatusStore:
        if not opened:
            opened.append(fresh.open_store())
            threading.Thread(target=interrupt).start()
        return fresh.open_store()

    def interrupt() -> None:
        wait_for(lambda: sighted == "nothing" or fresh.pids()[sighted])
        wait_for(fresh.processes)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        stack.up(fresh.settings, fresh.environ, commands=StandInCommands(fresh.settings), open_store=open_store)
    for store in opened:
        store.close()
    assert fresh.processes() == []


def test_health_of_a_stack_that_was_killed_counts_no_worker(fresh: StandInStack) -> None:
    fresh.up()
    pids = fresh.pids()
    kill_supervisor_and_keeper(fresh)
    assert fresh.health()["gpu"].ok  # it works on
    kill(pids["gpu"][0])
    wait_for(lambda: fresh.pids()["gpu"] == [])
    assert fresh.health()["gpu"] == Check("gpu", False, "0 of 1 ready")


def test_run_files_of_another_boot_do_no_harm(fresh: StandInStack) -> None:
    registry = Registry(fresh.settings.state_dir)
    fresh.settings.state_dir.joinpath("run").mkdir(parents=True)
    registry.processes_file.write_text(
        '{"boot": "long ago", "stopping": true, "processes": [{"name": "beat", "role": "beat", "argv": [],'
        f' "pid": {os.getpid()}, "create_time": {created(psutil.Process())}}}]}}'
    )
    registry.keeper_file.write_text("not json")
    assert fresh.up().started
    assert "gone: beat" in log_of(fresh, "supervisor")
    assert fresh.pid("beat") != os.getpid()


def test_lost_run_file_does_not_double_broker_or_workers(fresh: StandInStack) -> None:
    fresh.up()
    before = fresh.pids()
    kill_supervisor_and_keeper(fresh)
    kill(before["flower"][0])  # these two leave no other trace
    kill(before["beat"][0])
    wait_for(lambda: not port_taken(fresh.settings.flower_port))
    Registry(fresh.settings.state_dir).clear()
    assert fresh.up().started
    roles = ("broker", "fetch", "plan", "gpu", "light", "guard")
    assert {role: fresh.pids()[role] for role in roles} == {role: before[role] for role in roles}

    kill_supervisor_and_keeper(fresh)
    kill(fresh.pid("flower"))
    kill(fresh.pid("beat"))
    Registry(fresh.settings.state_dir).clear()
    assert "broker" in fresh.down().stopped
    assert fresh.processes() == []
