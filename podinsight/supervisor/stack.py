"""The embedded stack as one thing: `up`, `down`, `health`, `pids` (for podrun, make demo and tests).

`environ` goes over os.environ in all children; pass `settings` that were loaded from the same.
"""

import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from podinsight.errors import PodinsightError, Unavailable
from podinsight.ports import StatusStore
from podinsight.services import in_force
from podinsight.settings import Settings
from podinsight.state_dir import make_state_dir
from podinsight.supervisor import broker, checks
from podinsight.supervisor.checks import Check
from podinsight.supervisor.commands import PROJECT_ROOT, Commands, StackCommands, child_environ
from podinsight.supervisor.processes import Child, Record, adopt, find, interrupts_wait, start, stop, tail
from podinsight.supervisor.registry import InstanceLock, Registry, StackState
from podinsight.supervisor.run import Supervisor, already_running, check_ports
from podinsight.topology import GPU, QUEUES, SCALE_TICK

READY_SECONDS = 30.0
StoreOpener = Callable[[], StatusStore]


@dataclass(frozen=True)
class UpResult:
    """started: False when it ran already. pid: of the supervisor. message: one line for a person."""

    started: bool
    pid: int
    seconds: float
    message: str


@dataclass(frozen=True)
class DownResult:
    """stopped: names of what was running, empty when nothing was. message: one line for a person."""

    stopped: tuple[str, ...]
    seconds: float
    message: str


def up(
    settings: Settings,
    environ: Mapping[str, str] | None = None,
    *,
    commands: Commands | None = None,
    open_store: StoreOpener | None = None,
    ready_seconds: float = READY_SECONDS,
) -> UpResult:
    """Starts the stack detached and waits until every part of it is ready.

    Raises:
        PortInUse: somebody else has a port that it needs; nothing was started (exit code 3).
        Unavailable: a part did not come up; its last log lines are in the text and everything is stopped again.
        ConfigError: from the database; the state folder or prices_file cannot be used, or nobody can be told at an
            address.
        KeyboardInterrupt: as it came; what was started is stopped again.
    """
    began = time.monotonic()
    make_state_dir(settings.state_dir)
    registry, lock = Registry(settings.state_dir), InstanceLock(settings.state_dir)
    holder = lock.holder()
    if holder is not None:
        return UpResult(False, holder, 0.0, already_running(holder))
    commands = commands or StackCommands(settings)
    embedded = broker.is_embedded(settings.redis_url, settings.broker_port)
    if embedded:
        commands.broker()  # says now that there is no program for it
    check_ports(settings, _own_roles(settings, registry))
    _check_files_and_addresses(settings)
    store = (open_store or _opener(settings))()
    keeper: Child | None = None
    try:
        _set_sizes(settings, store)
        in_force.say(store, settings.limits().ceilings(), time.time())  # what a predecessor held, holds no more
        lonely = registry.keeper()
        if lonely is not None:  # it waits to start a supervisor; ours does that now
            _end_keeper(lonely, settings.stop_seconds + 5.0)
        _forget_troubles(registry)
        with interrupts_wait():
            keeper = start(
                "keeper",
                "keeper",
                commands.keeper(None),
                log=registry.log_file("keeper"),
                env=child_environ(settings, environ),
                cwd=PROJECT_ROOT,
            )
        waiting = _Readiness(settings, registry, lock, store, keeper)
        missing = waiting.wait(ready_seconds)
        if missing is not None:
            lines = tail(registry.log_file(missing.log))
            down(settings, environ, commands=commands, open_store=open_store)
            raise Unavailable(f"{missing.text}; everything is stopped again. Last lines of {missing.log}.log:\n{lines}")
    except (KeyboardInterrupt, SystemExit):
        if keeper is not None:
            if lock.holder() is None:  # neither it nor its supervisor may have said yet that it is there
                _end_keeper(keeper.record, settings.stop_seconds + 5.0)
            down(settings, environ, commands=commands, open_store=open_store)
        raise
    finally:
        store.close()
    seconds = time.monotonic() - began
    pid = lock.holder() or 0
    return UpResult(True, pid, seconds, f"running (supervisor pid {pid}), ready after {seconds:.1f} s")


def _check_files_and_addresses(settings: Settings) -> None:
    from podinsight.bootstrap.money import check  # imports every adapter

    check(settings)


def down(
    settings: Settings,
    environ: Mapping[str, str] | None = None,
    *,
    commands: Commands | None = None,
    open_store: StoreOpener | None = None,
) -> DownResult:
    """Stops the stack, workers handing back what they hold; also what a dead supervisor left behind.

    Done within stop_seconds + 5 s.

    Raises:
        Unavailable: something cannot be stopped.
        ConfigError: the state folder cannot be used.
    """
    began = time.monotonic()
    make_state_dir(settings.state_dir)
    registry, lock = Registry(settings.state_dir), InstanceLock(settings.state_dir)
    names: list[str] = []
    for _ in range(3):  # a keeper may start a supervisor again between our looks
        holder, keeper = lock.holder(), registry.keeper()
        names += ["keeper"] if keeper is not None else []
        if holder is not None:
            names += ["supervisor", *(record.name for record in checks.living(registry))]
            _end_supervisor(holder, registry, settings.stop_seconds + 5.0)
            keeper = registry.keeper()
        if keeper is not None:
            _end_keeper(keeper, settings.stop_seconds + 5.0)
        supervisor = Supervisor(settings, open_store or _opener(settings), commands, environ)
        left = supervisor.stop_leftovers()
        if left is not None:
            stopped = tuple(dict.fromkeys([*names, *left]))
            seconds = time.monotonic() - began
            text = f"stopped after {seconds:.1f} s: {', '.join(stopped)}" if stopped else "nothing was running"
            return DownResult(stopped, seconds, text)
    raise Unavailable(f"the supervisor (pid {lock.holder()}) does not stop")


def health(settings: Settings, open_store: StoreOpener | None = None) -> list[Check]:
    """supervisor, keeper, broker, database, each pool, beat, flower. Raises ConfigError for the state folder."""
    make_state_dir(settings.state_dir)
    return checks.health(settings, open_store or _opener(settings))


def pids(settings: Settings) -> dict[str, list[int]]:
    """role → pids of main processes; see checks.pids."""
    return checks.pids(settings)


# ---------------------------------------------------------------------------------------------------- readiness


@dataclass(frozen=True)
class _Missing:
    text: str
    log: str


@dataclass(frozen=True)
class _Readiness:
    """Which part of a stack that is coming up is not there yet."""

    settings: Settings
    registry: Registry
    lock: InstanceLock
    store: StatusStore
    keeper: Child

    def wait(self, seconds: float) -> _Missing | None:
        deadline = time.monotonic() + seconds
        while missing := self._missing():
            if time.monotonic() > deadline:
                return _Missing(f"{missing.text} within {seconds:g} s", missing.log)
            for name, text in self.registry.load().troubles.items():
                if name != "database":  # it may be busy for a moment; the workers' readiness tells
                    return _Missing(f"{name} {text}", name)
            if not self.keeper.alive() and self.lock.holder() is None:
                log = "supervisor" if tail(self.registry.log_file("supervisor")) else "keeper"
                return _Missing("the supervisor ended while it started", log)
            time.sleep(0.1)
        return None

    def _missing(self) -> _Missing | None:
        if self.lock.holder() is None:
            return _Missing("the supervisor did not start", "supervisor")
        if broker.answers(self.settings.redis_url, 1.0):
            return _Missing("the broker did not answer", "broker")
        living = checks.living(self.registry)
        if not any(record.role == "beat" for record in living):
            return _Missing("beat did not start", "beat")
        pool = self._missing_pool({record.instance for record in living if record.instance and not record.draining})
        if pool is not None:
            return _Missing(f"not all {pool} workers were ready", pool)
        if not broker.port_open(self.settings.flower_port):
            return _Missing("Flower did not answer", "flower")
        return None

    def _missing_pool(self, living: set[str]) -> str | None:
        try:
            views = self.store.workers.list(socket.gethostname())
            desired = self.store.workers.desired()
        except PodinsightError:
            return "all"
        ready = checks.ready_workers(views, self.settings, time.time())
        for pool in checks.awaited(self.settings):
            if len(ready.get(pool, set()) & living) < desired.get(pool, 0):
                return pool
        return None


# ---------------------------------------------------------------------------------------------------- helpers


def _set_sizes(settings: Settings, store: StatusStore) -> None:
    """gpu workers that come with work begin at none, whatever a predecessor left; that is a decision like the scaler's,
    whose first one is due in a moment."""
    for pool in QUEUES:
        scales = pool == GPU.name and settings.fleet_scales
        count = 0 if scales else getattr(settings, f"{pool}_workers")
        store.workers.set_desired(pool, count, "podrun up", "the stack starts")
    if settings.fleet_scales:
        store.control.tick(SCALE_TICK)


def _opener(settings: Settings) -> StoreOpener:
    def open_store() -> StatusStore:
        from podinsight.bootstrap import build_store  # it names every adapter: the keeper does without them

        return build_store(settings)

    return open_store


def _own_roles(settings: Settings, registry: Registry) -> set[str]:
    roles = {record.role for record in checks.living(registry)}
    if broker.running_server(settings.redis_url, settings.state_dir) is not None:
        roles.add("broker")
    return roles


def _forget_troubles(registry: Registry) -> None:
    """Of a dead stack only its processes matter: not its troubles, nor that somebody who was stopping it died."""
    state = registry.load()
    if state.records:
        registry.save(StackState(state.records, same_boot=state.same_boot))


def _end_keeper(record: Record, seconds: float) -> None:
    """Ends a keeper, and a supervisor that it has just started and that does not hold the lock yet."""
    keeper = adopt(record)
    if keeper is None:
        return
    supervisors = keeper.children()
    stop([keeper], 1.0)
    stop(supervisors, seconds)


def _end_supervisor(pid: int, registry: Registry, seconds: float) -> None:
    """Asks it to end; after `seconds` ends its keeper and kills it."""
    supervisor = find("supervisor", pid)
    if supervisor is None:
        return
    supervisor.terminate()
    deadline = time.monotonic() + seconds
    while supervisor.alive():
        if time.monotonic() > deadline:
            keeper = registry.keeper()
            if keeper is not None:
                _end_keeper(keeper, 1.0)
            supervisor.bury()
            return
        time.sleep(0.05)


__all__ = ["Check", "DownResult", "UpResult", "down", "health", "pids", "up"]
