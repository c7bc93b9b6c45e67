"""The gpu workers of this machine that live although they should not: seen by pid, not by what the database says."""

import socket
import time

import psutil

from podinsight.ports import StatusStore
from podinsight.settings import Settings
from podinsight.supervisor.checks import living
from podinsight.supervisor.database_line import DEAD
from podinsight.supervisor.processes import adopt, stop
from podinsight.supervisor.registry import InstanceLock, Registry
from podinsight.topology import GPU


def remaining(settings: Settings, store: StatusStore) -> list[str]:
    """A line for each process of the gpu pool that lives here.

    A supervisor ends them when the pool is shut. Where none runs, nobody else would: this ends them, and tells the
    database of those without a process. One without a process and without a supervisor counts as dead once it has been
    silent for `worker_stale_seconds`, as a supervisor would have it.
    """
    registry = Registry(settings.state_dir)
    found = [record for record in living(registry) if record.role == GPU.name]
    if InstanceLock(settings.state_dir).holder() is not None:
        return [f"{record.instance} (pid {record.pid}) lives" for record in found]
    stop([child for record in found if (child := adopt(record)) is not None], settings.stop_seconds)
    ended = {record.instance for record in found}
    now = time.time()
    for view in store.workers.list(socket.gethostname()):
        silent = now - view.heartbeat_at > settings.worker_stale_seconds
        if view.pool == GPU.name and (view.id in ended or (silent and not _lives(view.pid, view.id))):
            store.workers.mark(view.id, DEAD)
            store.work.expire_worker(view.id)
    return [f"{record.instance} (pid {record.pid}) lives" for record in found if adopt(record) is not None]


def _lives(pid: int, worker: str) -> bool:
    """Whether this process is that worker; the number may be somebody else's by now."""
    try:
        return worker in " ".join(psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True
