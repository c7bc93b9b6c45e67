"""Adapters that need nothing: shipped code for tests and dry runs, each passing its port's suite."""

from collections.abc import Sequence

from podinsight.errors import Unavailable


class MemoryQueue:
    """ports.JobQueue: remembers what was published; `down` makes it refuse, as a broker that is away does."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, tuple[str, ...]]] = []
        self.down = False

    def publish(self, task: str, args: Sequence[str]) -> None:
        if self.down:
            raise Unavailable(f"the broker did not take a {task} message: it is down")
        self.messages.append((task, tuple(args)))

    def take(self) -> list[tuple[str, tuple[str, ...]]]:
        """The messages so far; the queue is empty afterwards."""
        taken, self.messages = self.messages, []
        return taken
