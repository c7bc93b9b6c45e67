"""What of a pool that comes and goes with work is this machine's: decided from the database alone (G6)."""

from collections.abc import Mapping

from podinsight.domain.share import share_out
from podinsight.ports import StatusStore
from podinsight.topology import GPU


def shared(store: StatusStore, desired: Mapping[str, int], machine: str) -> dict[str, int]:
    """`desired` (pool → count in all) with this machine's share of the gpu workers; the other pools as they are.

    Machines with a worker that was heard of lately have a share, and this one in any case. One that is not heard of any
    more loses its share to the others. Other pools have a size of their own on each machine.

    Raises:
        Unavailable: the database does not answer.
    """
    if GPU.name not in desired:
        return dict(desired)
    working = {machine: 0, **store.workers.spread(GPU.name)}
    return {**desired, GPU.name: share_out(desired[GPU.name], working)[machine]}
