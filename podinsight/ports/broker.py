"""The broker."""

from collections.abc import Sequence
from typing import Protocol


class JobQueue(Protocol):
    """Tells workers that a unit may be runnable: a hint that may be lost or doubled, and that expires.

    Raises `Unavailable` within 10 s when the broker does not take it.
    """

    def publish(self, task: str, args: Sequence[str]) -> None: ...
