"""The freeze that outlives the database: an object beside it says what was stopped (G2; DESIGN.md, idea 8)."""

import logging
from collections.abc import Sequence
from typing import Final

from podinsight.domain import stop_mark
from podinsight.domain.alerts import Alert, Severity
from podinsight.domain.control import Control
from podinsight.domain.redaction import said
from podinsight.domain.stop_mark import Act, Mark
from podinsight.services.guard import GUARD, GuardPorts
from podinsight.services.stored import stored

KEY: Final = "backups/control/stop.json"
_log = logging.getLogger(__name__)


def keep(ports: GuardPorts) -> Control:
    """Control as it holds once mark and database agree. With the object store away, or a mark that cannot be read,
    what the database says holds; the next one looks again."""
    control, fault = agree(ports)
    if fault:
        _log.warning("the mark of a stop: %s", fault)
    return control


def agree(ports: GuardPorts) -> tuple[Control, str]:
    """The same, with what went wrong; twice at once does no harm.

    Raises:
        Unavailable: the database does not answer.
    """
    try:
        mark = _read(ports)
    except ValueError as error:
        mark, unreadable = None, f"{KEY}: {error}"
    except Exception as error:  # the object store: whatever it is, the guard goes on without
        return ports.store.control.read(), said(error)
    else:
        unreadable = ""
    act = stop_mark.compare(_history(ports, mark), mark, GUARD)
    if mark is not None and act is Act.STOP:
        _stop_again(ports, mark)
        act = Act.WRITE
    control = ports.store.control.read()
    try:
        if act is Act.WRITE and control.stops:
            ports.objects.put(KEY, stop_mark.to_json(stop_mark.of(control)))
        elif act is Act.REMOVE and not control.stops:
            ports.objects.delete([KEY])
    except Exception as error:
        return control, said(error)
    return control, unreadable


def _read(ports: GuardPorts) -> Mark | None:
    data = stored(ports.objects, KEY)
    return None if data is None else stop_mark.from_json(data)


def _history(ports: GuardPorts, mark: Mark | None) -> Sequence[Control]:
    rows = ports.store.control.since(mark.at) if mark is not None else ()
    return rows or [ports.store.control.read()]


def _stop_again(ports: GuardPorts, mark: Mark) -> None:
    def stop(history: Sequence[Control]) -> Sequence[Control]:
        now = history[0] if history else Control()
        wanted = stop_mark.again(now, mark, GUARD)
        return [wanted] if (wanted.mode, wanted.gpu_frozen) != (now.mode, now.gpu_frozen) else []

    def tell(_was: Control, now: Control) -> Alert:
        title = f"stopped once more ({now.mode.value}{', gpu frozen' if now.gpu_frozen else ''}): {now.why}"
        return Alert(f"stop:restored:{mark.at}", Severity.CRITICAL, title, "`podrun resume` goes on.")

    ports.store.control.revise(stop, tell)
