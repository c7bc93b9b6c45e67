"""The keeper: starts the supervisor and starts it again when it dies unexpectedly. Nothing else, so it stays alive."""

import logging
import os
import time
from collections.abc import Mapping

from podinsight.supervisor.commands import PROJECT_ROOT, Commands
from podinsight.supervisor.processes import find, self_record, start, wait
from podinsight.supervisor.registry import Registry

log = logging.getLogger(__name__)

FIRST_WAIT_SECONDS = 0.5
MAX_WAIT_SECONDS = 10.0
STEADY_SECONDS = 30.0
# Ended in order or another one runs; wrong configuration; a port is taken: starting it again changes nothing.
FINAL_CODES = frozenset({0, 2, 3})


def keep(registry: Registry, commands: Commands, env: Mapping[str, str], adopt_pid: int | None = None) -> int:
    """Returns 0 when the supervisor has ended for good.

    Args:
        adopt_pid: a supervisor that runs already (it has lost its keeper).
    """
    registry.save_keeper(self_record("keeper", "keeper"))
    child = None if adopt_pid is None else find("supervisor", adopt_pid)
    pause = FIRST_WAIT_SECONDS
    while True:
        began = time.monotonic()
        try:
            if child is None:
                child = start(
                    "supervisor",
                    "supervisor",
                    commands.supervisor(),
                    log=registry.log_file("supervisor"),
                    env=env,
                    cwd=PROJECT_ROOT,
                )
            code = wait(child)
            if code in FINAL_CODES or (code is None and not registry.processes_file.exists()):
                log.info("the supervisor has ended (pid %d): so does the keeper", child.pid)
                break
            log.warning("the supervisor died (pid %d): starting it again in %g s", child.pid, pause)
        except OSError as error:
            log.error("the supervisor cannot be started: %s; next try in %g s", error, pause)
        child = None
        time.sleep(pause)
        steady = time.monotonic() - began > STEADY_SECONDS
        pause = FIRST_WAIT_SECONDS if steady else min(2 * pause, MAX_WAIT_SECONDS)
    _forget(registry)
    return 0


def _forget(registry: Registry) -> None:
    """Removes the keeper's file, unless another keeper has taken it over."""
    record = registry.keeper()
    if record is not None and record.pid == os.getpid():
        registry.keeper_file.unlink(missing_ok=True)
