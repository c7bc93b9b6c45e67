"""A clock that tests move by hand."""


class ManualClock:
    """The Clock port; starts at a fixed moment."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now

    def now(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += seconds
