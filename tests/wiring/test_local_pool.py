"""The gpu workers of this machine, with stand-in processes: they come with work and go, whoever decides (G6)."""

import json
import os
import signal
import stat
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

from podinsight.supervisor.checks import Check
from podinsight.supervisor.database_line import DatabaseLine
from tests.support.stand_in_child import STUBBORN
from tests.support.stand_in_stack import (
    StandInStack,
    kill,
    kill_supervisor_and_keeper,
    make_stack,
    ready,
    wait_for,
)


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
