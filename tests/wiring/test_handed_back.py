"""A unit that is handed back is no error: one calm line in the log, and its message does not come again (T4)."""

import logging
import pickle
from collections.abc import Iterator
from typing import Any, Final

import pytest
from celery.app.trace import build_tracer
from celery.exceptions import Reject

from podinsight.errors import Abandoned, LeaseLost
from workers import app
from workers.app import HandedBack, task

NAME: Final = "reconcile"


@pytest.fixture
def own_name() -> Iterator[None]:
    """A task that a test registers under a name of topology gives way to the real one afterwards."""
    app.loader.import_default_modules()
    real = app.tasks[NAME]
    app.tasks.pop(NAME)
    yield
    app.tasks[NAME] = real


def run(error: Exception, caplog: pytest.LogCaptureFixture) -> tuple[Any, list[logging.LogRecord]]:
    """What Celery's pool gets of a task that raises `error`, and all that was logged of it."""

    def body(*_: object) -> str:
        raise error

    registered = task(NAME)(body)
    with caplog.at_level(logging.INFO):
        found, *_rest = build_tracer(NAME, app.tasks[registered.name], app=app)("1", ("e1",), {}, {})
    return found, [each for each in caplog.records if each.name.startswith(("celery", "podinsight"))]


@pytest.mark.usefixtures("own_name")
@pytest.mark.parametrize("error", [Abandoned("this worker stops"), LeaseLost("another has it")])
def test_a_unit_that_is_handed_back_is_one_line_without_a_traceback(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    found, records = run(error, caplog)
    (said,) = records
    assert (said.levelname, said.name, said.exc_info) == ("INFO", "podinsight.task", None)
    assert said.getMessage().startswith(f"{NAME} ['e1']: {error} (")
    ended = found.exception.exc
    assert isinstance(ended, HandedBack)
    assert ended.requeue is False, "not to be delivered again"


@pytest.mark.usefixtures("own_name")
@pytest.mark.parametrize(("error", "level"), [(Reject("a stranger's"), "WARNING"), (KeyError("a fault"), "ERROR")])
def test_other_rejections_and_faults_are_told_as_ever(
    error: Exception, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    _found, records = run(error, caplog)
    (said,) = records
    assert (said.levelname, said.name) == (level, "celery.app.trace")
    assert said.exc_info


def test_it_reaches_the_main_process_as_what_it_is() -> None:
    arrived = pickle.loads(pickle.dumps(HandedBack("this worker stops", requeue=False)))
    assert (type(arrived), arrived.reason, arrived.requeue) == (HandedBack, "this worker stops", False)
