"""What the work rows know of episodes with the same audio, which is transcribed once (F10)."""

from collections.abc import Mapping
from typing import Protocol


class TwinRows(Protocol):
    """The part of WorkRows that spares what is transcribed already, or on its way."""

    def takes_from(self, episode_id: str) -> str | None:
        """The episode with the same audio whose transcript this one takes, as soon as it has its chunk."""
        ...

    def shared(self, wishes: Mapping[str, Mapping[str, object]]) -> dict[str, str]:
        """Of these episodes (id → the params that a transcribe row would get) those that would not be decoded because
        their audio is, or is to be, transcribed for another, also among themselves; with whose it is. Only audio that
        is there is known."""
        ...

    def release_twins(self, waited_seconds: float) -> int:
        """Looks again at transcriptions that have been held for the transcript of the same audio for so long: those
        that need not wait any more go on. Some hundreds a call, the longest ago first; returns how many go on."""
        ...
