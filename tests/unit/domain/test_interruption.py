"""What a worker does on a machine that is about to be taken away (T4, G9)."""

import pytest

from podinsight.domain.interruption import Course, Notice, course_after

STOP, ADVICE = Notice("stop", 1_000.0), Notice("rebalance", 1_000.0)


@pytest.mark.parametrize(
    ("course", "notice", "expected"),
    [
        (Course.WORK, None, Course.WORK),
        (Course.WORK, ADVICE, Course.FINISH),
        (Course.WORK, STOP, Course.STOP),
        (Course.FINISH, ADVICE, Course.FINISH),
        (Course.FINISH, STOP, Course.STOP),
        (Course.FINISH, None, Course.FINISH),
        (Course.STOP, ADVICE, Course.STOP),
        (Course.STOP, None, Course.STOP),
    ],
)
def test_the_course_follows_the_notice_and_never_goes_back(
    course: Course, notice: Notice | None, expected: Course
) -> None:
    assert course_after(course, notice) is expected
