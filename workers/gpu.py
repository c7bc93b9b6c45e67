"""The gpu queue: one process, one task at a time, the model kept loaded."""

from collections.abc import Sequence

from podinsight.bootstrap import list_models
from podinsight.domain.ladder import smaller_models
from podinsight.services import transcribe
from workers.app import settings, task, worker_id
from workers.process import container, die, kpi_prices, refill, stopping, times


@task("transcribe_episode")
def transcribe_episode(episode_id: str) -> str:
    """Transcribes one chunk of an episode, then fills the slot that came free."""
    world = container()
    captions = world.captions if settings.publisher_transcripts == "use" else None
    ports = transcribe.TranscribePorts(
        world.store,
        world.objects,
        world.transcriber,
        captions,
        kpi_prices(),
        on_hang=die,
        smaller=_smaller,
        saving=_present,
    )
    try:
        return transcribe.transcribe_episode(ports, episode_id, worker_id(), times(), stopping)
    finally:
        refill("transcribe")


def _smaller(model: str) -> Sequence[str]:
    """The models that may stand in for one that does not fit the device's memory: none, unless the settings allow."""
    return _present(model) if settings.smaller_models else ()


def _present(model: str) -> Sequence[str]:
    """The models on this machine that hear the same languages in less memory and time."""
    return smaller_models(model, [each.name for each in list_models(settings)])
