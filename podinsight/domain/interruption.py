"""A machine that is about to be taken away: what is said of it, and what a worker on it does (pure; T4, G9)."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal


@dataclass(frozen=True)
class Notice:
    """What the provider says of this machine.

    kind: `stop`, it ends soon; `rebalance`, it is likelier than usual to end. at: epoch seconds, None when not said.
    """

    kind: Literal["stop", "rebalance"]
    at: float | None = None


class Course(IntEnum):
    """What a worker does: work, end after the units it runs (FINISH), or hand them back and end at once (STOP)."""

    WORK = 0
    FINISH = 1
    STOP = 2


def course_after(course: Course, notice: Notice | None) -> Course:
    """The course once `notice` was seen; it never goes back, since a worker that drains is not called off.

    Advice to rebalance is often followed by nothing, so it costs no work; a stop follows within two minutes, too
    soon to rely on a unit's end.
    """
    if notice is None:
        return course
    return max(course, Course.STOP if notice.kind == "stop" else Course.FINISH)
