"""What the supervisor knows on disk: `<state_dir>/run`, its single-instance lock and `<state_dir>/logs`."""

import fcntl
import json
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

import psutil

from podinsight.supervisor.processes import Record, adopt, created, is_same

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StackState:
    """processes.json: the children, what troubles them (name → text), and whether the stack is being stopped.

    same_boot is False when the file was written before the machine last started: none of its pids mean anything.
    """

    records: tuple[Record, ...] = ()
    troubles: Mapping[str, str] = field(default_factory=dict)
    stopping: bool = False
    same_boot: bool = True


class Registry:
    """Reads and atomically writes the run files."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir.resolve()
        self.run_dir = self.state_dir / "run"
        self.logs_dir = self.state_dir / "logs"
        self.processes_file = self.run_dir / "processes.json"
        self.keeper_file = self.run_dir / "keeper.json"

    def log_file(self, role: str) -> Path:
        return self.logs_dir / f"{role}.log"

    def load(self) -> StackState:
        """An unreadable file counts as an empty one, and is told in one line."""
        try:
            data = json.loads(self.processes_file.read_text(encoding="utf-8"))
            return StackState(
                records=tuple(Record.from_json(item) for item in data["processes"]),
                troubles={str(name): str(text) for name, text in data.get("troubles", {}).items()},
                stopping=bool(data.get("stopping", False)),
                same_boot=data.get("boot") == _boot(),
            )
        except FileNotFoundError:
            return StackState()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("%s is unreadable (%s): starting without it", self.processes_file, error)
            return StackState()

    def save(self, state: StackState) -> None:
        self._write(
            self.processes_file,
            {
                "boot": _boot() if state.same_boot else "",
                "stopping": state.stopping,
                "troubles": dict(state.troubles),
                "processes": [record.to_json() for record in state.records],
            },
        )

    def keeper(self) -> Record | None:
        """The keeper that wrote its file last, if it is alive."""
        try:
            data = json.loads(self.keeper_file.read_text(encoding="utf-8"))
            record = Record.from_json(data)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return record if data.get("boot") == _boot() and adopt(record) else None

    def save_keeper(self, record: Record) -> None:
        self._write(self.keeper_file, {"boot": _boot(), **record.to_json()})

    def clear(self) -> None:
        """Removes the run files; the lock file stays, because removing a lock file breaks the lock."""
        for path in (self.processes_file, self.keeper_file):
            path.unlink(missing_ok=True)

    def _write(self, path: Path, data: object) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        fresh.write_text(json.dumps(data, indent=1), encoding="utf-8")
        fresh.replace(path)


class InstanceLock:
    """At most one supervisor a state folder: an exclusive flock that the kernel drops when its holder dies."""

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir.resolve() / "run" / "supervisor.lock"
        self._file: FileIO | None = None

    def acquire(self, wait: float = 1.0) -> bool:
        """False when somebody else holds it for all of `wait` seconds (`holder` borrows it for an instant)."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = FileIO(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644), "r+")
        deadline = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    handle.close()
                    return False
                time.sleep(0.05)
        handle.truncate(0)
        handle.write(f"{os.getpid()} {created(psutil.Process())}\n".encode())
        self._file = handle
        return True

    def release(self) -> None:
        if self._file is not None:
            self._file.truncate(0)
            self._file.close()
            self._file = None

    def holder(self) -> int | None:
        """The pid of the process that holds the lock now, or None."""
        for _ in range(20):
            if not self._held():
                return None
            pid = self._written_pid()
            if pid is not None:
                return pid
            time.sleep(0.05)  # taken this instant: its pid is not written yet
        return None

    def _held(self) -> bool:
        try:
            with self.path.open("rb") as handle:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            return False
        return False

    def _written_pid(self) -> int | None:
        try:
            pid, when = self.path.read_text(encoding="ascii").split()
            return int(pid) if is_same(psutil.Process(int(pid)), float(when)) else None
        except (OSError, ValueError, psutil.Error):
            return None


def _boot() -> str:
    """Tells one start of the machine from the next."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return str(round(psutil.boot_time(), -1))
