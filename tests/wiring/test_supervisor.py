"""The supervisor with real processes, a real Valkey and a real SQLite database; Celery's processes are stand-ins."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

from podinsight.adapters.redis_gate import RedisGate
from podinsight.domain.hosts import HostRule
from podinsight.errors import Unavailable
from podinsight.ports import StatusStore
from podinsight.services import in_force
from podinsight.supervisor import stack
from podinsight.supervisor.broker import PortInUse, port_taken
from podinsight.supervisor.checks import Check
from podinsight.supervisor.database_line import DatabaseLine
from podinsight.supervisor.processes import created
from podinsight.supervisor.registry import Registry
from podinsight.topology import QUEUES
from tests.support.stand_in_child import BROKEN, STUBBORN
from tests.support.stand_in_stack import StandInCommands, StandInStack, make_stack, wait_for
from tests.support.valkey import valkey

STEADY = ("broker", "beat", "flower", "fetch", "plan", "gpu", "light", "guard")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInStack]:
    """One stack that the tests of this module hurt one after the other; each leaves it whole."""
    stack = make_stack(tmp_path_factory.mktemp("stack"))
    stack.up()
    yield stack
    stack.down()
    assert stack.processes() == []


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[StandInStack]:
    stack = make_stack(tmp_path / "state")
    yield stack
    stack.down()
    assert stack.processes() == []


def ready(stack: StandInStack, pool: str) -> list[str]:
    with stack.store() as store:
        return [view.id for view in store.workers.list() if view.pool == pool and view.state == "ready"]


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def kill_supervisor_and_keeper(stack: StandInStack) -> None:
    supervisor, keeper = stack.pid("supervisor"), stack.pid("keeper")
    kill(supervisor)  # first: it would replace the keeper at once, the keeper waits half a second
    kill(keeper)
    wait_for(lambda: stack.pids()["supervisor"] == stack.pids()["keeper"] == [])


def replaced(stack: StandInStack, role: str, pid: int) -> bool:
    found = stack.pids()[role]
    return len(found) == 1 and found != [pid]


def gate_says(stack: StandInStack) -> str:
    """Empty when it grants, else why not."""
    gate = RedisGate(stack.settings.redis_url, stack.settings.gate_lease_seconds, stack.settings.gate_quiet_seconds)
    return gate.acquire("some.test", uuid.uuid4().hex, HostRule(1, 100.0)).reason


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


def log_of(stack: StandInStack, role: str) -> str:
    return (stack.settings.state_dir / "logs" / f"{role}.log").read_text()


def test_gpu_workers_of_a_local_fleet_begin_at_none_whatever_was_left(tmp_path: Path) -> None:
    """G6: `up` does not wait for gpu workers; those that the database comes to want are started, at the next `up` none
    are."""
    local = make_stack(tmp_path / "state", fleet="local", gpu_workers="2")
    try:
        assert local.up().started
        assert local.pids()["gpu"] == []
        assert local.health()["gpu"] == Check("gpu", True, "0 of 0 ready (comes with work)")
        with local.store() as store:
            assert (store.workers.desired()["gpu"], "scale" in store.control.ticks()) == (0, True)
            store.workers.set_desired("gpu", 2)
        wait_for(lambda: len(ready(local, "gpu")) == 2)
        local.down()
        local.up()
        assert local.pids()["gpu"] == []
    finally:
        local.down()
    assert local.processes() == []


def test_scenario_11_a_supervisor_lets_idle_gpu_workers_go_when_nobody_decides_any_more(tmp_path: Path) -> None:
    """The second half: with the broker down `scale_fleet` cannot run. The line to the database that the supervisor
    reads says so, and thins the pool but for lease holders."""
    stack = make_stack(tmp_path / "state")
    with stack.store() as store:
        store.workers.set_desired("gpu", 2)
        store.workers.set_desired("fetch", 1)
        for name in ("gpu-1", "gpu-2"):
            store.workers.register(name, "here", "gpu", 1, 1, "cpu")
        line = DatabaseLine(stack.open_store, "here", decision_seconds=1.0)
        line.start()
        wait_for(lambda: line.desired == {"gpu": 2, "fetch": 1} and not line.undecided)
        wait_for(lambda: line.desired == {"gpu": 0, "fetch": 1})
        assert "nobody has decided" in line.undecided
        crowded = {"gpu": ("gpu-2", "gpu-1")}
        wait_for(lambda: line.spare(crowded) == ["gpu-2", "gpu-1"])
        store.control.tick("scale")
        wait_for(lambda: line.desired == {"gpu": 2, "fetch": 1} and not line.undecided)


def test_supervisors_of_two_machines_share_the_gpu_workers_out(tmp_path: Path) -> None:
    """G6: with two on one database no more gpu workers come than the budget allows, and those of a machine that is not
    heard of any more come on the other. Pools of a fixed size are each machine's own."""
    stack = make_stack(tmp_path / "state", worker_stale_seconds="2")
    with stack.store() as store:
        store.workers.set_desired("gpu", 3)
        store.workers.set_desired("fetch", 1)
        a, b, fixed = (DatabaseLine(stack.open_store, name, good) for name, good in (("a", 60), ("b", 60), ("c", None)))
        here, there = {"gpu": 2, "fetch": 1}, {"gpu": 1, "fetch": 1}

        def settled(*want: dict[str, int]) -> bool:
            for name in ("fetch-a", "fetch-b")[: len(want)]:
                store.workers.register(name, name[-1], "fetch", 1, 1)
            return [line.desired for line in (a, b)][: len(want)] == list(want)

        for line in (a, b, fixed):
            line.start()
        wait_for(lambda: settled(here, there))
        wait_for(lambda: fixed.desired == {"gpu": 3, "fetch": 1})
        store.workers.register("gpu-b", "b", "gpu", 1, 1)
        store.workers.set_desired("gpu", 1)
        wait_for(lambda: settled({"gpu": 0, "fetch": 1}, {"gpu": 1, "fetch": 1}))  # who is there stays
        store.workers.set_desired("gpu", 3)
        wait_for(lambda: settled({"gpu": 3, "fetch": 1}))  # nobody hears of b any more


def test_health_expects_this_machines_share_of_the_gpu_workers(tmp_path: Path) -> None:
    stack = make_stack(tmp_path / "state", fleet="local")
    with stack.store() as store:
        store.workers.set_desired("gpu", 1)
        assert stack.health()["gpu"].detail == "0 of 1 ready"
        store.workers.register("gpu-1", "elsewhere", "gpu", 1, 1)
        assert stack.health()["gpu"].detail == "0 of 0 ready (comes with work)"


def podrun(stack: StandInStack, *words: str) -> subprocess.Popen[str]:
    """The command line, as a person would call it for this stack."""
    command = [sys.executable, "-m", "podinsight.cli.main", *words, "--json"]
    return subprocess.Popen(command, env=os.environ | dict(stack.environ), stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("supervised", [True, False])
def test_scenarios_7_9_11_an_emergency_shutdown_that_was_killed_is_done_by_the_next_two_at_once(
    tmp_path: Path, supervised: bool
) -> None:
    """G9: `kill -9` after the freeze and before zero, while workers refuse to end; then two say it at the same moment.
    The second time there is neither a broker nor a supervisor: the shutdown ends the workers itself."""
    stack = make_stack(tmp_path / "state", gpu_workers="2", worker_stale_seconds="3")
    shutdown = ("emergency-shutdown", "--local", "--why", "drill", "--by")
    try:
        stack.up({STUBBORN: "1"})
        if not supervised:
            kill_supervisor_and_keeper(stack)
            kill(stack.pid("broker"))
        workers = stack.pids()["gpu"]
        with stack.store() as store:
            first = podrun(stack, *shutdown, "ada")
            wait_for(lambda: (pool := store.workers.pools().get("gpu")) and pool.kept, 30)
            first.kill()
            assert first.wait() == -signal.SIGKILL, "it was not through"
            kept = store.workers.pools()["gpu"].kept
            assert kept is not None
            assert set(stack.pids()["gpu"]) & set(workers), "nor were the workers"

            both = [podrun(stack, *shutdown, name) for name in ("bob", "eve")]
            told = [json.loads(each.communicate(timeout=60)[0]) for each in both]
            assert [each.returncode for each in both] == [0, 0]
            assert [row.by for row in store.control.history() if row.gpu_frozen] == ["ada"], "stopped once"
            assert store.workers.pools()["gpu"].kept == kept
        assert supervised or any(said["instances"] for said in told), "nobody else has ended them"
        for name, said in zip(("bob", "eve"), told, strict=True):
            path = Path(said.pop("evidence"))
            assert (path.parent, stat.S_IMODE(path.stat().st_mode)) == (stack.settings.state_dir / "evidence", 0o600)
            evidence = json.loads(path.read_text())
            assert evidence == said
            assert (evidence["by"], evidence["proven"], evidence["froze"]) == (name, True, False)
            assert evidence["snapshot"] == json.loads(json.dumps(asdict(kept)))
            assert [(each["is_clean"], each["instances"], each["left"]) for each in evidence["reads"][-2:]] == [
                (True, [], [])
            ] * 2
        assert stack.pids()["gpu"] == []
        assert not [pid for pid in workers if psutil.pid_exists(pid)]
        assert stack.up().started is not supervised
        assert stack.pids()["gpu"] == [], "it stays shut over a restart"
    finally:
        stack.down()
    assert stack.processes() == []
