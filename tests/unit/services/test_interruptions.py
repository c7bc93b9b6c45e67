"""Watching for notices, on a clock of its own (T4, G9)."""

from collections.abc import Sequence

from podinsight.domain.interruption import Course, Notice
from podinsight.services.interruptions import wait_for_leave, watch

STOP, ADVICE = Notice("stop", 1_000.0), Notice("rebalance", None)


class Script:
    """ports.Interruptions: one answer a look, the last one for ever; counts looks and pauses."""

    def __init__(self, answers: Sequence[Notice | None], ends_after: int = 100) -> None:
        self._answers, self._ends_after = list(answers), ends_after
        self.looks = self.pauses = 0

    def look(self) -> Notice | None:
        self.looks += 1
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    def pause(self) -> bool:
        self.pauses += 1
        return self.pauses > self._ends_after


def courses(script: Script) -> list[Course]:
    taken: list[Course] = []
    watch(script, taken.append, script.pause)
    return taken


def test_every_change_is_acted_on_once_and_nothing_is_looked_for_after_a_stop() -> None:
    script = Script([None, ADVICE, ADVICE, None, STOP, None])
    assert courses(script) == [Course.FINISH, Course.STOP]
    assert script.looks == 5


def test_a_stop_out_of_the_blue() -> None:
    assert courses(Script([None, STOP])) == [Course.STOP]


def test_it_ends_with_the_worker() -> None:
    script = Script([None], ends_after=3)
    assert courses(script) == []
    assert script.looks == 3


def test_a_worker_on_a_machine_without_a_notice_starts_at_once() -> None:
    script = Script([None])
    wait_for_leave(script, script.pause)
    assert (script.looks, script.pauses) == (1, 0)


def test_a_worker_on_a_machine_about_to_go_waits_until_the_notice_is_withdrawn() -> None:
    script = Script([STOP, STOP, STOP, None])
    assert wait_for_leave(script, script.pause) is None
    assert (script.looks, script.pauses) == (4, 3)


def test_advice_alone_holds_no_worker_back() -> None:
    """Often nothing follows it: the machine would be paid for and idle."""
    script = Script([STOP, ADVICE])
    assert wait_for_leave(script, script.pause) == ADVICE
    assert (script.looks, script.pauses) == (2, 1)


def test_the_advice_that_a_worker_started_under_is_no_news_to_it() -> None:
    again = Notice("rebalance", 2_000.0)
    for answers, expected in (
        ([ADVICE], []),
        ([ADVICE, again], [Course.FINISH]),
        ([ADVICE, None, STOP], [Course.STOP]),
    ):
        taken: list[Course] = []
        script = Script(answers, ends_after=5)
        watch(script, taken.append, script.pause, ADVICE)
        assert taken == expected
