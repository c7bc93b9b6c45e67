"""The worker processes: brought to what is desired, drained, buried, and told to the database."""

import logging
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import psutil

from podinsight.ports import WorkerView
from podinsight.settings_sources import variable
from podinsight.supervisor.commands import Commands, worker_environ
from podinsight.supervisor.database_line import DEAD, DatabaseLine
from podinsight.supervisor.launcher import Launcher
from podinsight.supervisor.pools import DRAINING, Backoff, Member, plan
from podinsight.supervisor.processes import Child, Record, adopt, created
from podinsight.topology import QUEUES

log = logging.getLogger(__name__)

_STATE_DIR = variable("state_dir")


@dataclass
class _Worker:
    """stop_by: monotonic time at which a draining worker is killed, None while it works."""

    child: Child
    stop_by: float | None = None


class Crew:
    """All workers of this machine."""

    def __init__(
        self, launcher: Launcher, commands: Commands, line: DatabaseLine, stop_seconds: float, silent_seconds: float
    ) -> None:
        self._launcher = launcher
        self._commands = commands
        self._line = line
        self._stop_seconds = stop_seconds
        self._silent_seconds = silent_seconds
        self._workers: dict[str, _Worker] = {}
        self._backoffs = {pool: Backoff() for pool in QUEUES}
        self._faults: dict[str, str] = {}
        self._unknown: set[str] = set()

    def adopt(self, record: Record) -> bool:
        """Takes a predecessor's worker over; one that is dead is told to the database."""
        child = adopt(record)
        if child is None:
            self._line.mark([record.instance], DEAD)
            return False
        stop_by = time.monotonic() + self._stop_seconds if record.draining else None
        self._workers[record.instance] = _Worker(child, stop_by)
        return True

    def records(self) -> list[Record]:
        return [replace(worker.child.record, draining=worker.stop_by is not None) for worker in self._workers.values()]

    def children(self) -> list[Child]:
        return [worker.child for worker in self._workers.values()]

    def troubles(self) -> dict[str, str]:
        """pool → what keeps its workers from running steadily."""
        youngest: dict[str, float] = {}
        for child in self.children():
            youngest[child.record.role] = min(child.age(), youngest.get(child.record.role, child.age()))
        found = {
            pool: self._faults.get(pool) or each.trouble(youngest.get(pool)) for pool, each in self._backoffs.items()
        }
        return {pool: text for pool, text in found.items() if text}

    def tick(self, desired: Mapping[str, int] | None) -> None:
        """Buries the dead, kills the overdue, then starts and drains to match `desired` (None: not known yet).

        Where there are too many, those go that hold no work (G6); all of them where the pool was shut.
        """
        self._bury_dead()
        self._kill_overdue()
        if desired is None:
            return
        for pool in set(desired) - set(QUEUES) - self._unknown:
            log.warning("the database wants %s workers, but there is no such pool", pool)
            self._unknown.add(pool)
        members = [
            Member(name, worker.child.record.role, worker.child.record.create_time)
            for name, worker in self._workers.items()
            if worker.stop_by is None
        ]
        decided = plan({pool: count for pool, count in desired.items() if pool in QUEUES}, members)
        shut = self._line.shut
        self.drain(each for pool, members in decided.crowded.items() if pool in shut for each in members)
        crowded = {pool: members for pool, members in decided.crowded.items() if pool not in shut}
        self.drain(self._line.spare(crowded))
        for pool, count in decided.starts.items():
            if self._backoffs[pool].may_start(time.monotonic()):
                for _ in range(count):
                    self._start(pool)

    def drain(self, names: Iterable[str]) -> None:
        """Marks them draining first, so that they claim nothing more, then asks their main processes to stop."""
        chosen = list(names)
        if not chosen:
            return
        self._line.mark(chosen, DRAINING)
        if not self._line.flush(0.5):
            log.warning("the database does not take the draining marks; stopping the workers all the same")
        for name in chosen:
            worker = self._workers[name]
            log.info("%s is stopped (pid %d)", name, worker.child.pid)
            worker.stop_by = time.monotonic() + self._stop_seconds
            worker.child.terminate()

    def drain_all(self) -> None:
        self.drain([name for name, worker in self._workers.items() if worker.stop_by is None])

    def finished(self) -> bool:
        """While stopping: buries and kills; True when nobody is left."""
        self._bury_dead()
        self._kill_overdue()
        return not self._workers

    def sweep(self, now: float) -> None:
        """Workers that the database lists on this machine and we do not know: one of ours that was started an instant
        before a supervisor's end is adopted, one without a process is dead."""
        for view in self._line.listed:
            if view.id in self._workers:
                continue
            child = self._find(view)
            if child is not None:
                log.info("%s adopted from the database (pid %d)", view.id, view.pid)
                self._workers[view.id] = _Worker(child)
                if view.state == DRAINING:
                    self.drain([view.id])
            elif now - view.heartbeat_at > self._silent_seconds:
                self._line.mark([view.id], DEAD)

    def _find(self, view: WorkerView) -> Child | None:
        """A live process of this stack that bears the worker's id; another stack on this machine is left alone."""
        if view.pool not in QUEUES:
            return None
        try:
            process = psutil.Process(view.pid)
            ours = process.environ().get(_STATE_DIR) == self._launcher.env.get(_STATE_DIR)
            if not ours or view.id not in " ".join(process.cmdline()):
                return None
            return adopt(Record(view.id, view.pool, view.pid, created(process), view.id))
        except psutil.Error:
            return None

    def _start(self, pool: str) -> None:
        instance = f"{pool}-{secrets.token_hex(3)}"
        env = worker_environ(self._launcher.env, pool, instance)
        try:
            child = self._launcher.start(instance, pool, self._commands.worker(pool, instance), env, instance)
        except OSError as error:
            self._faults[pool] = str(error)
            wait = self._backoffs[pool].died(0.0, time.monotonic())
            log.warning("a %s worker could not be started: %s; next try in %g s", pool, error, wait)
            return
        self._faults.pop(pool, None)
        self._workers[instance] = _Worker(child)
        self._line.expect(child.record)
        log.info("%s started (pid %d)", instance, child.pid)

    def _bury_dead(self) -> None:
        dead = {name: worker for name, worker in self._workers.items() if not worker.child.alive()}
        lived: dict[str, float] = {}
        for name, worker in dead.items():
            worker.child.bury()
            del self._workers[name]
            pool = worker.child.record.role
            if worker.stop_by is None:
                lived[pool] = max(worker.child.age(), lived.get(pool, 0.0))
                log.warning("%s died after %.1f s", name, worker.child.age())
            else:
                log.info("%s has stopped", name)
        self._line.mark(dead, DEAD)
        for pool, seconds in lived.items():  # several that die at once are one incident
            wait = self._backoffs[pool].died(seconds, time.monotonic())
            if wait:
                log.warning("%s workers die again and again: next start in %g s", pool, wait)

    def _kill_overdue(self) -> None:
        for name, worker in self._workers.items():
            if worker.stop_by is not None and time.monotonic() > worker.stop_by and worker.child.alive():
                log.warning("%s did not stop within %g s: killed", name, self._stop_seconds)
                worker.child.bury()
