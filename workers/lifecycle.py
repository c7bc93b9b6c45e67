"""A worker's life: what it refuses to start with, registering, heartbeats, and stopping within seconds."""

import logging
import os
import signal
import socket
import threading
from typing import Any

from celery import signals
from celery.concurrency import get_implementation
from celery.concurrency.prefork import TaskPool as PreforkPool
from celery.concurrency.thread import TaskPool as ThreadPool

from podinsight.bootstrap import build_store
from podinsight.errors import ConfigError, Unavailable
from podinsight.ports import StatusStore
from podinsight.topology import QUEUES, QueueSpec
from workers import process
from workers.app import app, settings, worker_id

log = logging.getLogger("podinsight.worker")
_POOLS = {"threads": ThreadPool, "prefork": PreforkPool}
_ended = threading.Event()
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
        check_start(list(sender.app.amqp.queues.consume_from), get_implementation(sender.pool_cls), sender.concurrency)
    except ConfigError as error:
        log.critical("%s", error)
        raise SystemExit(f"workers: {error}") from error


def _register(sender: Any, **_: object) -> None:
    queue = next(iter(sender.app.amqp.queues.consume_from))
    slots = int(sender.controller.concurrency)
    threading.Thread(target=_live, args=(queue, slots), name="heartbeat", daemon=True).start()


def _live(queue: str, slots: int) -> None:
    """Registers, then says every few seconds that this process lives. A database that is away is waited for."""
    store: StatusStore | None = None
    registered = False
    while True:
        try:
            store = store or build_store(settings)
            if not registered:
                store.workers.register(worker_id(), socket.gethostname(), queue, os.getpid(), slots)
                registered = True
            store.workers.heartbeat(worker_id())
        except Unavailable as error:
            log.warning("no heartbeat: %s", error)
        if _ended.wait(settings.heartbeat_seconds):
            break
    if store is not None:
        store.close()


def _hand_back(**_: object) -> None:
    """Runs in the main process: takes no more work, tells the children (and its own threads) to hand back."""
    process.stop()
    _ended.set()
    threading.Thread(target=_leave, daemon=True).start()
    for worker in _workers:
        for child in getattr(getattr(worker.pool, "_pool", None), "_pool", []):
            os.kill(child.pid, signal.SIGUSR1)


def _leave() -> None:
    try:
        build_store(settings).workers.mark(worker_id(), "draining")
    except Unavailable as error:
        log.warning("could not say that this worker drains: %s", error)


def _listen(**_: object) -> None:
    process.listen_for_stop()


signals.worker_init.connect(_refuse_wrong_start)
signals.worker_ready.connect(_register)
signals.worker_shutting_down.connect(_hand_back)
signals.worker_process_init.connect(_listen)
signals.task_prerun.connect(_listen)
