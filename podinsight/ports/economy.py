"""What economy mode and the cost sweep ask of the work rows (G3, G8)."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from podinsight.domain.money import Micros
from podinsight.domain.work import Lease


@dataclass(frozen=True)
class DearItem:
    """An episode and what it has cost. active: its transcription waits or runs, so that it may cost more."""

    episode_id: str
    micros: Micros
    active: bool


class EconomyRows(Protocol):
    """The part of WorkRows that saves."""

    def dear_items(self, least: Micros, since: float) -> Sequence[DearItem]:
        """Episodes that have cost so much or more: those that may cost more, and those whose transcription has changed
        since. The dearest first."""
        ...

    def held_items(self, since: float) -> Sequence[str]:
        """Ids of the episodes whose transcription has been held since then for its own stop level, not its run's."""
        ...

    def hold_long(self, longer_than: float, reason: str) -> int:
        """Transcriptions of more seconds of audio, of which nobody has begun a chunk, are held. What costs nothing (a
        publisher's words, a twin's transcript) is not. Some thousands a call; returns how many."""
        ...

    def release_long(self, reason: str) -> int:
        """Those that were held for this reason wait again. Some thousands a call; returns how many."""
        ...

    def begin_smaller(self, lease: Lease, model: str) -> bool:
        """The episode of this chunk's lease is decoded by `model`, all chunks of it: written into the params of its row
        (domain.economy.saving), unless another chunk of it runs or is done, or the params have changed since the claim:
        then the answer is False and nothing changes. Raises LeaseLost like every write under a lease."""
        ...

    def running(self, tokens: Collection[str]) -> set[str]:
        """Those of these tokens under which a unit runs."""
        ...
