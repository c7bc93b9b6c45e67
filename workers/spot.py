"""What a worker does when its machine is about to be taken away (docs/interruptions.md).

A stop notice does what SIGTERM does. Advice to rebalance lets the worker finish what it runs: it takes no more
messages, is marked draining by its next heartbeat, and ends when it holds no lease.
"""

import os
import signal
import threading
import time
from functools import partial
from typing import Any

from celery.worker import state as celery_state

from podinsight.bootstrap import build_interruptions
from podinsight.domain.interruption import Course, Notice
from podinsight.ports import StatusStore
from podinsight.services.interruptions import wait_for_leave, watch
from podinsight.topology import STAGES
from workers.app import settings, worker_id

_finishing = threading.Event()
_known: list[Notice] = []  # the advice under which this worker started


def concerns(queue: str) -> bool:
    """Whether workers of this queue hold units that can be lost. What the others do is simply done again."""
    return settings.spot_watch and queue in {stage.queue for stage in STAGES.values()}


def hold_back(queue: str) -> None:
    """Before a worker consumes anything: on a machine that is to stop it waits, unregistered and without messages.

    It does not exit: the supervisor would start the next one, again and again, until the machine is gone.
    """
    if concerns(queue):
        pause = partial(time.sleep, settings.spot_poll_seconds)
        advice = wait_for_leave(build_interruptions(settings), pause)
        if advice is not None:
            _known.append(advice)


def start_watching(consumer: Any, queue: str, ended: threading.Event, wake: threading.Event) -> None:
    """Looks for notices from a thread of its own until the worker ends.

    Args:
        consumer: Celery's consumer, to take no more messages.
        ended: the worker ends.
        wake: wakes the heartbeat.
    """

    def act(course: Course) -> None:
        if course is Course.STOP:
            os.kill(os.getpid(), signal.SIGTERM)
            return
        finish(consumer, queue)
        wake.set()

    def run() -> None:
        watch(build_interruptions(settings), act, lambda: ended.wait(settings.spot_poll_seconds), *_known)

    if concerns(queue):
        threading.Thread(target=run, name="interruptions", daemon=True).start()


def finish(consumer: Any, queue: str) -> None:
    """Takes no more messages; the worker is to end once what it runs has ended."""
    if not _finishing.is_set():
        _finishing.set()
        consumer.call_soon(consumer.cancel_task_queue, queue)  # else it would swallow messages that it cannot claim


def is_finishing() -> bool:
    """Whether this worker is to end once what it runs has ended."""
    return _finishing.is_set()


def may_finish(store: StatusStore) -> bool:
    """Whether this worker drains because of advice, or because it is one too many, and still runs something."""
    return _finishing.is_set() and (bool(celery_state.reserved_requests) or store.work.leased(worker_id()) > 0)
