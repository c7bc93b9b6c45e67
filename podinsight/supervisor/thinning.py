"""Scale-in: a pool that has too many workers loses those that hold no work (G6)."""

from collections.abc import Mapping, Sequence

from podinsight.ports import StatusStore
from podinsight.supervisor.pools import DRAINING


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
