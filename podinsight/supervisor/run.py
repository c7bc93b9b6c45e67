"""The supervisor: the only parent of all worker processes on this machine (DESIGN.md, idea 7)."""

import logging
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FrameType

from podinsight.errors import PodinsightError
from podinsight.ports import HostGate, StatusStore
from podinsight.settings import Settings
from podinsight.supervisor import broker
from podinsight.supervisor.commands import Commands, StackCommands, child_environ
from podinsight.supervisor.crew import Crew
from podinsight.supervisor.database_line import DatabaseLine
from podinsight.supervisor.introduce import Introduction
from podinsight.supervisor.launcher import Launcher, Singleton
from podinsight.supervisor.processes import Record, bury_orphans, stop
from podinsight.supervisor.registry import InstanceLock, Registry, StackState
from podinsight.topology import GPU

log = logging.getLogger(__name__)

TICK_SECONDS = 0.5
HELPER_STOP_SECONDS = 1.5
FIRST_READ_SECONDS = 5.0
BROKER_STOP_SECONDS = 2.0


class Supervisor:
    """Runs until SIGTERM or SIGINT. Killed, it leaves everything to its successor, which adopts it."""

    def __init__(
        self,
        settings: Settings,
        open_store: Callable[[], StatusStore],
        commands: Commands | None = None,
        environ: Mapping[str, str] | None = None,
        build_gate: Callable[[], HostGate] | None = None,
    ) -> None:
        self._settings = settings
        self._build_gate = build_gate or (lambda: _gate(settings))
        self._commands = commands or StackCommands(settings)
        self._registry = Registry(settings.state_dir)
        self._lock = InstanceLock(settings.state_dir)
        launcher = Launcher(self._registry, child_environ(settings, environ))
        good_seconds = settings.decision_holds_seconds if settings.fleet_scales else None
        self._line = DatabaseLine(open_store, socket.gethostname(), good_seconds)
        self._crew = Crew(launcher, self._commands, self._line, settings.stop_seconds, settings.worker_stale_seconds)
        self._broker: Singleton | None = None
        if broker.is_embedded(settings.redis_url, settings.broker_port):
            self._broker = Singleton("broker", self._commands.broker, launcher)
        self._beat = Singleton("beat", self._commands.beat, launcher)
        self._flower = Singleton("flower", self._commands.flower, launcher)
        self._introduction = Introduction(settings.flower_port)
        self._keeper = Singleton("keeper", lambda: self._commands.keeper(os.getpid()), launcher)
        self._signals = _Signals()
        self._saved: StackState | None = None

    def run(self) -> int:
        """The exit code: 0 after an orderly end or when another one runs, 3 when a port is taken."""
        if not self._lock.acquire():
            log.info("%s", already_running(self._lock.holder()))
            return 0
        with self._signals:
            stopping = self._adopt()
            try:
                check_ports(self._settings, self._own_roles())
            except broker.PortInUse as error:
                log.error("%s", error)
                if not self._own_roles() and not self._crew.records():
                    self._lock.release()
                    return error.exit_code
                # What was adopted needs a supervisor all the same; the part without a port is tried again and again.
            self._line.start()
            if not stopping:
                self._start()
                self._loop()
            self._shut_down()
        return 0

    # ------------------------------------------------------------------------------------------------ adopting

    def _adopt(self) -> bool:
        """Takes over what a predecessor left; returns whether that one was stopping the stack."""
        state = self._registry.load()
        adopted: list[str] = []
        gone: list[str] = []
        for record in state.records if state.same_boot else ():
            (adopted if self._adopt_one(record) else gone).append(record.name)
        if not state.same_boot:
            gone = [record.name for record in state.records]
        self._adopt_lost_broker()
        if adopted or gone:
            log.info("adopted from an earlier supervisor: %s; gone: %s", _words(adopted), _words(gone))
        return state.stopping and bool(adopted)

    def _adopt_one(self, record: Record) -> bool:
        if record.instance:
            taken = self._crew.adopt(record)
            if not taken:
                bury_orphans(record)
            return taken
        singleton = {each.name: each for each in self._singletons()}.get(record.role)
        return singleton is not None and singleton.adopt(record)

    def _adopt_lost_broker(self) -> None:
        if self._broker is not None and self._broker.child is None:
            record = broker.running_server(self._settings.redis_url, self._settings.state_dir)
            if record is not None:
                self._broker.adopt(record)

    def _own_roles(self) -> set[str]:
        return {each.name for each in self._singletons() if each.child is not None}

    def _singletons(self) -> list[Singleton]:
        return [each for each in (self._broker, self._beat, self._flower) if each is not None]

    # ------------------------------------------------------------------------------------------------ running

    def _start(self) -> None:
        log.info("supervisor runs (pid %d), state in %s", os.getpid(), self._registry.state_dir)
        from_nothing = self._broker is not None and self._broker.child is None
        if self._broker is not None:
            self._broker.tick()
            self._save()
        why = broker.wait_until_answers(self._settings.redis_url, lambda: self._signals.stop)
        if why:
            log.error("the broker does not answer: %s", why)
        elif from_nothing and self._no_worker_lives():
            self._open_gate()

    def _no_worker_lives(self) -> bool:
        """Whether it is known, which takes the database: run files may have been lost."""
        if not self._line.first_read(FIRST_READ_SECONDS):
            return False
        self._crew.sweep(time.time())
        return not self._crew.records()

    def _open_gate(self) -> None:
        """The broker is ours and new, and so nobody holds a place at any host: there is no need to wait for holders."""
        try:
            self._build_gate().open()
        except PodinsightError as error:
            log.warning("the host gate could not be opened and begins a little later: %s", error)
        else:
            log.info("the host gate is open")

    def _loop(self) -> None:
        while not self._signals.stop:
            desired = self._line.desired
            self._crew.sweep(time.time())
            self._crew.tick(desired)
            self._save()
            for singleton in self._singletons():
                singleton.tick()
                self._save()
            self._introduction.tick(self._flower.child)
            self._tick_keeper()
            self._signals.wait(TICK_SECONDS)

    def _tick_keeper(self) -> None:
        if self._keeper.child is None:
            record = self._registry.keeper()
            if record is not None and self._keeper.adopt(record):
                return
            log.warning("no keeper is there: starting one")
        self._keeper.tick()

    def _save(self, stopping: bool = False) -> None:
        troubles = {each.name: text for each in self._singletons() if (text := each.trouble())}
        troubles |= self._crew.troubles()
        if self._line.trouble:
            troubles["database"] = self._line.trouble
        if self._line.undecided:
            troubles.setdefault(GPU.name, self._line.undecided)
        records = [each.child.record for each in self._singletons() if each.child is not None]
        state = StackState((*records, *self._crew.records()), troubles, stopping)
        if state != self._saved:
            self._registry.save(state)
            self._saved = state

    # ------------------------------------------------------------------------------------------------ stopping

    def stop_leftovers(self) -> list[str] | None:
        """Stops what a dead supervisor left behind: what `down` does when nobody else does. None: one is running."""
        if not self._lock.acquire():
            return None
        found = bool(self._registry.load().records)
        self._adopt()
        if found or self._own_roles():
            self._line.start()
            self._line.first_read(1.0)
            self._crew.sweep(time.time())
        names = [*(each.name for each in self._singletons() if each.child), *(r.name for r in self._crew.records())]
        self._shut_down()
        return names

    def _shut_down(self) -> None:
        """beat, Flower, workers (all at once, handing back), broker, keeper."""
        log.info("stopping")
        self._save(stopping=True)
        stop([each.child for each in (self._beat, self._flower) if each.child is not None], HELPER_STOP_SECONDS)
        self._crew.drain_all()
        self._save(stopping=True)
        while not self._crew.finished():
            time.sleep(0.05)
        if not self._line.flush(1.0):
            log.warning("the database does not take the last marks: the leases expire by themselves")
        if self._broker is not None and self._broker.child is not None:
            stop([self._broker.child], BROKER_STOP_SECONDS)
        keeper = self._registry.keeper()
        if keeper is not None and self._keeper.adopt(keeper) and self._keeper.child is not None:
            stop([self._keeper.child], 1.0)
        self._registry.clear()
        self._lock.release()
        log.info("stopped")


@dataclass
class _Signals:
    """SIGTERM and SIGINT ask for the end; those and SIGCHLD wake the loop at once."""

    stop: bool = False

    def __enter__(self) -> "_Signals":
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        names = {signal.SIGTERM: self._ask, signal.SIGINT: self._ask, signal.SIGCHLD: self._ignore}
        self._before = {number: signal.signal(number, handler) for number, handler in names.items()}
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        os.close(self._read)
        os.close(self._write)

    def wait(self, seconds: float) -> None:
        if not self.stop and select.select([self._read], [], [], seconds)[0]:
            os.read(self._read, 4096)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self.stop = True

    def _ignore(self, _number: int, _frame: FrameType | None) -> None:
        return


def _gate(settings: Settings) -> HostGate:
    from podinsight.bootstrap import build_gate  # it names every adapter, and few runs come here

    return build_gate(settings)


def check_ports(settings: Settings, ours: set[str]) -> None:
    """Raises PortInUse when a port that the stack needs is taken. ours: roles whose living process is ours."""
    if broker.is_embedded(settings.redis_url, settings.broker_port):
        _check_port("broker", settings.broker_port, ours)
    _check_port("flower", settings.flower_port, ours)


def _check_port(role: str, port: int, ours: set[str]) -> None:
    if role not in ours and broker.port_taken(port):
        raise broker.PortInUse(
            f"port {port} is in use by another program: set PODINSIGHT_{role.upper()}_PORT to a free one for the {role}"
        )


def already_running(pid: int | None) -> str:
    return f"already running (pid {pid}); `podrun status` shows it, `podrun down` stops it"


def _words(names: list[str]) -> str:
    return ", ".join(names) or "nothing"
