"""The Celery app, the typed @task decorator, and what is refused before anything starts."""

import functools
import logging
import os
import socket
import time
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from celery import Celery, Task
from celery.exceptions import Reject

from beat_schedule import beat_schedule
from podinsight import settings as settings_module
from podinsight.bootstrap import celery_settings
from podinsight.domain.identity import redact_url
from podinsight.errors import Abandoned, ConfigError, LeaseLost, PodinsightError
from podinsight.topology import TASKS

log = logging.getLogger("podinsight.task")
Result = TypeVar("Result")
TaskName = Literal[
    "fetch_episode",
    "plan_episode",
    "transcribe_episode",
    "poll_feeds",
    "dispatch",
    "reconcile",
    "clean",
    "register_segments",
    "scale_fleet",
    "sweep_costs",
    "check_daily_cost",
]

settings = settings_module.load()


class HandedBack(Reject):  # type: ignore[misc]
    """Ends a task whose row is claimable again: failed in Flower, never redelivered, told in one line of our own."""


def _is_news(record: logging.LogRecord) -> bool:
    """Celery would say of each rejection, with a traceback, what `task` has said already."""
    return not (record.exc_info and isinstance(record.exc_info[1], HandedBack))


logging.getLogger("celery.app.trace").addFilter(_is_news)


class _App(Celery):  # type: ignore[misc]
    """The sender's side of task events shows no more than the worker's (workers.shown)."""

    def send_task(self, name: str, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        from workers.shown import representation  # a worker's module: not what every import of the app costs

        options |= {"argsrepr": representation(args or ()), "kwargsrepr": representation(kwargs or {})}
        return super().send_task(name, args, kwargs, **options)


app = _App(
    "podinsight",
    include=["workers.fetch", "workers.plan", "workers.gpu", "workers.light", "workers.guard", "workers.lifecycle"],
)
app.config_from_object(celery_settings(settings) | {"beat_schedule": beat_schedule(settings)})


def worker_id() -> str:
    """This worker process's id: from the supervisor, or of its own when it was started by hand."""
    return os.environ.get("PODWORKER_ID") or f"hand-{socket.gethostname()}-{os.getpid()}"


def task(name: TaskName) -> Callable[[Callable[..., Result]], Any]:
    """Registers a task under a name of topology; every option comes from there, so none can be misspelt.

    The decorator owns what all tasks share: the log line with what happened and how long it took, and which errors
    are expected (shown in Flower as failed, logged without a traceback). Retries belong to the rows, not to Celery.

    Raises:
        ConfigError: at import, for a name that topology does not have.
    """
    if name not in TASKS:
        raise ConfigError(f"no task {name!r} in topology; it has {', '.join(sorted(TASKS))}")

    def register(body: Callable[..., Result]) -> Any:
        @functools.wraps(body)
        def run(self: Task, *args: object) -> None:
            from workers.process import busy

            started = time.monotonic()
            with busy():
                try:
                    said = body(*args)
                except (Abandoned, LeaseLost) as error:
                    # Not a failure: the row is claimable again, by whoever gets the next message.
                    shown = [redact_url(each) if isinstance(each, str) else each for each in args]
                    log.info("%s %s: %s (%.1f s)", name, shown, error, time.monotonic() - started)
                    raise HandedBack(str(error), requeue=False) from None
            log.info("%s: %s (%.2f s)", name, said, time.monotonic() - started)

        limit = TASKS[name].time_limit
        request = "workers.shown:ShownRequest"
        return app.task(name=name, bind=True, throws=(PodinsightError,), time_limit=limit, Request=request)(run)

    return register
