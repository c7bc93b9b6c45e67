"""What one worker process holds: its container, its lease times, and whether it is asked to stop."""

import functools
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from billiard import current_process

from podinsight.bootstrap import Container, build, warm_for_fetching
from podinsight.errors import Unavailable
from podinsight.services.dispatch import dispatch
from podinsight.services.lease import LeaseTimes
from workers.app import settings

# Not SIGUSR1: that is Celery's soft time limit, which would raise inside the work.
HAND_BACK = signal.SIGUSR2
_LAST_WORDS_SECONDS = 0.3
_SWITCH_SECONDS = 0.0005  # ten times as often as usual: threads here wait far more than they compute

log = logging.getLogger("podinsight.worker")
_stop = False
_busy = 0


@functools.cache
def container() -> Container:
    """Built at first use, in the process that uses it (never before a fork)."""
    return build(settings, stopping)


def warm() -> None:
    """Builds this process's container and loads what its tasks need, before it is given any."""
    # A thread that holds the database's write lock must not wait for others, which wait for it.
    sys.setswitchinterval(_SWITCH_SECONDS)
    container()
    warm_for_fetching()


def times() -> LeaseTimes:
    return LeaseTimes(settings.lease_seconds, settings.renew_seconds, settings.progress_seconds)


def stopping() -> bool:
    return _stop


def stop() -> None:
    """Every unit of this process is handed back at its next beat."""
    global _stop
    _stop = True


@contextmanager
def busy() -> Iterator[None]:
    """Around each task. A pool child that was told to stop meanwhile ends afterwards; its pool starts a new one."""
    global _busy
    _busy += 1
    try:
        yield
    finally:
        _busy -= 1
        if _stop and is_pool_child():
            # A moment later, so that the pool hears how the task ended.
            threading.Timer(_LAST_WORDS_SECONDS, os._exit, (0,)).start()


def is_pool_child() -> bool:
    return str(current_process().name) != "MainProcess"


class _Refill:
    """One dispatch at a time in a process, and one more after it when somebody asked meanwhile: ten threads that end
    together need not dispatch ten times."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: set[str | None] = set()
        self._busy = False

    def __call__(self, stage: str | None = None) -> None:
        with self._lock:
            self._asked.add(stage)
            if self._busy:
                return
            self._busy = True
        try:
            while (stages := self._next()) is not None:
                for each in stages:
                    self._dispatch(each)
        except BaseException:
            with self._lock:
                self._busy = False
            raise

    def _next(self) -> tuple[str | None, ...] | None:
        with self._lock:
            asked, self._asked = self._asked, set()
            if not asked:
                self._busy = False
                return None
        return (None,) if None in asked else tuple(asked)

    def _dispatch(self, stage: str | None) -> None:
        if stopping():
            return
        world = container()
        try:
            dispatch(world.store, world.queue, stage)
        except Unavailable as error:
            log.warning("not dispatched in line: %s", error)


_refill = _Refill()


def refill(stage: str | None = None) -> None:
    """Fills the slots that came free, in line. What the broker does not take now, beat's dispatch sends later."""
    _refill(stage)


def die() -> None:
    """A native call hangs: nothing gentler would end it. The pool starts a new child, the lease expires."""
    log.critical("no progress for %.0f s: ending this process", settings.progress_seconds)
    os.kill(os.getpid(), signal.SIGKILL)


def listen_for_stop(**_: object) -> None:
    """Installs the handlers of a pool child. Celery resets them at each start of a child, so this runs before each
    task as well, in the main thread (CELERY.md: one set in worker_process_init was lost)."""
    if not is_pool_child() or threading.current_thread() is not threading.main_thread():
        return

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop()
        if not _busy:
            os._exit(0)

    signal.signal(signal.SIGTERM, handle)
    signal.signal(HAND_BACK, handle)
