"""What a running stack looks like from outside: its health and its pids."""

import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from podinsight.domain.control import RESUME, Control, apart, stops
from podinsight.errors import PodinsightError
from podinsight.ports import PoolSize, StatusStore, WorkerView
from podinsight.settings import Settings
from podinsight.supervisor import broker
from podinsight.supervisor.processes import Record, adopt
from podinsight.supervisor.registry import InstanceLock, Registry, StackState
from podinsight.supervisor.shares import shared
from podinsight.topology import GPU, QUEUES


@dataclass(frozen=True)
class Check:
    """One part of the stack: `detail` is one line for a person, whether it is ok or not."""

    name: str
    ok: bool
    detail: str


def living(registry: Registry, state: StackState | None = None) -> list[Record]:
    """The records of processes.json whose process lives."""
    state = state or registry.load()
    return [record for record in state.records if state.same_boot and adopt(record) is not None]


def pids(settings: Settings) -> dict[str, list[int]]:
    """role → pids of main processes: supervisor, keeper, broker, beat, flower and each pool. Empty lists for none."""
    registry = Registry(settings.state_dir)
    found: dict[str, list[int]] = {role: [] for role in ("supervisor", "keeper", "broker", "beat", "flower", *QUEUES)}
    holder, keeper = InstanceLock(settings.state_dir).holder(), registry.keeper()
    found["supervisor"] += [holder] if holder else []
    found["keeper"] += [keeper.pid] if keeper else []
    for record in living(registry):
        found.setdefault(record.role, []).append(record.pid)
    return found


def health(settings: Settings, open_store: Callable[[], StatusStore]) -> list[Check]:
    """Never raises for a part that is down: that is what it tells."""
    registry = Registry(settings.state_dir)
    state = registry.load()
    running = pids(settings)
    return [
        _process("supervisor", running["supervisor"], ""),
        _process("keeper", running["keeper"], ""),
        _broker(settings, state),
        *_database(settings, registry, state, open_store, bool(running["supervisor"])),
        _flower(settings, state),
    ]


def ready_workers(views: list[WorkerView], settings: Settings, now: float) -> dict[str, set[str]]:
    """pool → ids of workers that are ready and whose heartbeat is fresh."""
    ready: dict[str, set[str]] = {}
    for view in views:
        if view.state == "ready" and now - view.heartbeat_at < settings.worker_stale_seconds:
            ready.setdefault(view.pool, set()).add(view.id)
    return ready


def comes(settings: Settings, pool: str) -> bool:
    """Whether workers of this pool come with work and go without it."""
    return pool == GPU.name and settings.fleet_scales and settings.gpu_workers > 0


def awaited(settings: Settings) -> list[str]:
    """The pools whose workers are there as long as the stack is."""
    return [pool for pool in QUEUES if not (pool == GPU.name and settings.fleet_scales)]


def _rising(views: list[WorkerView], settings: Settings) -> dict[str, set[str]]:
    """pool → ids of workers that are starting, of pools whose workers come and go."""
    found: dict[str, set[str]] = {}
    for view in views:
        if view.state == "starting" and comes(settings, view.pool):
            found.setdefault(view.pool, set()).add(view.id)
    return found


def _process(name: str, found: list[int], trouble: str) -> Check:
    what = f"pid {found[0]}" if found else "not running; `podrun up` starts it"
    return Check(name, bool(found), f"{what}; {trouble}" if trouble else what)


def _broker(settings: Settings, state: StackState) -> Check:
    embedded = broker.is_embedded(settings.redis_url, settings.broker_port)
    where = f"127.0.0.1:{settings.broker_port}" if embedded else "external (PODINSIGHT_REDIS_URL)"
    why = broker.answers(settings.redis_url)
    trouble = state.troubles.get("broker")
    detail = f"{where} " + (f"does not answer: {why}" if why else "answers")
    return Check("broker", not why, f"{detail}; {trouble}" if trouble else detail)


def _database(
    settings: Settings, registry: Registry, state: StackState, open_store: Callable[[], StatusStore], supervised: bool
) -> list[Check]:
    """The database and what is read from it: control, pools and beat."""
    try:
        store = open_store()
        try:
            store.ping()
            sizes = _sizes(settings, store)
            views = store.workers.list(socket.gethostname())
            ticks = store.control.ticks()
            held = stops(store.control.history())
        finally:
            store.close()
    except PodinsightError as error:
        checks = [Check("database", False, str(error))]
        unknown = ("control", *QUEUES, "beat")
        return checks + [Check(name, False, "unknown: the database does not answer") for name in unknown]
    now = time.time()
    ready = ready_workers(views, settings, now)
    alive = living(registry, state)
    # A heartbeat stays fresh for a while after its worker was killed: the process counts too.
    working = {record.instance for record in alive if record.instance}
    rising = _rising(views, settings)
    pools = [
        _pool(
            name,
            len(ready.get(name, set()) & working),
            sizes.get(name),
            state,
            supervised,
            rising=len(rising.get(name, set()) & working),
            comes=comes(settings, name),
        )
        for name in QUEUES
    ]
    beats = [record for record in alive if record.role == "beat"]
    return [Check("database", True, "answers"), _control(held), *pools, _beat(settings, state, beats, ticks, now)]


def _sizes(settings: Settings, store: StatusStore) -> dict[str, PoolSize]:
    """What each pool should have on this machine."""
    sizes = store.workers.pools()
    if not settings.fleet_scales:
        return sizes
    here = shared(store, {pool: size.desired for pool, size in sizes.items()}, socket.gethostname())
    return {pool: replace(size, desired=here[pool]) for pool, size in sizes.items()}


def _control(held: Sequence[Control]) -> Check:
    """What was stopped is no fault of the stack: somebody, or the guard, wanted it. held: the stops that hold."""
    if not held:
        return Check("control", True, "running")
    said = "; before that ".join(f"{each.what} by {each.by}: {each.why}" for each in reversed(apart(held)))
    detail = " ".join(said.split())  # one line: names and reasons are what people wrote
    return Check("control", True, f"{detail}; `{RESUME}` goes on")


def _pool(
    pool: str,
    ready: int,
    size: PoolSize | None,
    state: StackState,
    supervised: bool,
    *,
    rising: int = 0,
    comes: bool = False,
) -> Check:
    """Of a pool that should have no workers all is well only while somebody sees to it.

    comes: its workers come with work. rising: those of it that are starting, which is what they should do then.
    """
    trouble = state.troubles.get(pool, "")
    if size is None:
        return Check(pool, False, "was never started; `podrun up` starts it")
    detail = f"{ready} of {size.desired} ready"
    if size.kept is not None:
        detail += f" (shut: {size.kept.reason})"
    elif rising:
        detail += f", {rising} starting"
    elif comes and not size.desired:
        detail += " (comes with work)"
    enough = ready + rising >= size.desired and (ready + rising > 0 or supervised)
    return Check(pool, enough and not trouble, f"{detail}; {trouble}" if trouble else detail)


def _beat(settings: Settings, state: StackState, found: list[Record], ticks: dict[str, float], now: float) -> Check:
    """A beat that was started a moment ago may not have run reconcile yet: its first ones are due, not missing."""
    process = _process("beat", [record.pid for record in found], state.troubles.get("beat", ""))
    patience = 3 * settings.reconcile_every_seconds + 10
    last = ticks.get("reconcile")
    if last is not None and now - last <= patience:
        return Check("beat", process.ok, f"{process.detail}; reconcile ran {max(0.0, now - last):.0f} s ago")
    child = adopt(found[0]) if found else None
    if child is not None and child.age() < patience:
        return Check("beat", True, f"{process.detail}; started {child.age():.0f} s ago, reconcile is due")
    late = "reconcile has not run yet" if last is None else f"reconcile ran {now - last:.0f} s ago"
    return Check("beat", False, f"{process.detail}; {late}")


def _flower(settings: Settings, state: StackState) -> Check:
    ok = broker.port_open(settings.flower_port)
    trouble = state.troubles.get("flower", "")
    detail = f"http://127.0.0.1:{settings.flower_port} " + ("answers" if ok else "does not answer")
    return Check("flower", ok, f"{detail}; {trouble}" if trouble else detail)
