"""The fetch queue: everything that goes to the web. CPU, threads, one slot a download."""

from podinsight.services import fetch, poll
from workers.app import settings, task, worker_id
from workers.process import container, refill, stopping, times


@task("fetch_episode")
def fetch_episode(episode_or_url: str) -> str:
    """Fetches one episode (id or audio URL), then fills the slots that came free."""
    world = container()
    ports = fetch.FetchPorts(world.store, world.objects, world.fetcher, world.probe)
    try:
        return fetch.fetch_episode(ports, episode_or_url, worker_id(), times(), stopping)
    finally:
        refill()


@task("poll_feeds")
def poll_feeds() -> str:
    """Polls feeds that are due, for as long as it is until beat asks again."""
    world = container()
    ports = poll.PollPorts(world.store, world.fetcher, world.parser, world.clock)
    added, faults = poll.poll_due(ports, settings.feed_poll_seconds, settings.poll_every_seconds, stopping)
    return "; ".join([f"{added} new episodes", *faults])
