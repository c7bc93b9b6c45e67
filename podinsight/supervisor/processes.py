"""Processes that outlive whoever started them: sessions of their own, known by pid and creation time.

Whoever comes after (a restarted supervisor, `podrun down`) adopts them from their `Record`.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

LOG_BYTES = 5_000_000
SAME_TIME_SECONDS = 0.05
_GONE = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)

# Handles of the processes this one is the parent of: kept so that they can be reaped, and for as long as we live.
_started: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class Record:
    """What is known of a child on disk. role: `broker`, `beat`, `flower`, `keeper` or the pool of a worker.

    create_time: see `created`. instance: the worker's instance id, else empty. draining: it was asked to stop.
    """

    name: str
    role: str
    pid: int
    create_time: float
    instance: str = ""
    argv: tuple[str, ...] = ()
    draining: bool = False

    def to_json(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Record":
        """Raises KeyError, TypeError or ValueError when `data` is no record."""
        return cls(
            name=str(data["name"]),
            role=str(data["role"]),
            pid=int(data["pid"]),
            create_time=float(data["create_time"]),
            instance=str(data.get("instance", "")),
            argv=tuple(str(part) for part in data.get("argv", ())),
            draining=bool(data.get("draining", False)),
        )


class Child:
    """One process, started by us or adopted."""

    def __init__(self, record: Record, process: psutil.Process) -> None:
        self.record = record
        self._process = process

    @property
    def pid(self) -> int:
        return self.record.pid

    def age(self) -> float:
        """Seconds since it was started."""
        return max(0.0, _now() - self.record.create_time)

    def alive(self) -> bool:
        """Zombies count as dead."""
        try:
            return self._process.is_running() and self._process.status() not in _GONE
        except psutil.NoSuchProcess:
            return False

    def children(self) -> "list[Child]":
        """Its own child processes, now."""
        try:
            found = self._process.children()
            return [Child(Record(self.record.name, "", each.pid, created(each)), each) for each in found]
        except psutil.NoSuchProcess:
            return []

    def terminate(self) -> None:
        """SIGTERM to the main process alone: it tells its own children."""
        try:
            self._process.send_signal(signal.SIGTERM)
        except psutil.NoSuchProcess:
            return

    def bury(self) -> None:
        """SIGKILL to the whole process group, so that no orphan goes on; then reaps what is ours to reap."""
        if not self._pid_reused():
            _kill_group(self.pid)
        popen = _started.get(self.pid)
        if popen is not None:
            try:
                popen.wait(timeout=2.0)
            except subprocess.TimeoutExpired:
                return  # stuck in the kernel; the next bury reaps it
            del _started[self.pid]

    def _pid_reused(self) -> bool:
        return not self._process.is_running() and psutil.pid_exists(self.pid)


def start(
    name: str,
    role: str,
    argv: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str],
    cwd: Path,
    instance: str = "",
) -> Child:
    """Starts a process as the leader of a new session, its output appended to `log`.

    Raises:
        OSError: the program is not there or may not be run.
    """
    rotate(log)
    with log.open("ab") as out:
        popen = subprocess.Popen(
            list(argv), stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=dict(env), cwd=cwd, start_new_session=True
        )
    _started[popen.pid] = popen
    process = psutil.Process(popen.pid)
    return Child(Record(name, role, popen.pid, created(process), instance, tuple(argv)), process)


@contextmanager
def interrupts_wait() -> Iterator[None]:
    """Ctrl-C takes effect at the end of the block: a process that has started and is not known yet could be stopped by
    nobody. Threads but the main one are never interrupted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)
    if came:
        signal.raise_signal(signal.SIGINT)


def adopt(record: Record) -> Child | None:
    """The living process of this record; None when it is gone or its pid belongs to somebody else by now."""
    try:
        process = psutil.Process(record.pid)
        if not is_same(process, record.create_time):
            return None
    except psutil.Error:
        return None
    child = Child(record, process)
    return child if child.alive() else None


def find(name: str, pid: int) -> Child | None:
    """The living process with this pid, or None."""
    try:
        return adopt(Record(name, name, pid, created(psutil.Process(pid))))
    except psutil.Error:
        return None


def bury_orphans(record: Record) -> None:
    """Kills what is left of the group of a dead worker. Only for records of this boot: groups are told by number."""
    try:
        if not is_same(psutil.Process(record.pid), record.create_time):
            return  # the number is somebody else's by now, so the group has long been empty
    except psutil.NoSuchProcess:
        pass
    _kill_group(record.pid)


def stop(children: Iterable[Child], seconds: float) -> None:
    """SIGTERM to all at once, up to `seconds` for them to go, then SIGKILL to the groups. Returns when all are gone."""
    waiting = list(children)
    for child in waiting:
        child.terminate()
    deadline = time.monotonic() + seconds
    while waiting and time.monotonic() < deadline:
        gone = [child for child in waiting if not child.alive()]
        for child in gone:
            child.bury()
        waiting = [child for child in waiting if child not in gone]
        if waiting:
            time.sleep(0.05)
    for child in waiting:
        child.bury()


def wait(child: Child) -> int | None:
    """Waits for its end. Returns the exit code, or None when it is adopted: only parents learn that."""
    popen = _started.get(child.pid)
    if popen is not None:
        code = popen.wait()
        del _started[child.pid]
        return code
    while child.alive():
        time.sleep(0.25)
    return None


def self_record(name: str, role: str) -> Record:
    """The record of the calling process."""
    return Record(name, role, os.getpid(), created(psutil.Process()))


def created(process: psutil.Process) -> float:
    """When it was started: with its pid this tells it from every other process of this boot.

    On Linux seconds since boot, because the epoch seconds that psutil derives move with every correction of the clock;
    elsewhere epoch seconds. Raises psutil.NoSuchProcess.
    """
    if sys.platform != "linux":
        return process.create_time()
    try:
        stat = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise psutil.NoSuchProcess(process.pid) from error
    return int(stat.rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")


def is_same(process: psutil.Process, create_time: float) -> bool:
    """Whether it was created then. Raises psutil.NoSuchProcess."""
    return abs(created(process) - create_time) <= SAME_TIME_SECONDS


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.time()


def rotate(log: Path, limit: int = LOG_BYTES) -> None:
    """Renames a log larger than `limit` bytes to `<name>.log.1`, replacing the one that was there."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > limit:
        log.replace(log.with_name(log.name + ".1"))


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, empty when there is none."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - 16_384))
            return "\n".join(stream.read().decode("utf-8", "replace").splitlines()[-lines:])
    except OSError:
        return ""


def _kill_group(pgid: int) -> None:
    try:
        os.killpg(pgid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # macOS says EPERM of a group that has only zombies
        return
