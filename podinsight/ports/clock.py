"""Time."""

from typing import Protocol


class Clock(Protocol):
    """Now, in epoch seconds."""

    def now(self) -> float: ...
