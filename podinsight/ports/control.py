"""What everybody obeys between units, in the database."""

from collections.abc import Callable, Sequence
from typing import Protocol

from podinsight.domain.alerts import Alert
from podinsight.domain.control import Control


class ControlBoard(Protocol):
    """Control state and the marks that periodic work leaves."""

    def read(self) -> Control:
        """What was written last; everything runs when nothing ever was."""
        ...

    def history(self) -> Sequence[Control]:
        """What was written, the newest first, down to the last time that nothing was stopped; that one included."""
        ...

    def since(self, at: float) -> Sequence[Control]:
        """What was written at that time and later, the newest first."""
        ...

    def write(self, state: Control) -> None:
        """Holds from now on, whatever its `at` says; what was written before stays on record."""
        ...

    def revise(
        self,
        rule: Callable[[Sequence[Control]], Sequence[Control]],
        tell: Callable[[Control, Control], Alert | None] | None = None,
    ) -> Sequence[Control]:
        """Writes what `rule` makes of the history, the oldest first, in one transaction: nobody writes in between.
        `at` of 0 is the time of writing. Returns the history afterwards.

        tell: what people are told, posted in the same transaction, of what held before and what was written last; it
        is not asked when nothing was written.
        """
        ...

    def tick(self, name: str) -> None:
        """Periodic work `name` ran just now."""
        ...

    def ticks(self) -> dict[str, float]: ...
