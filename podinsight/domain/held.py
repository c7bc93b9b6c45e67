"""What a transcription still waits for before there are chunks of it to claim. Pure; standard library."""

from collections.abc import Mapping
from typing import Final

from podinsight.domain.episode import Episode
from podinsight.domain.publisher import usable

WAITS_FOR_AUDIO: Final = "waits for its audio"
WAITS_FOR_APPROVAL: Final = "waits for approval"
WAITS_FOR_PLAN: Final = "waits for its plan"


def awaited(episode: Episode | None, params: Mapping[str, object], planned: bool) -> str:
    """The reason why a transcribe row is held; empty when its chunks may be made.

    Args:
        episode: None, or without an audio key, when its audio is not there.
        params: of the row. `approved`: who or which rule approved what it costs.
        planned: the episode's plan is made.

    What the publisher's transcript answers costs nothing and is not cut, so it needs neither approval nor plan (F12).
    """
    if episode is None or not episode.audio_key:
        return WAITS_FOR_AUDIO
    if usable(episode, params):
        return ""
    if not params.get("approved"):
        return WAITS_FOR_APPROVAL
    return "" if planned else WAITS_FOR_PLAN
