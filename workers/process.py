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

from podinsight.bootstrap import Container, build, money, polling, warm_for_fetching
from podinsight.errors import Unavailable
from podinsight.services.dispatch import dispatch
from podinsight.services.join import KpiPrices
from podinsight.services.lease import LeaseTimes
from podinsight.services.poll import PollPorts
from podinsight.services.refill import Refill
from workers.app import settings

# Not SIGUSR1: that is Celery's soft time limit, which would raise inside the work.
HAND_BACK = signal.SIGUSR2
_SWITCH_SECONDS = 0.0005  # ten times as often as usual: threads here wait far more than they compute

log = logging.getLogger("podinsight.worker")
_stop = False
_busy = 0


@functools.cache
def container() -> Container:
    """Built at first use, in the process that uses it (never before a fork)."""
    return build(settings, stopping)


@functools.cache
def kpi_prices() -> KpiPrices:
    """What kpis.json reckons with: read once in this process, as the ledger's prices are."""
    return money.kpi_prices(settings)


@functools.cache
def poll_ports() -> PollPorts:
    """What reading feeds works with; its prices are read once, as above."""
    return polling.poll_ports(settings, container())


def warm() -> None:
    """Builds this process's container and loads what its tasks need, before it is given any."""
    # A thread that holds the database's write lock must not wait for others, which wait for it.
    sys.setswitchinterval(_SWITCH_SECONDS)
    container()
    warm_for_fetching()


def farewell(**_: object) -> None:
    """At the end of a worker: what was noted of hosts in its last moments is written."""
    if container.cache_info().currsize:
        container().close()


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


def take_no_more(**_: object) -> None:
    """Makes a new pool child end, once it is told to stop, instead of asking for another task: what it was given has
    then been answered for, so its pool neither waits for it nor gives it a unit only to have it handed back."""
    pool_worker = current_process()._target  # billiard.pool.Worker, which reads `wait_for_job` when its loop starts
    receive = pool_worker.wait_for_job

    def receive_unless_stopping() -> object:
        if _stop:
            os._exit(0)
        return receive()

    pool_worker.wait_for_job = receive_unless_stopping


def is_pool_child() -> bool:
    return str(current_process().name) != "MainProcess"


def _fill(stage: str | None) -> None:
    if stopping():
        return
    world = container()
    try:
        dispatch(world.store, world.queue, stage)
    except Unavailable as error:
        log.warning("not dispatched in line: %s", error)


_refill = Refill(_fill)


def refill(stage: str | None = None) -> None:
    """Fills the slots that came free, in line. What the broker does not take now, beat's dispatch sends later."""
    _refill.ask(stage)


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
