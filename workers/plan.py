"""The plan queue: one process, one task at a time; it listens to audio and cuts it, on CPU alone."""

from podinsight.services import plan
from workers.app import settings, task, worker_id
from workers.process import container, die, refill, stopping, times


@task("plan_episode")
def plan_episode(episode_id: str) -> str:
    """Plans one episode, then fills the slot that came free, and those that its chunks may have."""
    world = container()
    ports = plan.PlanPorts(world.store, world.objects, world.cutter, settings.chunk_seconds, on_hang=die)
    try:
        return plan.plan_episode(ports, episode_id, worker_id(), times(), stopping)
    finally:
        refill("plan")
        refill("transcribe")
