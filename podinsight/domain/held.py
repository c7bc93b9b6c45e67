"""What a transcription still waits for before there are chunks of it to claim. Pure; standard library."""

from collections.abc import Mapping
from typing import Final

from podinsight.domain.episode import Episode
from podinsight.domain.publisher import usable
from podinsight.domain.same_audio import Twin

WAITS_FOR_AUDIO: Final = "waits for its audio"
WAITS_FOR_APPROVAL: Final = "waits for approval"
WAITS_FOR_PLAN: Final = "waits for its plan"
WAITS_FOR_TWIN: Final = "waits for the transcript of the same audio"
OVER_BUDGET: Final = "budget: "  # with which the reason begins of what was refused by a ceiling (G3)

MOST_GROWTH: Final = 2.0  # minutes declared as seconds are out by 60; advertisements alone never double a length


def awaited(episode: Episode | None, params: Mapping[str, object], planned: bool, twin: Twin | None = None) -> str:
    """The reason why a transcribe row is held; empty when its chunks may be made.

    Args:
        episode: None, or without an audio key, when its audio is not there.
        params: of the row. `approved`: who or which rule approved what it costs; `quoted_seconds`: for how much audio,
            where it is paid for.
        planned: the episode's plan is made.
        twin: another episode with the same audio whose transcript it takes (domain.same_audio.find_twin).

    What the publisher's transcript answers costs nothing and is not cut, so it needs neither approval nor plan (F12);
    nor does what a twin answers, or will (F10). What is planned already is decoded rather than made to wait.
    """
    if episode is None or not episode.audio_key:
        return WAITS_FOR_AUDIO
    if usable(episode, params) or (twin is not None and twin.ready):
        return ""
    if twin is not None and not planned:
        return WAITS_FOR_TWIN
    if not params.get("approved") or outgrown(episode.audio_seconds, params):
        return WAITS_FOR_APPROVAL
    return "" if planned else WAITS_FOR_PLAN


def outgrown(audio_seconds: float | None, params: Mapping[str, object]) -> bool:
    """Whether there is so much more audio than was quoted that the approval does not stand for it."""
    quoted = params.get("quoted_seconds")
    return isinstance(quoted, int | float) and (audio_seconds or 0.0) > MOST_GROWTH * quoted


def unapproved(params: Mapping[str, object]) -> dict[str, object]:
    """The params of a row without its approval."""
    return {name: value for name, value in params.items() if name not in ("approved", "quoted_seconds")}
