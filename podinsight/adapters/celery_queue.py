"""The JobQueue port on Celery, and the one Celery configuration that producers and workers share (CELERY.md)."""

from collections.abc import Mapping, Sequence
from typing import Any

from celery import Celery
from kombu import entity
from kombu.exceptions import OperationalError

from podinsight.errors import Unavailable
from podinsight.topology import QUEUES, TASKS

TRANSPORT_OPTIONS: Mapping[str, object] = {
    "socket_timeout": 15,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 25,
    "visibility_timeout": 3600,
}
# A pool's new child imports everything first: two seconds of a free core, seven of a busy one. Celery ends whoever is
# not up within four, so on a busy machine a lost child was never replaced.
CHILD_START_SECONDS = 60.0
_queue: Any = entity.Queue  # kombu has no types
_PUBLISH_TIMEOUTS = {"socket_timeout": 2, "socket_connect_timeout": 2}


def celery_config(redis_url: str, expires: float) -> dict[str, object]:
    """Celery's settings, generated from topology. Rows own retries and recovery, so messages are acknowledged early
    and expire; the reason for each line is measured in docs/adr/0001.

    Args:
        redis_url: the broker.
        expires: seconds after which an unclaimed message is void and its row `waiting` again.
    """
    return {
        "broker_url": redis_url,
        "broker_transport_options": dict(TRANSPORT_OPTIONS),
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "task_queues": [_queue(name) for name in QUEUES],
        "task_routes": {task.name: {"queue": task.queue} for task in TASKS.values()},
        "task_default_queue": TASKS["dispatch"].queue,
        "task_create_missing_queues": False,
        "task_acks_late": False,
        "task_ignore_result": True,
        "task_reject_on_worker_lost": False,
        "task_retry_on_worker_lost": False,
        "task_publish_retry_policy": {"max_retries": 1, "interval_start": 0.1, "interval_max": 0.2},
        "task_send_sent_event": True,
        "task_track_started": True,
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": True,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_pool_start_method": "spawn",
        "worker_proc_alive_timeout": CHILD_START_SECONDS,
        "worker_hijack_root_logger": False,
        "worker_send_task_events": True,
        "worker_enable_remote_control": True,
        "event_queue_expires": 60.0,
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        "timezone": "UTC",
        "enable_utc": True,
        "podinsight_expires": expires,
    }


class CeleryQueue:
    """ports.JobQueue: publishes task names, never imports tasks."""

    def __init__(self, redis_url: str, expires: float) -> None:
        self._redis_url, self._expires = redis_url, expires
        self._app: Any = None

    def publish(self, task: str, args: Sequence[str]) -> None:
        if self._app is None:
            app = Celery("podinsight", set_as_current=False)
            app.conf.update(celery_config(self._redis_url, self._expires))
            app.conf.broker_transport_options = dict(TRANSPORT_OPTIONS) | _PUBLISH_TIMEOUTS
            self._app = app
        try:
            self._app.send_task(task, args=list(args), queue=TASKS[task].queue, expires=self._expires)
        except (OperationalError, OSError) as error:
            raise Unavailable(f"the broker did not take a {task} message: {error}") from error
