"""The fetch queue: everything that goes to the web. CPU, threads, one slot a download."""

from functools import partial

from podinsight.bootstrap import Container
from podinsight.services import fetch, poll, publisher, transcribe
from workers.app import settings, task, worker_id
from workers.process import container, kpi_prices, poll_ports, refill, stopping, times


@task("fetch_episode")
def fetch_episode(episode_or_url: str) -> str:
    """Fetches one episode (id or audio URL), then fills the slots that came free.

    When its publisher's transcript was accepted, or another episode with the same audio is transcribed, a transcription
    that was asked for ends here as well: no GPU needs to be up for it.
    """
    world = container()
    reread = partial(poll.reread, poll_ports())
    ports = fetch.FetchPorts(
        world.store,
        world.objects,
        world.fetcher,
        world.probe,
        reread,
        _collect(world),
        committed=partial(refill, "fetch"),
    )
    try:
        said = fetch.fetch_episode(ports, episode_or_url, worker_id(), times(), stopping)
    except Exception:
        refill("fetch")
        raise
    try:
        ports_here = _transcribe_ports(world)
        taken = transcribe.take_publisher_transcript(ports_here, episode_or_url, worker_id(), times(), stopping)
        taken = taken or transcribe.take_same_audio(ports_here, episode_or_url, worker_id(), times(), stopping)
    finally:
        refill("plan")
        refill("transcribe")
    return f"{said}; {taken}" if taken else said


def _collect(world: Container) -> fetch.CollectTranscripts | None:
    if settings.publisher_transcripts == "ignore":
        return None
    use = settings.publisher_transcripts == "use"
    return partial(publisher.collect, publisher.PublisherPorts(world.objects, world.captions, use=use))


def _transcribe_ports(world: Container) -> transcribe.TranscribePorts:
    """Without a device: what has to be decoded is left to the gpu queue."""
    captions = world.captions if settings.publisher_transcripts == "use" else None
    return transcribe.TranscribePorts(world.store, world.objects, None, captions, kpi_prices())


@task("poll_feeds")
def poll_feeds() -> str:
    """Polls feeds that are due, for as long as it is until beat asks again."""
    added, faults = poll.poll_due(poll_ports(), settings.feed_poll_seconds, settings.poll_every_seconds, stopping)
    return "; ".join([f"{added} new episodes", *faults])
