"""The fetch queue: CPU, threads, one slot a download."""

from podinsight.services import fetch
from podinsight.services.dispatch import dispatch
from workers.app import task, worker_id
from workers.process import container, stopping, times


@task("fetch_episode")
def fetch_episode(episode_or_url: str) -> str:
    """Fetches one episode (id or audio URL), then fills the slots that came free."""
    world = container()
    ports = fetch.FetchPorts(world.store, world.objects, world.fetcher, world.probe)
    try:
        return fetch.fetch_episode(ports, episode_or_url, worker_id(), times(), stopping)
    finally:
        if not stopping():
            dispatch(world.store, world.queue)
