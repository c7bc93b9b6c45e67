"""A worker's life: what it refuses to start with, registering, heartbeats, watching its child, stopping in seconds."""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from billiard.exceptions import WorkerLostError
from celery import signals
from celery.concurrency import get_implementation
from celery.concurrency.prefork import TaskPool as PreforkPool
from celery.concurrency.thread import TaskPool as ThreadPool
from celery.worker import state as celery_state

from podinsight.bootstrap import build_store, decoding_device
from podinsight.bootstrap.money import notified_services
from podinsight.errors import ConfigError, PodinsightError
from podinsight.ports import StatusStore
from podinsight.topology import GPU, GUARD, QUEUES, STAGES, QueueSpec
from workers import process, spot
from workers.app import app, settings, worker_id

log = logging.getLogger("podinsight.worker")
_POOLS = {"threads": ThreadPool, "prefork": PreforkPool}
_LEASED_POOLS = {stage.queue for stage in STAGES.values() if QUEUES[stage.queue].pool == "prefork"}
_ended = threading.Event()
_child_lost = threading.Event()
_wake = threading.Event()
_workers: list[Any] = []


def check_start(queues: list[str], pool: type, slots: int) -> QueueSpec:
    """The one queue this worker may consume, if its pool and size fit it.

    Raises:
        ConfigError: no queue or several, an unknown one, another pool than topology's, or too many slots.
    """
    if len(queues) != 1 or queues[0] not in QUEUES:
        raise ConfigError(f"a worker consumes exactly one of {', '.join(QUEUES)} (-Q): not {', '.join(queues)}")
    spec = QUEUES[queues[0]]
    if not issubclass(pool, _POOLS[spec.pool]):
        raise ConfigError(f"the {spec.name} queue needs -P {spec.pool}")
    if spec.pool == "prefork" and slots != spec.slots:
        raise ConfigError(f"the {spec.name} queue needs -c {spec.slots}")
    if app.conf.worker_cancel_long_running_tasks_on_connection_loss:
        raise ConfigError("worker_cancel_long_running_tasks_on_connection_loss loses tasks: leave it off")
    if spec.pool == "prefork" and app.conf.worker_pool_start_method != spec.start_method:
        raise ConfigError(f"the {spec.name} queue needs worker_pool_start_method={spec.start_method}")
    return spec


def _refuse_wrong_start(sender: Any, **_: object) -> None:
    _workers.append(sender)
    os.environ["PODWORKER_ID"] = worker_id()  # started by hand: its children go by the same id
    try:
        queues = list(sender.app.amqp.queues.consume_from)
        spec = check_start(queues, get_implementation(sender.pool_cls), sender.concurrency)
        if spec is GUARD:  # it runs the sweep, which tells people
            notified_services(settings)
    except ConfigError as error:
        log.critical("%s", error)
        raise SystemExit(f"workers: {error}") from error
    spot.hold_back(spec.name)


def _register(sender: Any, **_: object) -> None:
    queue = next(iter(sender.app.amqp.queues.consume_from))
    life = _Life(queue, int(sender.controller.concurrency), partial(spot.finish, sender, queue))
    threading.Thread(target=life.run, name="heartbeat", daemon=True).start()
    spot.start_watching(sender, queue, _ended, _wake)


class _Life:
    """Registers this worker, says every few seconds that it lives, and does what the database says of it."""

    def __init__(self, queue: str, slots: int, finish: Callable[[], None]) -> None:
        self._queue, self._slots, self._finish = queue, slots, finish
        self._store: StatusStore | None = None
        self._registered = False
        self._without_lease_since: float | None = None

    def run(self) -> None:
        if QUEUES[self._queue].pool == "threads":  # in other pools it is the children that work
            process.warm()
        while not _ended.is_set():
            try:
                self._beat()
            except Exception as error:  # a database that is away is waited for, and no fault ends this thread
                log.warning("no heartbeat: %s", str(error).partition("\n")[0])
            _wake.wait(settings.heartbeat_seconds)
            _wake.clear()
        if self._store is not None:
            self._store.close()

    def _beat(self) -> None:
        self._store = self._store or build_store(settings)
        workers = self._store.workers
        if not self._registered:
            device = decoding_device(settings) if self._queue == GPU.name else ""
            workers.register(worker_id(), socket.gethostname(), self._queue, os.getpid(), self._slots, device)
            self._registered = True
        if _child_lost.is_set():
            _child_lost.clear()
            lost = self._store.work.expire_worker(worker_id())
            log.warning("a pool child died: %d leases of this worker went back", lost)
        state = workers.heartbeat(worker_id())
        if state == "ready" and spot.is_finishing():
            workers.mark(worker_id(), "draining")
            state = "draining"
        if state is None:
            self._registered = False
        elif state != "ready" and not (state == "draining" and self._may_finish(self._store)):
            # It was taken for dead while it was frozen, or it is to drain: it could claim nothing any more.
            log.warning("this worker counts as %s: stopping", state)
            os.kill(os.getpid(), signal.SIGTERM)
        self._watch_child(self._store)

    def _may_finish(self, store: StatusStore) -> bool:
        """Whether a draining worker goes on until what it runs has ended. Where its pool was shut it hands back."""
        size = store.workers.pools().get(self._queue)
        if size is not None and size.kept is not None:
            return False
        if store.work.leased(worker_id()):
            self._finish()
        return spot.may_finish(store)

    def _watch_child(self, store: StatusStore) -> None:
        """Ends a child that is busy for a whole lease without holding one: a frozen call let its lease expire."""
        holds = self._queue not in _LEASED_POOLS or store.work.leased(worker_id())
        if holds or not celery_state.active_requests:
            self._without_lease_since = None
            return
        self._without_lease_since = self._without_lease_since or time.monotonic()
        if time.monotonic() - self._without_lease_since > settings.lease_seconds:
            log.critical("the child has been busy for %.0f s without a lease: ending it", settings.lease_seconds)
            self._without_lease_since = None
            for child in _children():
                os.kill(child.pid, signal.SIGKILL)


def _children() -> list[Any]:
    return [child for worker in _workers for child in getattr(getattr(worker.pool, "_pool", None), "_pool", [])]


def _expire_with_child(exception: BaseException | None = None, **_: object) -> None:
    """Runs in the main process when a child died in a task: its lease need not be waited for."""
    if isinstance(exception, WorkerLostError):
        _child_lost.set()
        _wake.set()


def _hand_back(**_: object) -> None:
    """Runs in the main process: takes no more work, tells the children (and its own threads) to hand back."""
    process.stop()
    _ended.set()
    _wake.set()
    threading.Thread(target=_leave, daemon=True).start()
    for child in _children():
        os.kill(child.pid, process.HAND_BACK)


def _leave() -> None:
    try:
        build_store(settings).workers.mark(worker_id(), "draining")
    except PodinsightError as error:
        log.warning("could not say that this worker drains: %s", error)


signals.worker_init.connect(_refuse_wrong_start)
signals.worker_ready.connect(_register)
signals.worker_shutting_down.connect(_hand_back)
signals.task_failure.connect(_expire_with_child)
signals.worker_shutdown.connect(process.farewell)
signals.worker_process_init.connect(process.listen_for_stop)
signals.worker_process_init.connect(process.take_no_more)
signals.task_prerun.connect(process.listen_for_stop)
