"""Watching for the end of this machine: before a worker takes its first unit, and while it works (T4, G9)."""

import logging
from collections.abc import Callable

from podinsight.domain.interruption import Course, Notice, course_after
from podinsight.ports.interruptions import Interruptions

_log = logging.getLogger(__name__)


def wait_for_leave(interruptions: Interruptions, pause: Callable[[], object]) -> None:
    """Returns when no notice stands: a worker that starts on a machine about to go waits here and takes no unit.

    It goes on when the notice was withdrawn, or when the machine comes back from hibernation.
    pause: waits until it is time to look again.
    """
    seen: Notice | None = None
    while (notice := interruptions.look()) is not None:
        if notice != seen:
            _log.warning("this machine has a %s notice: not starting to work", notice.kind)
            seen = notice
        pause()


def watch(interruptions: Interruptions, act: Callable[[Course], None], ended: Callable[[], bool]) -> None:
    """Calls `act` whenever the course changes, until it is STOP or the worker has ended.

    ended: waits until it is time to look again; True when the worker ends anyway.
    """
    course = Course.WORK
    while course is not Course.STOP and not ended():
        notice = interruptions.look()
        after = course_after(course, notice)
        if notice is not None and after is not course:
            course = after
            _log.warning("this machine has a %s notice (%s): %s", notice.kind, _when(notice), course.name.lower())
            act(course)


def _when(notice: Notice) -> str:
    return "no time given" if notice.at is None else f"for epoch second {notice.at:.0f}"
