"""Planning in tests: with the scripted cutter, in this process."""

from podinsight.adapters.memory_cutter import ScriptedCutter
from podinsight.ports import ObjectStore, StatusStore
from podinsight.services.lease import LeaseTimes
from podinsight.services.plan import PlanPorts, plan_episode

TIMES = LeaseTimes(90.0, 20.0, 600.0)


def plan(store: StatusStore, objects: ObjectStore, episode_id: str, chunk_seconds: float = 240.0) -> str:
    """What a plan worker does with one message."""
    store.workers.register("planner", "here", "plan", 3, 1)
    ports = PlanPorts(store, objects, ScriptedCutter(), chunk_seconds)
    return plan_episode(ports, episode_id, "planner", TIMES, lambda: False)
