"""Fleets with what they run on: a simulated provider, or the rows of a database with a stand-in for the supervisor."""

from collections.abc import Sequence
from typing import Protocol

from podinsight.adapters.database import SqlStore
from podinsight.adapters.database.engine import Database
from podinsight.adapters.local_fleet import LocalFleet
from podinsight.adapters.memory_fleet import MemoryFleet
from podinsight.domain.fleet import Group, Instance
from podinsight.domain.work import Lease
from podinsight.ports import Fleet
from podinsight.supervisor.pools import Member, plan
from podinsight.supervisor.thinning import thin
from tests.conftest import LIMITS, STALE_SECONDS
from tests.support.clock import ManualClock
from tests.support.rows import LEASE_SECONDS, Rows

MOST = 4


class World(Protocol):
    """A fleet of at most MOST instances, and what happens around it."""

    @property
    def fleet(self) -> Fleet: ...
    def settle(self) -> None:
        """Time goes by until whatever was under way has happened."""
        ...

    def hold(self, name: str) -> bool:
        """A worker on this instance asks for a lease; whether it got one."""
        ...

    def let_go(self, name: str) -> None: ...
    def die(self, name: str) -> None: ...
    def keep_at_least(self, count: int) -> None:
        """Somebody sets a minimum by hand, at the provider, where it has one."""
        ...

    def away(self) -> Fleet:
        """A fleet like this whose provider does not answer."""
        ...


class MemoryWorld:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.fleet = MemoryFleet(self.clock, [Group("here", 0, 0, MOST)])

    def settle(self) -> None:
        for _ in range(60):
            self.clock.advance(10)
            self.fleet.state()

    def hold(self, name: str) -> bool:
        return self.fleet.hold(name)

    def let_go(self, name: str) -> None:
        self.fleet.let_go(name)

    def die(self, name: str) -> None:
        self.fleet.crash(name)

    def keep_at_least(self, count: int) -> None:
        self.fleet.resize(Group("here", count, max(count, self.fleet.state().desired), MOST))

    def away(self) -> Fleet:
        self.fleet.denied.add("here")
        return self.fleet


class LocalWorld:
    """Plays the supervisor (start, register, thin, bury) with the supervisor's own decisions."""

    def __init__(self, store: SqlStore, clock: ManualClock) -> None:
        self.store, self.clock = store, clock
        self.fleet = LocalFleet(store, clock, MOST, STALE_SECONDS)
        self._rows = Rows(store, clock)
        self._waiting = self._rows.transcribes(MOST)
        store.workers.mark("g1", "dead")
        self._leases: dict[str, Lease] = {}
        self._processes: dict[str, float] = {}
        self._started = 0

    def settle(self) -> None:
        for _ in range(3):
            self.clock.advance(1)
            self._tick()

    def hold(self, name: str) -> bool:
        lease = self.store.work.claim("transcribe", self._waiting[0], name, LEASE_SECONDS)
        if lease is None:
            return False
        self._leases[name] = lease
        self._waiting.pop(0)
        return True

    def let_go(self, name: str) -> None:
        lease = self._leases.pop(name)
        self.store.work.hand_back(lease)
        self._waiting.append(lease.episode_id)

    def die(self, name: str) -> None:
        self._bury([name])

    def keep_at_least(self, count: int) -> None:
        """Processes have no minimum."""

    def away(self) -> Fleet:
        db = Database("postgresql+psycopg://ann:secret@127.0.0.1:9/podinsight")
        return LocalFleet(SqlStore(db, self.clock, LIMITS, STALE_SECONDS), self.clock, MOST, STALE_SECONDS)

    def _tick(self) -> None:
        for name in self._processes:
            if self.store.workers.heartbeat(name) == "starting":
                self.store.workers.register(name, "machine", "gpu", 1, 1, "cpu")
        sizes = self.store.workers.pools()
        desired = {pool: size.desired for pool, size in sizes.items()}
        decided = plan(desired, [Member(name, "gpu", started) for name, started in self._processes.items()])
        if "gpu" in sizes and sizes["gpu"].kept is not None:
            self._bury(list(self._processes))
        else:
            self._bury(sorted(thin(self.store, decided.crowded, desired)))
        for _ in range(decided.starts.get("gpu", 0)):
            self._started += 1
            name = f"gpu-{self._started}"
            self._processes[name] = self.clock.now() + self._started / 1000
            self.store.workers.expect(name, "machine", "gpu", self._started)

    def _bury(self, names: Sequence[str]) -> None:
        for name in names:
            del self._processes[name]
            if self._leases.pop(name, None):
                self.store.work.expire_worker(name)
            self.store.workers.mark(name, "dead")


def ready(world: World) -> list[Instance]:
    """The oldest first."""
    living = [each for each in world.fleet.state().instances if each.state == "ready"]
    return sorted(living, key=lambda each: (each.started, each.id))
