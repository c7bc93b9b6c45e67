"""The same audio transcribed once (F10): whose transcript an episode takes, or waits for. Pure; standard library."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from podinsight.domain.episode import Episode
from podinsight.domain.publisher import usable
from podinsight.domain.transcript import PUBLISHER

SETTINGS: Final = ("model", "language", "prompt", "hotwords", "words")  # what a transcript depends on


@dataclass(frozen=True)
class Twin:
    """Another episode with the same audio, byte by byte, and how its transcription stands.

    params: of its transcribe row. ready: its transcript has its place; else it is on its way.
    """

    episode: Episode
    params: Mapping[str, object]
    ready: bool


def shares(params: Mapping[str, object]) -> bool:
    """Whether a row with these params may take another's transcript. Not where `same_audio` is False, as where
    an episode is transcribed again: what is there already is what somebody does not want."""
    return params.get("same_audio") is not False


def find_twin(episode: Episode, params: Mapping[str, object], others: Iterable[Twin]) -> Twin | None:
    """The one whose transcript this episode takes: the first that is ready, else the first that is on its way; None
    when it is to be decoded, or is answered by its publisher.

    Args:
        params: of the transcribe row. `not_from`: ids of those whose transcripts turned out to be unusable.
        others: in the order of discovery.

    It must have been asked for by the same SETTINGS. What a publisher wrote cost nothing and stays with its own feed;
    who takes a transcript that somebody else waits for is no twin to wait for.
    """
    if not shares(params) or usable(episode, params):
        return None
    unusable = params.get("not_from")
    left_out = unusable if isinstance(unusable, list) else []
    fitting = [each for each in others if each.episode.id not in left_out and _fits(each, params)]
    return next((each for each in fitting if each.ready), fitting[0] if fitting else None)


def _fits(twin: Twin, params: Mapping[str, object]) -> bool:
    if any((twin.params.get(name) or None) != (params.get(name) or None) for name in SETTINGS):
        return False
    if twin.ready:
        return twin.episode.transcript_key is not None and twin.episode.model != PUBLISHER
    return not usable(twin.episode, twin.params) and not twin.params.get("same_as")
