"""The supervisor's line to the database: a thread of its own, because a locked database may block for half a minute
and a dead worker must be replaced within a second."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from podinsight.errors import PodinsightError
from podinsight.ports import StatusStore, WorkerView
from podinsight.supervisor.processes import Record
from podinsight.supervisor.shares import shared
from podinsight.supervisor.thinning import DeadMan, thin

log = logging.getLogger(__name__)

READ_SECONDS = 0.5
LIST_SECONDS = 2.0
FORGET_SECONDS = 86_400.0
DEAD = "dead"


class DatabaseLine:
    """Reads `desired` again and again, writes marks until they have landed, and says who may be stopped.

    desired: pool → count of this machine as last read, None before the first time. shut: pools that should be empty
    now, also of workers that hold leases. listed: the workers of this machine that are not dead. trouble: why the
    database cannot be used now, else empty: then what was read last holds, and workers go on with what they have.

    decision_seconds: how long a decision about the number of gpu workers is good for (thinning.DeadMan). That number is
    of all machines together then, and `desired` has this one's share (shares.shared); with None each has them all.
    """

    def __init__(
        self, open_store: Callable[[], StatusStore], machine: str, decision_seconds: float | None = None
    ) -> None:
        self.desired: dict[str, int] | None = None
        self.shut: frozenset[str] = frozenset()
        self.listed: tuple[WorkerView, ...] = ()
        self.trouble = ""
        self._dead_man = DeadMan(decision_seconds)
        self._open_store = open_store
        self._machine = machine
        self._shares = decision_seconds is not None
        self._store: StatusStore | None = None
        self._marks: dict[str, str] = {}
        self._expected: dict[str, Record] = {}
        self._crowded: Mapping[str, Sequence[str]] = {}
        self._free: set[str] = set()
        self._list_at = 0.0
        self._changed = threading.Condition()
        self._woken = False
        # A daemon: a thread that hangs in a locked database must not keep the supervisor from ending.
        self._thread = threading.Thread(target=self._work, name="database", daemon=True)

    @property
    def undecided(self) -> str:
        """Why gpu workers are let go although the database wants some; else empty."""
        return self._dead_man.trouble

    def start(self) -> None:
        self._thread.start()

    def mark(self, workers: Iterable[str], state: str) -> None:
        """`draining` or `dead` (which takes its leases back too), as soon as the database takes it."""
        with self._changed:
            for worker in workers:
                self._marks[worker] = state
            self._woken = True
            self._changed.notify_all()

    def expect(self, record: Record) -> None:
        """Tells of a worker whose process was started just now, as soon as the database takes it."""
        with self._changed:
            self._expected[record.instance] = record

    def spare(self, crowded: Mapping[str, Sequence[str]]) -> list[str]:
        """Of the members of pools that have too many (pool → ids, the newest first) those that can be done without, as
        far as the database has answered: the others hold work, or it has not been asked yet."""
        with self._changed:
            if crowded != self._crowded:
                self._crowded, self._free = crowded, set()
                self._woken = True
                self._changed.notify_all()
            return [each for members in crowded.values() for each in members if each in self._free]

    def flush(self, seconds: float) -> bool:
        """Waits until every mark has landed; False when `seconds` were not enough."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._marks, timeout=seconds)

    def first_read(self, seconds: float) -> bool:
        """Waits until the database was read once; False when `seconds` were not enough."""
        with self._changed:
            return self._changed.wait_for(lambda: self.desired is not None, timeout=seconds)

    def _work(self) -> None:
        while True:
            try:
                self._pass()
                if self.trouble:
                    log.info("the database answers again")
                self.trouble = ""
            except Exception as error:  # whatever it is, the workers must go on being watched
                if not self.trouble:
                    log.warning(
                        "database: %s; going on with what is known",
                        error,
                        exc_info=not isinstance(error, PodinsightError),
                    )
                self.trouble = str(error) or type(error).__name__
            with self._changed:
                self._changed.wait_for(lambda: self._woken, timeout=READ_SECONDS)
                self._woken = False

    def _pass(self) -> None:
        if self._store is None:
            self._store = self._open_store()
        store = self._store
        with self._changed:
            expected = list(self._expected.values())
            marks = list(self._marks.items())
            crowded = self._crowded
        for record in expected:
            store.workers.expect(record.instance, self._machine, record.role, record.pid)
            with self._changed:
                self._expected.pop(record.instance, None)
        for worker, state in marks:
            store.workers.mark(worker, state)
            if state == DEAD:
                returned = store.work.expire_worker(worker)
                if returned:
                    log.info("%s: %d leases taken back", worker, returned)
            with self._changed:
                if self._marks.get(worker) == state:  # it may have died while it was marked draining
                    del self._marks[worker]
                self._changed.notify_all()
        if time.monotonic() >= self._list_at:
            self.listed = tuple(store.workers.list(self._machine))
            store.workers.forget_dead(FORGET_SECONDS)
            self._list_at = time.monotonic() + LIST_SECONDS
        sizes = store.workers.pools()
        desired = self._wanted(store, {pool: size.desired for pool, size in sizes.items()})
        free = thin(store, crowded, desired) if crowded else set()
        with self._changed:
            self.shut = frozenset(pool for pool, size in sizes.items() if size.kept is not None)
            self.desired = desired  # last: whoever is there should be known before any is started
            if self._crowded is crowded:
                self._free = free
            self._changed.notify_all()

    def _wanted(self, store: StatusStore, desired: Mapping[str, int]) -> dict[str, int]:
        """This machine's part of what the database wants, as far as that still holds."""
        told = self._dead_man.trouble
        wanted = self._dead_man.wanted(desired, store.control.ticks())
        if bool(told) != bool(self._dead_man.trouble):
            log.warning("gpu workers: %s", self._dead_man.trouble or "somebody decides again how many there should be")
        return shared(store, wanted, self._machine) if self._shares else wanted
