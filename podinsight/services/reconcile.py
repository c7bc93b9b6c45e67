"""Reconcile: returns what got lost to `waiting`, finishes cut-off projections, forgets workers long dead."""

from dataclasses import dataclass

from podinsight.errors import PodinsightError
from podinsight.ports import ObjectStore, Reconciled, StatusStore
from podinsight.services.project import project

_FORGET_SECONDS = 86_400.0


@dataclass(frozen=True)
class ReconcileReport:
    """What a pass did, and the projections that could not be finished, one line each."""

    rows: Reconciled
    projected: int
    faults: tuple[str, ...]


def reconcile(store: StatusStore, objects: ObjectStore, dispatch_seconds: float) -> ReconcileReport:
    """One pass; safe to run from anywhere, at any time, twice at once."""
    rows = store.work.reconcile(dispatch_seconds)
    done = 0
    faults: list[str] = []
    for projection in store.work.unprojected(100):
        try:
            project(store, objects, projection)
            done += 1
        except PodinsightError as error:
            faults.append(f"{projection.stage} of {projection.episode.id}: {error}")
    store.workers.forget_dead(_FORGET_SECONDS)
    store.control.tick("reconcile")
    return ReconcileReport(rows, done, tuple(faults))
