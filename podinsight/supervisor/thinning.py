"""Scale-in: a pool that has too many workers loses those that hold no work (G6)."""

import time
from collections.abc import Callable, Mapping, Sequence

from podinsight.ports import StatusStore
from podinsight.supervisor.pools import DRAINING
from podinsight.topology import GPU, SCALE_TICK


class DeadMan:
    """A decision about the number of gpu workers is good for a while only (scenario 11).

    Who decides runs in a worker of its own and hears of it by the broker: when one of them is gone, idle workers would
    stay for ever. `good_seconds` after the last decision (or after this supervisor's start, when that was later) none
    of them is wanted any more: those without work go and nobody is started, until somebody decides again. None: the
    pool is as large as it is, and nobody decides.

    trouble: what is wrong, for a person; else empty.
    """

    def __init__(self, good_seconds: float | None, now: Callable[[], float] = time.time) -> None:
        self.trouble = ""
        self._good, self._now, self._began = good_seconds, now, now()

    def wanted(self, desired: Mapping[str, int], ticks: Mapping[str, float]) -> dict[str, int]:
        """What is to be carried out of what the database wants (pool → count), by when decisions were made."""
        silent = self._now() - max(self._began, ticks.get(SCALE_TICK, 0.0))
        if self._good is None or silent <= self._good:
            self.trouble = ""
            return dict(desired)
        self.trouble = f"nobody has decided for more than {self._good:.0f} s how many there should be: idle ones go"
        return {**desired, GPU.name: 0}


def thin(store: StatusStore, crowded: Mapping[str, Sequence[str]], desired: Mapping[str, int]) -> set[str]:
    """Marks workers draining until each pool has what is desired; returns the ids of those that may be stopped now.

    Those that are draining already count first, then the newest go: they have the least to lose. One that holds a
    lease stays: when it has none the next call takes it. So does one whose process the database does not know yet.

    Args:
        crowded: pool → ids of its living members, the newest first.
        desired: pool → how many of them should stay.
    """
    views = {view.id: view for view in store.workers.list()}
    free: set[str] = set()
    for pool, members in crowded.items():
        leaving = [each for each in members if each in views and views[each].state == DRAINING]
        free.update(each for each in leaving if not store.work.leased(each))
        surplus = len(members) - len(leaving) - desired.get(pool, 0)
        for each in members:
            if surplus > 0 and each not in leaving and store.workers.retire(each):
                free.add(each)
                surplus -= 1
    return free
