"""Watching for the end of this machine: before a worker takes its first unit, and while it works (T4, G9)."""

import logging
from collections.abc import Callable

from podinsight.domain.interruption import Course, Notice, course_after
from podinsight.ports.interruptions import Interruptions

_log = logging.getLogger(__name__)


def wait_for_leave(interruptions: Interruptions, pause: Callable[[], object]) -> Notice | None:
    """Returns when no stop is announced: a worker that starts on a machine about to go waits here and takes no unit.

    It goes on when the notice was withdrawn, or when the machine comes back from hibernation. Advice to rebalance
    holds nothing back: often nothing follows it, and the machine would stand idle for as long as it is given.
    pause: waits until it is time to look again.

    Returns:
        The advice that stands, None without any.
    """
    told = False
    while (notice := interruptions.look()) is not None and notice.kind == "stop":
        if not told:
            _log.warning("this machine has a stop notice: not starting to work")
            told = True
        pause()
    if notice is not None:
        _log.warning("this machine has a %s notice: starting to work all the same", notice.kind)
    return notice


def watch(
    interruptions: Interruptions,
    act: Callable[[Course], None],
    ended: Callable[[], bool],
    known: Notice | None = None,
) -> None:
    """Calls `act` whenever the course changes, until it is STOP or the worker has ended.

    ended: waits until it is time to look again; True when the worker ends anyway. known: advice under which the worker
    started; it is none of news.
    """
    course = Course.WORK
    while course is not Course.STOP and not ended():
        notice = interruptions.look()
        if notice is not None and notice == known:
            continue
        after = course_after(course, notice)
        if notice is not None and after is not course:
            course = after
            _log.warning("this machine has a %s notice (%s): %s", notice.kind, _when(notice), course.name.lower())
            act(course)


def _when(notice: Notice) -> str:
    return "no time given" if notice.at is None else f"for epoch second {notice.at:.0f}"
