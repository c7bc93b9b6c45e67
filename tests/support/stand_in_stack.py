"""The embedded stack with small programs in the place of Celery: the same supervisor, keeper, broker and database.

Run as a program it is the supervisor or the keeper.
"""

import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from podinsight.adapters.clock import SystemClock
from podinsight.adapters.database import open_store
from podinsight.domain.hosts import HostLimits
from podinsight.ports import StatusStore
from podinsight.settings import Settings, load
from podinsight.supervisor import stack
from podinsight.supervisor.commands import StackCommands
from podinsight.supervisor.keeper import keep
from podinsight.supervisor.registry import Registry
from podinsight.supervisor.run import Supervisor
from podinsight.topology import QUEUES
from tests.support.stand_in_child import BROKEN

STEADY: Final = ("broker", "beat", "flower", *QUEUES)


@dataclass(frozen=True)
class StandInCommands:
    """Commands whose broker is the real one."""

    settings: Settings

    def broker(self) -> list[str]:
        return StackCommands(self.settings).broker()

    def beat(self) -> list[str]:
        return _child("beat")

    def flower(self) -> list[str]:
        return _child("flower", str(self.settings.flower_port))

    def worker(self, pool: str, instance: str) -> list[str]:
        return _child("worker", pool, instance)

    def supervisor(self) -> list[str]:
        return _myself("supervisor")

    def keeper(self, adopt: int | None) -> list[str]:
        return _myself("keeper", *([] if adopt is None else [str(adopt)]))


@dataclass(frozen=True)
class StandInStack:
    """One stack in a folder of its own, for one test."""

    settings: Settings
    environ: Mapping[str, str] = field(default_factory=dict)

    def up(self, environ: Mapping[str, str] | None = None, ready_seconds: float = 30.0) -> stack.UpResult:
        return stack.up(
            self.settings,
            {**self.environ, **(environ or {})},
            commands=StandInCommands(self.settings),
            open_store=self.open_store,
            ready_seconds=ready_seconds,
        )

    def down(self) -> stack.DownResult:
        return stack.down(
            self.settings, self.environ, commands=StandInCommands(self.settings), open_store=self.open_store
        )

    def health(self) -> dict[str, stack.Check]:
        return {check.name: check for check in stack.health(self.settings, self.open_store)}

    def pids(self) -> dict[str, list[int]]:
        return stack.pids(self.settings)

    def pid(self, role: str) -> int:
        (found,) = self.pids()[role]
        return found

    def open_store(self) -> StatusStore:
        return open_database(self.settings)

    @contextlib.contextmanager
    def store(self) -> Iterator[StatusStore]:
        store = self.open_store()
        try:
            yield store
        finally:
            store.close()

    def processes(self) -> list[psutil.Process]:
        """Every living process that was started for this stack, whoever its parent is."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                mine = process.environ().get("PODINSIGHT_STATE_DIR") == str(self.settings.state_dir)
                if mine and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found


def make_stack(folder: Path, **more: str) -> StandInStack:
    """A stack with one worker a pool, free ports and quick times; `more` are PODINSIGHT_* names without the prefix."""
    names = {
        "state_dir": str(folder.resolve()),
        "broker_port": str(free_port()),
        "flower_port": str(free_port()),
        "stop_seconds": "2",
        "heartbeat_seconds": "0.5",
        "worker_stale_seconds": "5",
        "fleet": "fixed",
        **more,
    }
    environ = {f"PODINSIGHT_{name.upper()}": value for name, value in names.items()}
    return StandInStack(load(environ), environ)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], object], seconds: float = 10.0) -> float:
    """Waits until `condition` is truthy; returns how long that took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not within {seconds} s"
        time.sleep(0.02)
    return time.monotonic() - began


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


def log_of(stack: StandInStack, role: str) -> str:
    return (stack.settings.state_dir / "logs" / f"{role}.log").read_text()


def open_database(settings: Settings) -> StatusStore:
    return open_store(settings.database_url, SystemClock(), HostLimits({}, 10), settings.worker_stale_seconds)


def _child(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tests.support.stand_in_child", *arguments]


def _myself(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tests.support.stand_in_stack", *arguments]


def main(role: str, *rest: str) -> int:
    """The supervisor or the keeper, with stand-in commands."""
    if os.environ.get(BROKEN) == role:
        raise SystemExit(f"{role} is broken on purpose")
    settings = load()
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(message)s")
    commands = StandInCommands(settings)
    if role == "supervisor":
        return Supervisor(settings, lambda: open_database(settings), commands).run()
    return keep(Registry(settings.state_dir), commands, os.environ, int(rest[0]) if rest else None)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
