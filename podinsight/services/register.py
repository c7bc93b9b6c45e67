"""Registering: the segments of each transcript become a partition of the table of all segments (T10).

An episode's row says since when it waits for that, from the transaction in which its transcript gets its names until
the catalogue has it: whatever is away or killed in between, nothing is forgotten, and nothing else waits for it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from podinsight.domain.episode import Episode
from podinsight.domain.redaction import said
from podinsight.domain.table import MOST_PARTITIONS, Partition
from podinsight.ports import Clock, ObjectStore, SegmentTable, StatusStore
from podinsight.services.manifest import pages

FAILED: Final = "register_failed"
PAUSE_SECONDS: Final = 300.0
_AT_ONCE: Final = 3 * MOST_PARTITIONS


@dataclass(frozen=True)
class RegisterReport:
    """How many partitions are registered. faults: what went wrong, one line each."""

    registered: int
    faults: tuple[str, ...] = ()


def register(store: StatusStore, objects: ObjectStore, table: SegmentTable, clock: Clock) -> RegisterReport:
    """One pass over what has landed and waits, some hundreds at most; safe to run twice at once.

    When the catalogue fails, passes of the next PAUSE_SECONDS leave it alone: they hold a worker while they wait for
    it, which has other things to do. Partitions that it refuses are tried again after all others.
    """
    if not table.name:
        return RegisterReport(0)
    waiting = store.catalogue.unregistered(_AT_ONCE)
    if not waiting or clock.now() < store.control.ticks().get(FAILED, 0.0) + PAUSE_SECONDS:
        return RegisterReport(0)
    try:
        report = _register(store, objects, table, waiting)
    except Exception as error:
        store.control.tick(FAILED)
        return RegisterReport(0, (said(error),))
    store.control.tick("register_segments")
    return report


def register_all(
    store: StatusStore, objects: ObjectStore, table: SegmentTable, feed_id: str | None = None
) -> RegisterReport:
    """Every transcript that is there, whether it was registered before or not: the table may be a new one.

    Raises:
        PodinsightError: as SegmentTable.register; what was registered until then is.
    """
    registered = 0
    faults: list[str] = []
    episodes = landed(store, feed_id)
    while batch := list(islice(episodes, _AT_ONCE)):
        report = _register(store, objects, table, batch)
        registered += report.registered
        faults += report.faults
    return RegisterReport(registered, tuple(faults))


def landed(store: StatusStore, feed_id: str | None = None) -> Iterator[Episode]:
    """The episodes that have a transcript, in the order of discovery."""
    return (episode for page in pages(store, feed_id=feed_id) for episode in page if episode.transcript_key)


def partitions(objects: ObjectStore, episodes: Iterable[Episode]) -> Iterator[Partition]:
    """The partition of each episode."""
    for each in episodes:
        yield Partition(each.feed_slug, each.folder, objects.where(f"{each.stage}/segments"))


def _register(
    store: StatusStore, objects: ObjectStore, table: SegmentTable, episodes: Sequence[Episode]
) -> RegisterReport:
    ids = {partition: each.id for partition, each in zip(partitions(objects, episodes), episodes, strict=True)}
    refused = table.register(list(ids))
    store.catalogue.register_later([ids[partition] for partition in refused])
    store.catalogue.registered([this for partition, this in ids.items() if partition not in refused])
    faults = (f"{each.feed_slug}/{each.guid}: {why}" for each, why in refused.items())
    return RegisterReport(len(ids) - len(refused), tuple(faults))
