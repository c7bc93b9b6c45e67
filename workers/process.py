"""What one worker process holds: its container, its lease times, and whether it is asked to stop."""

import functools
import logging
import os
import signal
import threading
from types import FrameType

from podinsight.bootstrap import Container, build
from podinsight.errors import Unavailable
from podinsight.services.dispatch import dispatch
from podinsight.services.lease import LeaseTimes
from workers.app import settings

log = logging.getLogger("podinsight.worker")
_stop = threading.Event()


@functools.cache
def container() -> Container:
    """Built at first use, in the process that uses it (never before a fork)."""
    return build(settings)


def times() -> LeaseTimes:
    return LeaseTimes(settings.lease_seconds, settings.renew_seconds, settings.progress_seconds)


def stopping() -> bool:
    return _stop.is_set()


def stop() -> None:
    """Every unit of this process is handed back at its next beat."""
    _stop.set()


def refill(stage: str | None = None) -> None:
    """Fills the slots that came free, in line. What the broker does not take now, beat's dispatch sends later."""
    if stopping():
        return
    world = container()
    try:
        dispatch(world.store, world.queue, stage)
    except Unavailable as error:
        log.warning("not dispatched in line: %s", error)


def die() -> None:
    """A native call hangs: nothing gentler would end it. The pool starts a new child, the lease expires."""
    log.critical("no progress for %.0f s: ending this process", settings.progress_seconds)
    os.kill(os.getpid(), signal.SIGKILL)


def listen_for_stop() -> None:
    """Installs the handlers of a pool child. Celery resets SIGTERM at each start of a child, so this runs before
    each task, in the main thread (CELERY.md: one set in worker_process_init was lost)."""
    if threading.current_thread() is not threading.main_thread():
        return

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGUSR1, handle)
