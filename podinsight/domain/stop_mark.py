"""The mark of a stop that outlives the database: what it says, against what the database says. Pure.

A database that is restored from a backup does not know that work was stopped since. The mark, an object, does.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

from podinsight.domain.control import Control, Mode


@dataclass(frozen=True)
class Mark:
    """What was stopped, by whom, when (epoch seconds, as control has it) and why."""

    mode: Mode
    gpu_frozen: bool
    by: str
    at: float
    why: str


class Act(StrEnum):
    """What is to be done so that mark and database agree."""

    NOTHING = "nothing"
    WRITE = "write"  # the mark, from the database
    REMOVE = "remove"  # the mark
    STOP = "stop"  # the database does not know of the stop: it was restored from before


def of(control: Control) -> Mark:
    return Mark(control.mode, control.gpu_frozen, control.by, control.at, control.why)


def compare(history: Sequence[Control], mark: Mark | None, guard: str) -> Act:
    """What is to be done.

    Args:
        history: what was written to the database since the mark was made, that moment included, the newest first; and
            the row that holds now in any case.
        guard: who is no person: what it writes lifts nothing.

    A database that knows the row which the mark was made of is not from before it: what it says holds, the resume by
    a person included. One that does not know it may still have been resumed by a person since, who then meant it.
    """
    now = history[0] if history else Control()
    if mark is None:
        return Act.WRITE if now.stops else Act.NOTHING
    known = any(of(row) == mark for row in history)
    named = any(not row.stops and row.at > mark.at and row.by != guard for row in history)
    if not known and not named:
        return Act.STOP
    if not now.stops:
        return Act.REMOVE
    return Act.NOTHING if of(now) == mark else Act.WRITE


def again(now: Control, mark: Mark, guard: str) -> Control:
    """All that the mark and the database stop."""
    mode = max((now.mode, mark.mode), key=list(Mode).index)
    why = f"restored from a backup: stopped by {mark.by} before: {mark.why}"
    return replace(now, mode=mode, gpu_frozen=now.gpu_frozen or mark.gpu_frozen, by=guard, at=0.0, why=why)


def to_json(mark: Mark) -> bytes:
    return (json.dumps(asdict(mark), indent=2, sort_keys=True) + "\n").encode()


def from_json(data: bytes) -> Mark:
    """Raises ValueError for what is no mark."""
    try:
        found = json.loads(data)
        mode, frozen = Mode(found["mode"]), found["gpu_frozen"]
        mark = Mark(mode, frozen is True, str(found["by"]), float(found["at"]), str(found["why"]))
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"not a mark of a stop: {type(error).__name__}") from None
    if not isinstance(frozen, bool):
        raise ValueError("not a mark of a stop: gpu_frozen is neither true nor false")
    return mark
