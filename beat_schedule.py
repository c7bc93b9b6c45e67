"""What beat sends and how often: names from topology, intervals from settings, nothing else."""

from podinsight.settings import Settings
from podinsight.topology import PERIODIC, TASKS


def beat_schedule(settings: Settings) -> dict[str, dict[str, object]]:
    """Celery's `beat_schedule`. A message that nobody took within its interval is void: the next one says the same."""
    entries: dict[str, dict[str, object]] = {}
    for periodic in PERIODIC:
        if periodic.needs is not None and getattr(settings, periodic.needs) is None:
            continue
        every = float(getattr(settings, periodic.every))
        options = {"queue": TASKS[periodic.task].queue, "expires": max(every, 1.0)}
        entries[periodic.task] = {"task": periodic.task, "schedule": every, "options": options}
    return entries
