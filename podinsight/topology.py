"""Every queue, task name, limit and "what comes next": data only.

Routes, worker pools, the beat schedule and the Helm and Compose shapes are generated from or tested against this.
"""

from dataclasses import dataclass
from typing import Final, Literal

Pool = Literal["threads", "prefork"]
StartMethod = Literal["fork", "spawn"]


@dataclass(frozen=True)
class QueueSpec:
    """One Celery queue and the only pool that may consume it.

    slots: how many tasks one worker process runs at a time (`--concurrency`).
    """

    name: str
    pool: Pool
    slots: int
    start_method: StartMethod = "spawn"


@dataclass(frozen=True)
class TaskSpec:
    """One Celery task: its plain name and its queue.

    time_limit: seconds after which a prefork pool kills the child that hangs in it (threads cannot; their time limits
    are the fetcher's, and a chunk's is the lease's progress limit).
    """

    name: str
    queue: str
    time_limit: float | None = None


@dataclass(frozen=True)
class StageSpec:
    """One stage of an episode's way.

    lane: the `lanes.stage` from which dispatch takes units (chunks have lanes of their own).
    max_attempts: failures of its own after which a unit is given up.
    max_losses: leases lost with their worker after which a unit is set aside (CELERY.md, fault 3).
    """

    name: str
    lane: str
    task: str
    queue: str
    max_attempts: int
    max_losses: int
    next: str | None


@dataclass(frozen=True)
class Periodic:
    """One beat entry: a task and the name of the setting that holds its interval in seconds.

    needs: the name of a setting without which there is nothing to do.
    """

    task: str
    every: str
    needs: str | None = None


FETCH: Final = QueueSpec("fetch", "threads", slots=10)
PLAN: Final = QueueSpec("plan", "prefork", slots=1)
GPU: Final = QueueSpec("gpu", "prefork", slots=1)
LIGHT: Final = QueueSpec("light", "prefork", slots=1)
GUARD: Final = QueueSpec("guard", "prefork", slots=1)
QUEUES: Final = {queue.name: queue for queue in (FETCH, PLAN, GPU, LIGHT, GUARD)}

TASKS: Final = {
    task.name: task
    for task in (
        TaskSpec("fetch_episode", FETCH.name),
        TaskSpec("plan_episode", PLAN.name),
        TaskSpec("transcribe_episode", GPU.name),
        TaskSpec("poll_feeds", FETCH.name),
        TaskSpec("dispatch", LIGHT.name, time_limit=120),
        TaskSpec("reconcile", LIGHT.name, time_limit=600),
        TaskSpec("clean", LIGHT.name, time_limit=600),
        TaskSpec("register_segments", LIGHT.name, time_limit=300),
        TaskSpec("scale_fleet", GUARD.name, time_limit=120),
        TaskSpec("sweep_costs", GUARD.name, time_limit=300),
        TaskSpec("check_daily_cost", LIGHT.name, time_limit=600),
    )
}

STAGES: Final = {
    stage.name: stage
    for stage in (
        StageSpec("fetch", "fetch", "fetch_episode", FETCH.name, max_attempts=3, max_losses=8, next="plan"),
        StageSpec("plan", "plan", "plan_episode", PLAN.name, max_attempts=3, max_losses=8, next="transcribe"),
        StageSpec("transcribe", "chunk", "transcribe_episode", GPU.name, max_attempts=3, max_losses=8, next=None),
    )
}
STAGE_OF_LANE: Final = {stage.lane: stage for stage in STAGES.values()}

PERIODIC: Final = (
    Periodic("poll_feeds", "poll_every_seconds"),
    Periodic("dispatch", "dispatch_every_seconds"),
    Periodic("reconcile", "reconcile_every_seconds"),
    Periodic("clean", "clean_every_seconds"),
    Periodic("register_segments", "register_every_seconds", needs="glue_table"),
    Periodic("scale_fleet", "scale_every_seconds"),
    Periodic("sweep_costs", "sweep_every_seconds"),
    Periodic("check_daily_cost", "daily_every_seconds"),
)

SCALE_TICK: Final = "scale"  # how many gpu workers there are was decided

PRIORITIES: Final = {"low": 0, "medium": 5, "high": 9}
AREAS: Final = ("manifests", "raw", "stage", "clips", "backups")
DEFAULT_HOST_LIMITS: Final = {"megaphone.fm": 5, "libsyn.com": 3, "simplecast.com": 4}
DEFAULT_HOST_LIMIT: Final = 10
DEFAULT_HOST_RATE: Final = 10.0  # requests a second
