"""The command lines and the environment of every process of the embedded stack."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import podinsight
from podinsight.settings import CONFIG, Settings
from podinsight.settings_sources import variable
from podinsight.supervisor.broker import server_command
from podinsight.topology import QUEUES

# Where the packages `podinsight` and `workers` lie, so that `-m podinsight.supervisor` and `-A workers` resolve.
PROJECT_ROOT = Path(podinsight.__file__).resolve().parent.parent
_SHOWN_SECONDS = 600  # how long Flower lists a worker that is gone: gpu workers come and go all day


class Commands(Protocol):
    """What the supervisor runs; tests put small programs in the place of Celery."""

    def broker(self) -> list[str]: ...
    def beat(self) -> list[str]: ...
    def flower(self) -> list[str]: ...
    def worker(self, pool: str, instance: str) -> list[str]: ...
    def supervisor(self) -> list[str]: ...
    def keeper(self, adopt: int | None) -> list[str]: ...


@dataclass(frozen=True)
class StackCommands:
    """The real ones."""

    settings: Settings

    def broker(self) -> list[str]:
        return server_command(self.settings.state_dir, self.settings.broker_port)

    def beat(self) -> list[str]:
        return [
            *_celery("beat"),
            "--scheduler",
            "celery.beat:Scheduler",
            "--pidfile=",
            "--loglevel",
            self.settings.log_level,
        ]

    def flower(self) -> list[str]:
        return [
            *_celery("flower"),
            "--address=127.0.0.1",
            f"--port={self.settings.flower_port}",
            f"--purge_offline_workers={_SHOWN_SECONDS}",
        ]

    def worker(self, pool: str, instance: str) -> list[str]:
        queue = QUEUES[pool]
        slots = self.settings.fetch_slots if pool == "fetch" else queue.slots
        return [
            *_celery("worker"),
            "-Q",
            queue.name,
            "-P",
            queue.pool,
            "-c",
            str(slots),
            "-n",
            f"{instance}@%h",
            "--without-gossip",
            "--without-mingle",
            "--loglevel",
            self.settings.log_level,
        ]

    def supervisor(self) -> list[str]:
        return [sys.executable, "-m", "podinsight.supervisor", "run"]

    def keeper(self, adopt: int | None) -> list[str]:
        more = [] if adopt is None else ["--adopt", str(adopt)]
        return [sys.executable, "-m", "podinsight.supervisor", "keep", *more]


def _celery(command: str) -> list[str]:
    return [sys.executable, "-m", "celery", "-A", "workers", command]


def child_environ(settings: Settings, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """os.environ, then `environ` over it, then these settings, so that a child in another folder loads the same.

    `settings` should be what `load({**os.environ, **environ})` gives.
    """
    env = {**os.environ, **(environ or {})}
    for name in {"state_dir", *settings.model_fields_set}:
        value = getattr(settings, name)
        if isinstance(value, str | int | float | Path):  # hosts and secrets keep the words they were written in
            env[variable(name)] = str(value)
    if env.get(CONFIG):
        env[CONFIG] = str(Path(env[CONFIG]).expanduser().absolute())
    env.pop("FLOWER_UNAUTHENTICATED_API", None)  # would open Flower's API to any page in the browser
    return env


def worker_environ(env: Mapping[str, str], pool: str, instance: str) -> dict[str, str]:
    """How a worker learns who it is. Not PODINSIGHT_*: an unknown name of that kind is refused by settings."""
    return {**env, "PODWORKER_ID": instance, "PODWORKER_POOL": pool}
