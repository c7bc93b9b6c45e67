"""Cleaning: sweeps what attempts left behind whose worker was killed or whose writing went wrong."""

from dataclasses import dataclass

from podinsight.domain.redaction import said
from podinsight.errors import Refused, Transient, Unavailable
from podinsight.ports import Clock, Leftover, ObjectStore, StatusStore

_AT_ONCE = 500


@dataclass(frozen=True)
class CleanReport:
    """What a pass swept: attempts, and objects found of them. faults: what could not be swept, one line each."""

    prefixes: int
    objects: int
    faults: tuple[str, ...]


def clean(store: StatusStore, objects: ObjectStore, clock: Clock, older_seconds: float) -> CleanReport:
    """One pass over attempts that were lost more than `older_seconds` ago; safe to run twice at once.

    A lost attempt can never be committed, so all that has its name may go; the wait is for a writer that was frozen
    and wakes. What cannot be swept now is left for the next pass; a name that the store refuses is said and forgotten.
    """
    swept: list[Leftover] = []
    faults: list[str] = []
    found = 0
    for leftover in store.work.leftovers(clock.now() - older_seconds, _AT_ONCE):
        try:
            found += objects.sweep(leftover.prefix)
        except (Transient, Unavailable) as error:  # the next one would fare no better
            faults.append(str(error))
            break
        except Refused as error:
            faults.append(f"{leftover.prefix}: {error}")
        except Exception as error:  # one that cannot be swept must not keep the others from it
            faults.append(f"{leftover.prefix}: {said(error)}")
            continue
        swept.append(leftover)
    store.work.cleared(swept)
    store.control.tick("clean")
    return CleanReport(len(swept), found, tuple(faults))
