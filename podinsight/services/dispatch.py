"""Dispatch: moves the best waiting rows to the broker, as many as workers report free slots."""

from podinsight.errors import Unavailable
from podinsight.ports import JobQueue, StatusStore
from podinsight.topology import STAGES


def dispatch(store: StatusStore, queue: JobQueue, stage: str | None = None) -> int:
    """Fills the free slots of each stage's pool (or of one stage's); returns how many units were sent.

    A unit that the broker does not take is `waiting` again at once.

    Raises:
        Unavailable: the broker or the database does not answer.
    """
    sent = 0
    for spec in STAGES.values():
        if stage is not None and spec.name != stage:
            continue
        slots = store.workers.live_slots(spec.queue)
        if slots <= 0:
            continue
        tickets = store.work.dispatch(spec.lane, slots)
        for done, ticket in enumerate(tickets):
            try:
                queue.publish(spec.task, [ticket.episode_id])
            except Unavailable:
                store.work.undo_dispatch(tickets[done:])
                raise
        sent += len(tickets)
    return sent
