"""ports.Fleet of real worker processes: what is wanted goes through the database, the supervisors carry it out."""

from collections.abc import Callable, Sequence
from typing import Final

from podinsight.domain.fleet import (
    FleetState,
    Group,
    Instance,
    InstanceState,
    Lifecycle,
    Rate,
    Snapshot,
    Stopped,
    Zeroed,
)
from podinsight.errors import PodinsightError, Refused
from podinsight.ports import Clock, StatusStore, WorkerView
from podinsight.topology import GPU

FREE: Final = Rate(0, "local device")
_UNSAID: Final = "unknown device"


class LocalFleet:
    """The workers of one pool, on every machine whose supervisor reads this database.

    A process is known here from the moment that the database knows it, which is less than a second after its start.
    The database is the provider: where it does not answer, everything is unknown. One that has not been heard of for
    `silent_seconds` goes on counting until its supervisor has said that it is dead.
    """

    def __init__(
        self,
        store: StatusStore,
        clock: Clock,
        most: int,
        silent_seconds: float,
        rate: Callable[[str], Rate] = lambda _kind: FREE,
        pool: str = GPU.name,
    ) -> None:
        self._store, self._clock, self._most = store, clock, most
        self._silent_seconds, self._rate, self._pool = silent_seconds, rate, pool

    @property
    def name(self) -> str:
        return "local"

    def state(self) -> FleetState:
        now = self._clock.now()
        try:
            size = self._store.workers.pools().get(self._pool)
            views = self._views()
            instances = tuple(self._instance(view, self._store.work.leased(view.id) > 0) for view in views)
        except PodinsightError as error:
            return FleetState(now, (), (), unknown=(f"{self.name}: {error}",))
        kept = size.kept if size else None
        group = Group(self._pool, 0, size.desired if size else 0, 0 if kept else self._most)
        return FleetState(now, (group,), instances, problems=self._silent(views), kept=kept)

    def scale(self, desired: int) -> int:
        size = self._store.workers.pools().get(self._pool)
        if size is not None and size.kept is not None:
            raise Refused(f"the {self.name} fleet is shut: {size.kept.reason}")
        count = max(0, min(desired, self._most))
        self._store.workers.set_desired(self._pool, count)
        return count

    def stop(self, ids: Sequence[str]) -> Stopped:
        known = {view.id for view in self._views()}
        busy = [each for each in ids if each in known and not self._store.workers.retire(each, shrink=True)]
        return Stopped(tuple(each for each in ids if each not in busy), tuple(busy))

    def zero(self, reason: str) -> Zeroed:
        snapshot = self._store.workers.shut(self._pool, self._most, reason)
        return Zeroed(snapshot, self._silent(self._views()))

    def resume(self, snapshot: Snapshot) -> None:
        for group in snapshot.groups:
            if group.name == self._pool:
                self._store.workers.open(self._pool, min(group.desired, self._most))

    def _views(self) -> list[WorkerView]:
        return [view for view in self._store.workers.list() if view.pool == self._pool]

    def _silent(self, views: Sequence[WorkerView]) -> tuple[str, ...]:
        silent = {view.id: self._clock.now() - view.heartbeat_at for view in views}
        return tuple(
            f"{each} has not been heard of for {seconds:.0f} s"
            for each, seconds in silent.items()
            if seconds > self._silent_seconds
        )

    def _instance(self, view: WorkerView, leased: bool) -> Instance:
        return Instance(
            id=view.id,
            group=self._pool,
            kind=view.device or _UNSAID,
            zone=view.machine,
            lifecycle=Lifecycle.LOCAL,
            state=InstanceState(view.state),
            started=view.started_at,
            rate=self._rate(view.device),
            leased=leased,
        )
