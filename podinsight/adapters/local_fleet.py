"""ports.Fleet of real worker processes: what is wanted goes through the database, the supervisors carry it out."""

from collections.abc import Callable, Sequence
from typing import Final

from podinsight.domain.fleet import (
    FleetState,
    Group,
    Instance,
    InstanceState,
    Lifecycle,
    Offer,
    Snapshot,
    Stopped,
    Unheld,
    Zeroed,
)
from podinsight.domain.prices import Price
from podinsight.errors import PodinsightError, Refused
from podinsight.ports import Clock, StatusStore, WorkerView
from podinsight.topology import GPU

FREE: Final = Price(0, "local device")
_UNSAID: Final = "unknown device"


class LocalFleet:
    """The workers of one pool, on every machine whose supervisor reads this database. What is wanted is one number for
    all of them, of which each supervisor starts its machine's share (domain/share.py).

    rate: an hour of a device, by its kind and its machine's name. device: the kind of workers that start and have not
    said theirs yet, where no other of this pool has; empty when nobody knows. One that works and has not said it is
    reckoned as of no known kind.

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
        rate: Callable[[str, str], Price] = lambda _kind, _zone: FREE,
        pool: str = GPU.name,
        device: Callable[[], str] = lambda: "",
    ) -> None:
        self._store, self._clock, self._most, self._device = store, clock, most, device
        self._silent_seconds, self._rate, self._pool = silent_seconds, rate, pool

    @property
    def name(self) -> str:
        return "local"

    def state(self) -> FleetState:
        now = self._clock.now()
        try:
            size = self._store.workers.pools().get(self._pool)
            views = self._views()
            holders = self._store.work.lease_holders() if views else {}
            usual = self._usual(views)[0] if views else ""
            instances = tuple(self._instance(view, usual, view.id in holders) for view in views)
        except PodinsightError as error:
            return FleetState(now, (), (), unknown=(f"{self.name}: {error}",))
        kept = size.kept if size else None
        group = Group(self._pool, 0, size.desired if size else 0, 0 if kept else self._most)
        return FleetState(now, (group,), instances, problems=self._silent(views), kept=kept)

    def offer(self) -> Offer:
        try:
            kind, zone = self._usual(self._views())
        except PodinsightError:
            kind, zone = "", ""
        return Offer(kind, self._rate(kind, zone))

    def scale(self, desired: int, by: str = "", why: str = "") -> int:
        size = self._store.workers.pools().get(self._pool)
        if size is not None and size.kept is not None:
            raise Refused(f"the {self.name} fleet is shut: {size.kept.reason}")
        count = max(0, min(desired, self._most))
        self._store.workers.set_desired(self._pool, count, by, why)
        return count

    def stop(self, ids: Sequence[str], by: str = "", why: str = "") -> Stopped:
        known = {view.id for view in self._views()}
        retire = self._store.workers.retire
        busy = [each for each in ids if each in known and not retire(each, shrink=True, by=by, why=why)]
        return Stopped(tuple(each for each in ids if each not in busy), tuple(busy))

    def drop_minimum(self, groups: Sequence[str], by: str = "", why: str = "") -> Unheld:
        self._store.workers.pools()  # whoever is away must not say that it is done
        return Unheld(tuple(groups))

    def zero(self, why: str, by: str = "") -> Zeroed:
        snapshot = self._store.workers.shut(self._pool, self._most, why, by)
        return Zeroed(snapshot, self._silent(self._views()))

    def resume(self, snapshot: Snapshot, by: str = "", why: str = "") -> None:
        for group in snapshot.groups:
            if group.name == self._pool:
                self._store.workers.open(self._pool, min(group.desired, self._most), by, why)

    def _views(self) -> list[WorkerView]:
        return [view for view in self._store.workers.list() if view.pool == self._pool]

    def _silent(self, views: Sequence[WorkerView]) -> tuple[str, ...]:
        silent = {view.id: self._clock.now() - view.heartbeat_at for view in views}
        return tuple(
            f"{each} has not been heard of for {seconds:.0f} s"
            for each, seconds in silent.items()
            if seconds > self._silent_seconds
        )

    def _usual(self, views: Sequence[WorkerView]) -> tuple[str, str]:
        """What a worker decodes on that has not said it, and on which machine: the dearest of what others said."""
        said = {(view.device, view.machine) for view in views if view.device}
        return max(sorted(said), key=lambda each: self._rate(*each).micros) if said else (self._device(), "")

    def _instance(self, view: WorkerView, usual: str, leased: bool) -> Instance:
        """Its price is the one in force for what it does from now on: a guess is for those alone that take no work."""
        state = InstanceState(view.state)
        device = view.device or (usual if state is InstanceState.STARTING else "")
        return Instance(
            id=view.id,
            group=self._pool,
            kind=device or _UNSAID,
            zone=view.machine,
            lifecycle=Lifecycle.LOCAL,
            state=state,
            started=view.started_at,
            rate=self._rate(device, view.machine),
            leased=leased,
        )
