"""Control is state, not a signal (DESIGN.md, idea 8)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

GUARD: Final = "cost guard"  # who stops work when a level is reached
RESUME: Final = "podrun resume --by NAME --why REASON"  # how a person goes on


class Mode(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"
    HALTED = "halted"


_RANK: Final = {mode: rank for rank, mode in enumerate(Mode)}


@dataclass(frozen=True)
class Control:
    """What everybody obeys between units, with who set it, when (epoch seconds) and why."""

    mode: Mode = Mode.RUNNING
    gpu_frozen: bool = False
    economy: bool = False
    by: str = "default"
    at: float = 0.0
    why: str = ""

    @property
    def stops(self) -> bool:
        """Whether anything may not start."""
        return self.gpu_frozen or self.mode is not Mode.RUNNING

    @property
    def what(self) -> str:
        """For a person: `halted and GPU work frozen`."""
        said = [] if self.mode is Mode.RUNNING else [self.mode.value]
        return " and ".join([*said, *(["GPU work frozen"] if self.gpu_frozen else [])]) or "running"

    def forbids(self, stage: str) -> str | None:
        """The reason why no unit of `stage` may start now, or None."""
        if self.mode is not Mode.RUNNING:
            return f"{self.mode.value} by {self.by}: {self.why}"
        if self.gpu_frozen and stage == "transcribe":
            return f"gpu frozen by {self.by}: {self.why}"
        return None


def stops(history: Sequence[Control]) -> tuple[Control, ...]:
    """The stops that hold now, the first one first, each with all that was stopped when it was made.

    history: what was written, the newest first, since nothing was stopped at least. What was written without stopping
    more (economy, the same pause said again) is no stop of its own; what stops less has lifted those above it.
    """
    held: list[Control] = []
    for row in reversed(history):
        held = [each for each in held if _within(each, row)]
        if row.stops and not (held and _within(row, held[-1])):
            held.append(row)
    return tuple(held)


def apart(held: Sequence[Control]) -> tuple[Control, ...]:
    """Each stop with no more than it has added: whoever freezes GPU work under a halt has halted nothing. held: as
    `stops` gives it."""
    return tuple(
        replace(
            each,
            mode=Mode.RUNNING if each.mode is below.mode else each.mode,
            gpu_frozen=each.gpu_frozen and not below.gpu_frozen,
        )
        for below, each in zip((Control(), *held), held, strict=False)
    )


def lifted(history: Sequence[Control]) -> Control:
    """What holds once the last stop is lifted: the stop before it, as its maker left it, else nothing. Economy stays
    as it is now. history: as in `stops`."""
    below = stops(history)[-2:-1]
    return replace(below[0] if below else Control(), economy=bool(history) and history[0].economy)


def stopped(history: Sequence[Control], mode: Mode, by: str, why: str) -> tuple[Control, ...]:
    """What is to be written, the oldest first, so that `mode` is stopped as well, whatever is stopped now.

    A pause under a halt is put below it: lifting the halt must not lose it. What is written between is never less than
    the pause. Control.at is 0 where it is the time of writing. history: as in `stops`.
    """
    now, held = history[0] if history else Control(), stops(history)
    above = tuple(each for each in held if _RANK[each.mode] > _RANK[mode])
    below = held[: len(held) - len(above)][-1:] if above else (now,)
    base = replace(below[0] if below else Control(), mode=mode, economy=now.economy, by=by, at=0.0, why=why)
    return base, *(replace(each, economy=now.economy) for each in above)


def _within(less: Control, more: Control) -> bool:
    """Whether all that `less` stops is stopped by `more`."""
    return _RANK[less.mode] <= _RANK[more.mode] and less.gpu_frozen <= more.gpu_frozen
