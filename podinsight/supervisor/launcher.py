"""Starts children of the stack with the right folder, environment and log; keeps the singletons running."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from podinsight.errors import PodinsightError
from podinsight.supervisor.commands import PROJECT_ROOT
from podinsight.supervisor.pools import Backoff
from podinsight.supervisor.processes import Child, Record, adopt, start, stop
from podinsight.supervisor.registry import Registry

log = logging.getLogger(__name__)


STOP_SECONDS = 2.0


@dataclass(frozen=True)
class Launcher:
    """What every child has in common. env: its whole environment."""

    registry: Registry
    env: Mapping[str, str]

    def start(
        self, name: str, role: str, argv: Sequence[str], env: Mapping[str, str] | None = None, instance: str = ""
    ) -> Child:
        """Raises OSError when the program cannot be started."""
        return start(
            name,
            role,
            argv,
            log=self.registry.log_file(role),
            env=self.env if env is None else env,
            cwd=PROJECT_ROOT,
            instance=instance,
        )


class Singleton:
    """A process of which there is one: started, adopted, restarted when it dies."""

    def __init__(self, name: str, argv: Callable[[], list[str]], launcher: Launcher) -> None:
        self.name = name
        self.child: Child | None = None
        self._argv = argv
        self._launcher = launcher
        self._backoff = Backoff()
        self._fault = ""

    def adopt(self, record: Record) -> bool:
        """Takes a predecessor's over; one that was started differently (another port, another folder) is stopped."""
        self.child = adopt(record)
        if self.child is not None and self._differs(record):
            log.info("%s (pid %d) was started with other settings: stopped", self.name, record.pid)
            stop([self.child], STOP_SECONDS)
            self.child = None
        return self.child is not None

    def _differs(self, record: Record) -> bool:
        try:
            return bool(record.argv) and record.argv != tuple(self._argv())
        except PodinsightError:  # it could not be started now, so there is nothing better than what runs
            return False

    def tick(self) -> None:
        """Buries it when it is dead and starts it when it may."""
        if self.child is not None and not self.child.alive():
            lived = self.child.age()
            self.child.bury()
            self.child = None
            self._lost(f"died after {lived:.1f} s", lived)
        if self.child is None and self._backoff.may_start(time.monotonic()):
            try:
                self.child = self._launcher.start(self.name, self.name, self._argv())
            except (OSError, PodinsightError) as error:
                self._fault = str(error)
                self._lost(f"could not be started: {error}", 0.0)
            else:
                self._fault = ""
                log.info("%s started (pid %d)", self.name, self.child.pid)

    def trouble(self) -> str:
        """Why it does not run steadily, else empty."""
        return self._fault or self._backoff.trouble(self.child.age() if self.child else None)

    def _lost(self, what: str, lived: float) -> None:
        wait = self._backoff.died(lived, time.monotonic())
        log.warning("%s %s: %s", self.name, what, f"next try in {wait:g} s" if wait else "starting it again")
