"""Pure decisions: which workers to start and stop, and how long a crashing process waits."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

RAPID_SECONDS = 5.0
FREE_RESTARTS = 2
MAX_WAIT_SECONDS = 30.0
DRAINING = "draining"


@dataclass(frozen=True)
class Member:
    """A living worker that is not draining. started_at: seconds, the larger the newer."""

    id: str
    pool: str
    started_at: float


@dataclass(frozen=True)
class Plan:
    """starts: pool → how many, only pools that get one. crowded: pool → ids of all its members, the newest first, only
    pools that have more than they should."""

    starts: Mapping[str, int]
    crowded: Mapping[str, tuple[str, ...]]


def plan(desired: Mapping[str, int], alive: Iterable[Member]) -> Plan:
    """What brings `alive` to `desired` (pool → count; a pool that is not named should have none)."""
    by_pool: dict[str, list[Member]] = {pool: [] for pool in desired}
    for member in alive:
        by_pool.setdefault(member.pool, []).append(member)
    starts: dict[str, int] = {}
    crowded: dict[str, tuple[str, ...]] = {}
    for pool, members in by_pool.items():
        wanted = max(0, desired.get(pool, 0))
        if wanted > len(members):
            starts[pool] = wanted - len(members)
        if wanted < len(members):
            newest_first = sorted(members, key=lambda member: (member.started_at, member.id), reverse=True)
            crowded[pool] = tuple(member.id for member in newest_first)
    return Plan(starts, crowded)


class Backoff:
    """Waits between restarts: none for a process that lived, 1, 2, 4 … 30 s for one that dies again and again.

    The first deaths in a row are free: a worker that somebody killed is back at once. Times are monotonic seconds.
    """

    def __init__(self) -> None:
        self.rapid = 0
        self._not_before = 0.0

    def died(self, lived: float, now: float) -> float:
        """Counts a death after `lived` seconds; returns the wait before the next start."""
        self.rapid = self.rapid + 1 if lived < RAPID_SECONDS else 0
        late = self.rapid - FREE_RESTARTS
        wait = min(MAX_WAIT_SECONDS, 2.0 ** min(late - 1, 10)) if late > 0 else 0.0
        self._not_before = now + wait
        return wait

    def may_start(self, now: float) -> bool:
        return now >= self._not_before

    def trouble(self, lived: float | None) -> str:
        """One line for `health` while it crashes again and again; empty once the present one has lived (seconds)."""
        if self.rapid <= FREE_RESTARTS or (lived is not None and lived >= RAPID_SECONDS):
            return ""
        return f"died {self.rapid} times in a row within {RAPID_SECONDS:g} s of its start"
