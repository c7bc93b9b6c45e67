"""Reconcile: returns what got lost to `waiting`, finishes cut-off projections, forgets workers long dead."""

from dataclasses import dataclass

from podinsight.domain.redaction import said
from podinsight.ports import ObjectStore, Reconciled, StatusStore
from podinsight.services.project import Gone, project

_FORGET_SECONDS = 86_400.0
_TWIN_SECONDS = 60.0  # after which it is looked again whether the transcript of the same audio is still on its way


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
            done += project(store, objects, projection)
        except Gone as error:
            store.work.redo(projection, str(error))
            faults.append(f"{projection.stage} of {projection.episode.id} starts over: {error}")
        except Exception as error:  # one that cannot be made must not keep the others from it
            store.work.postpone(projection)
            faults.append(f"{projection.stage} of {projection.episode.id}: {said(error)}")
    store.work.release_twins(_TWIN_SECONDS)
    store.workers.forget_dead(_FORGET_SECONDS)
    store.control.tick("reconcile")
    return ReconcileReport(rows, done, tuple(faults))
