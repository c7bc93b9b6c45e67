"""The gpu queue: one process, one task at a time, the model kept loaded."""

from podinsight.services import transcribe
from workers.app import settings, task, worker_id
from workers.process import container, die, refill, stopping, times


@task("transcribe_episode")
def transcribe_episode(episode_id: str) -> str:
    """Transcribes one chunk of an episode, then fills the slot that came free."""
    world = container()
    price = transcribe.GpuPrice(settings.gpu_hour_usd, settings.gpu_speed)
    captions = world.captions if settings.publisher_transcripts == "use" else None
    ports = transcribe.TranscribePorts(world.store, world.objects, world.transcriber, captions, price, on_hang=die)
    try:
        return transcribe.transcribe_episode(ports, episode_id, worker_id(), times(), stopping)
    finally:
        refill("transcribe")
