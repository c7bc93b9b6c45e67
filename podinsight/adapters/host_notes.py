"""What was observed at hosts, gathered in this process and written every couple of seconds."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from podinsight.domain.hosts import HostNote

log = logging.getLogger(__name__)

WRITE_SECONDS = 2.0


class NoteBook:
    """Adds notes up by host; a daemon thread writes them while there are any. What cannot be written is kept."""

    def __init__(self, write: Callable[[Sequence[HostNote]], None], seconds: float = WRITE_SECONDS) -> None:
        self._write = write
        self._seconds = seconds
        self._notes: dict[str, HostNote] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._at_once = False

    def add(self, note: HostNote, *, at_once: bool = False) -> None:
        """at_once: written as soon as the thread comes to it."""
        with self._changed:
            self._put(note)
            self._at_once = self._at_once or at_once
            self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="host notes", daemon=True)
                self._thread.start()

    def flush(self) -> None:
        """Writes what there is, in this thread: before a process ends."""
        with self._changed:
            notes, self._notes = self._notes, {}
        if not notes:
            return
        try:
            self._write(list(notes.values()))
        except Exception as error:  # whatever it is, a request must not fail because of what is noted about it
            log.warning("what was seen at %s could not be noted yet: %s", ", ".join(notes), error)
            with self._changed:
                newer, self._notes = self._notes, notes
                for note in newer.values():
                    self._put(note)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._at_once, timeout=self._seconds)
                self._at_once = False
            self.flush()
            with self._changed:
                if not self._notes:
                    self._thread = None
                    return

    def _put(self, note: HostNote) -> None:
        old = self._notes.get(note.host)
        self._notes[note.host] = note if old is None else _sum(old, note)


def _sum(old: HostNote, new: HostNote) -> HostNote:
    return replace(
        new,
        requests=old.requests + new.requests,
        throttled=old.throttled + new.throttled,
        failed=old.failed + new.failed,
        received=old.received + new.received,
        limit_now=old.limit_now if new.limit_now is None else new.limit_now,
        cooling_until=max(old.cooling_until or 0.0, new.cooling_until or 0.0) or None,
    )
