"""The embedded stack with real processes, in a folder of a test's own, on free ports, with times scaled down."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from podinsight import settings as settings_module
from podinsight.adapters.database import SqlStore
from podinsight.adapters.database.models import stage_runs
from podinsight.bootstrap import Container, build
from podinsight.domain.work import OPEN_STATES, State
from podinsight.services.dispatch import dispatch
from podinsight.services.poll import PollPorts, poll_feed
from podinsight.settings import Settings
from podinsight.supervisor import stack as supervised
from podinsight.topology import PRIORITIES

ROOT = Path(__file__).parents[2]
PODRUN = (sys.executable, "-m", "podinsight.cli.main")
QUICK = {
    "PODINSIGHT_FLEET": "fixed",  # the gpu workers are there from the start
    "PODINSIGHT_LEASE_SECONDS": "3",
    "PODINSIGHT_RENEW_SECONDS": "0.7",
    "PODINSIGHT_DISPATCH_EXPIRY_SECONDS": "3",
    "PODINSIGHT_HEARTBEAT_SECONDS": "0.5",
    "PODINSIGHT_WORKER_STALE_SECONDS": "3",
    "PODINSIGHT_DISPATCH_EVERY_SECONDS": "1",
    "PODINSIGHT_RECONCILE_EVERY_SECONDS": "1",
    "PODINSIGHT_STOP_SECONDS": "10",
    "PODINSIGHT_GATE_LEASE_SECONDS": "3",
    "PODINSIGHT_GATE_RENEW_SECONDS": "0.7",
}
QUICK_FLEET = {  # over those of QUICK: gpu workers come with work, and money is looked at all the time
    "PODINSIGHT_FLEET": "local",
    "PODINSIGHT_FLEET_START_SECONDS": "3",
    "PODINSIGHT_SCALE_EVERY_SECONDS": "1",
    "PODINSIGHT_SWEEP_EVERY_SECONDS": "1",
    "PODINSIGHT_STOP_SECONDS": "5",
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Returns as soon as `condition` holds; fails with `what` and nothing else after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.05)


@dataclass(frozen=True)
class Stack:
    """A running stack: its settings, its environment, and the container of the process that looks at it."""

    settings: Settings
    environ: dict[str, str]
    world: Container

    @property
    def store(self) -> SqlStore:
        assert isinstance(self.world.store, SqlStore)
        return self.world.store

    def add_feed(self, url: str) -> list[str]:
        """Adds and polls a feed; returns the ids of its episodes."""
        feed, _ = self.store.catalogue.add_feed(url)
        poll_feed(PollPorts(self.store, self.world.fetcher, self.world.parser, self.world.clock), feed, 3600.0)
        return [episode.id for episode in self.store.catalogue.first_episodes(None, feed.id)]

    def start(self, ids: list[str], transcribe: bool = True, model: str = "", priority: str = "medium") -> None:
        """model: that of the settings if not given."""
        params = {"model": model or self.settings.model} if transcribe else None
        self.store.work.enqueue_fetch(ids, PRIORITIES[priority], params, "test")
        dispatch(self.store, self.world.queue)

    def run(self, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Any command, in the environment of the stack and `more`; it has a minute."""
        return subprocess.run(
            command,
            env=self.environ | more,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )

    def podrun(self, *words: str) -> dict[str, Any]:
        """What a command of podrun says as JSON; fails when its exit code is not 0."""
        done = self.run(*PODRUN, *words, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def states(self, stage: str, ids: list[str]) -> list[State]:
        return [state for state, _reason in self.store.work.states(stage, ids).values()]

    def running(self, stage: str) -> bool:
        return any(view.stage == stage and view.worker for view in self.store.work.views(State.RUNNING, 50))

    def wait_ended(self, stage: str, ids: list[str], seconds: float) -> None:
        def ended() -> bool:
            states = self.states(stage, ids)
            return len(states) == len(ids) and not OPEN_STATES.intersection(states)

        wait_for(ended, seconds, f"all {stage} rows ended; {self.store.work.counts()}")

    def pids(self, role: str) -> list[int]:
        return supervised.pids(self.settings).get(role, [])

    def commits(self) -> dict[tuple[str, str, int], int]:
        """(episode, stage, chunk) → how often it was committed."""
        query = (
            select(stage_runs.c.episode_id, stage_runs.c.stage, stage_runs.c.n, func.count().label("times"))
            .where(stage_runs.c.outcome == "done")
            .group_by(stage_runs.c.episode_id, stage_runs.c.stage, stage_runs.c.n)
        )
        with self.store.db.read() as connection:
            return {(row.episode_id, row.stage, row.n): row.times for row in connection.execute(query)}

    def digests(self) -> dict[str, str]:
        """key → sha256 of every object but kpis.json, where alone what varies by run may live.

        What is in place is done; who put it there may still be tidying away what it was made from.
        """
        objects = self.world.objects

        def keys_now() -> list[str]:
            return [info.key for area in ("raw", "stage") for info in objects.list(area)]

        scratch = ("/attempts/", "/parts/", "/chunks/")
        wait_for(lambda: not any(each in key for key in keys_now() for each in scratch), 20, "scratch is tidied away")
        keys = keys_now()
        return {
            key: hashlib.sha256(objects.get(key)).hexdigest() for key in keys if not key.endswith("/kpis/kpis.json")
        }


def scratch_environ(folder: Path, **more: str) -> dict[str, str]:
    """An environment whose stack lives in `folder` on free ports and may fetch from loopback."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PODINSIGHT_")}
    return (
        kept
        | QUICK
        | {
            "PODINSIGHT_STATE_DIR": str(folder),
            "PODINSIGHT_BROKER_PORT": str(free_port()),
            "PODINSIGHT_FLOWER_PORT": str(free_port()),
            "PODINSIGHT_MODEL": "tiny.en",
            "PODINSIGHT_ALLOWED_HOSTS": "127.0.0.1",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        }
        | more
    )


@contextmanager
def running_stack(folder: Path, **more: str) -> Iterator[Stack]:
    """Brings a stack up and takes it down again, whatever happens in between."""
    environ = scratch_environ(folder, **more)
    settings = settings_module.load(environ)
    supervised.up(settings, environ)
    try:
        world = build(settings)
        yield Stack(settings, environ, world)
        world.store.close()
    finally:
        supervised.down(settings, environ)
