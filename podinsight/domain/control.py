"""Control is state, not a signal (DESIGN.md, idea 8)."""

from dataclasses import dataclass
from enum import StrEnum


class Mode(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"
    HALTED = "halted"


@dataclass(frozen=True)
class Control:
    """What everybody obeys between units, with who set it, when (epoch seconds) and why."""

    mode: Mode = Mode.RUNNING
    gpu_frozen: bool = False
    economy: bool = False
    by: str = "default"
    at: float = 0.0
    why: str = ""

    def forbids(self, stage: str) -> str | None:
        """The reason why no unit of `stage` may start now, or None."""
        if self.mode is not Mode.RUNNING:
            return f"{self.mode.value} by {self.by}: {self.why}"
        if self.gpu_frozen and stage == "transcribe":
            return f"gpu frozen by {self.by}: {self.why}"
        return None
