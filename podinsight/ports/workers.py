"""Who works, and how many of a pool are wanted, in the database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from podinsight.domain.fleet import FleetEvent, Snapshot
from podinsight.domain.metering import Meter
from podinsight.domain.prices import Price
from podinsight.ports.money import Entry


@dataclass(frozen=True)
class WorkerView:
    """One worker process. state: starting | ready | draining | dead.

    device: what a gpu worker decodes on (`cpu`, `cuda`); empty when it has not said, and in other pools. price: an hour
    of it, as a market asks for it now; None where none does, or nobody has looked yet: then the price book's holds.
    """

    id: str
    machine: str
    pool: str
    pid: int
    slots: int
    state: str
    heartbeat_at: float
    started_at: float
    device: str = ""
    price: Price | None = None


@dataclass(frozen=True)
class PoolSize:
    """How many workers a pool should have; none while it is shut. kept: the sizes from before it was, else None."""

    desired: int
    kept: Snapshot | None = None


class Workers(Protocol):
    """Worker processes and how many of each pool there should be."""

    def expect(self, worker: str, machine: str, pool: str, pid: int) -> None:
        """Its process was started: `starting` until it registers. One that is known already stays as it is."""
        ...

    def register(self, worker: str, machine: str, pool: str, pid: int, slots: int, device: str = "") -> None:
        """Ready now, without a price of its own; registering again refreshes. A worker marked draining or dead stays
        so."""
        ...

    def heartbeat(self, worker: str) -> str | None:
        """Records life; returns the worker's state (None: unknown), so that it learns that it drains."""
        ...

    def mark(self, worker: str, state: str) -> None: ...
    def retire(self, worker: str, shrink: bool = False, by: str = "", why: str = "") -> bool:
        """Marks a worker draining if it holds no lease, in one transaction: of a claim and this, one comes first.
        shrink: its pool should then have one worker less, so that nobody is started in its place. by, why: as in
        `changes`.

        Returns whether it is on its way out now: False for one that holds a lease, or is not known."""
        ...

    def list(self, machine: str | None = None) -> list[WorkerView]:
        """Workers that are not dead."""
        ...

    def live_slots(self, pool: str) -> int:
        """Slots of ready workers of this pool whose heartbeat is fresh."""
        ...

    def live(self, pool: str) -> Sequence[WorkerView]:
        """Ready workers of this pool whose heartbeat is fresh."""
        ...

    def spread(self, pool: str) -> Mapping[str, int]:
        """machine → how many of its workers of this pool start or are ready, with a fresh heartbeat. Every machine is
        in here that has such a worker in any pool."""
        ...

    def desired(self) -> dict[str, int]: ...
    def set_desired(self, pool: str, count: int, by: str = "", why: str = "") -> None:
        """Without effect while the pool is shut: opening it sets what was."""
        ...

    def pools(self) -> dict[str, PoolSize]: ...
    def shut(self, pool: str, most: int, why: str, by: str = "") -> Snapshot:
        """No worker of this pool should be there from now on, whatever is desired: all of them are draining, and those
        that hold leases hand back and end. Returns what was, as the first call kept it. most: the pool's maximum, to
        be kept with it."""
        ...

    def open(self, pool: str, desired: int, by: str = "", why: str = "") -> bool:
        """As many as this should be there again. False, and nothing changes, when the pool is not shut."""
        ...

    def changes(self, pool: str, limit: int) -> Sequence[FleetEvent]:
        """What was done to the size of this pool, the newest first: each call of the four above that changed how many
        should be there, or shut or opened the pool, with who and why, written in the transaction of the change. Nothing
        of it is ever changed or taken away."""
        ...

    def reprice(self, pool: str, prices: Mapping[str, Price | None]) -> None:
        """What an hour costs from now on of this pool's workers, by their id, or by the name of their machine: what a
        machine costs its workers share, those that are heard of, each rounded up. None: it has no price of its own any
        more, and the price book's holds. Claims, renewals, settlements and idle time reckon with it. A name that nobody
        has is without effect; whoever is not named keeps what he has, and so do the dead. Where nothing is new nothing
        is written."""
        ...

    def meters(self, pool: str) -> Sequence[Meter]:
        """The time of each worker of this pool at one moment. One whose heartbeat is stale counts up to it; one that is
        dead is in here until it was metered up to then."""
        ...

    def metered(self, meter: Meter, entries: Mapping[str, Entry]) -> bool:
        """The due time of a meter is written down: `entries` by UTC day into the ledger, with what they count as spent,
        in one transaction. Returns False when somebody else has written since it was read; then nothing changes."""
        ...

    def forget_dead(self, older_than: float) -> None:
        """Those dead since before; a gpu worker only once it was metered, or a week later."""
        ...
