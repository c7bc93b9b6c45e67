"""What the cost guard finds and says, kept until it is dealt with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from podinsight.domain.alerts import Alert
from podinsight.domain.findings import Finding


@dataclass(frozen=True)
class OpenFinding:
    """source: who looks for it (`sweep`, `daily` …). first_at, last_at: epoch seconds when it was seen."""

    finding: Finding
    source: str
    first_at: float
    last_at: float


@dataclass(frozen=True)
class PostedAlert:
    """An alert that nobody was told of yet. tries: how often that failed."""

    id: int
    at: float
    alert: Alert
    tries: int


class Findings(Protocol):
    """What costs money for nothing, as it was last seen."""

    def report(
        self, source: str, found: Sequence[Finding], tell: Callable[[Finding], Alert] | None = None
    ) -> list[Finding]:
        """All that this source finds now: what it found before and does not find any more is closed. A finding is the
        same as long as source and subject are. Returns those that are new.

        tell: what people are told of each new one, posted in the same transaction.
        """
        ...

    def open(self) -> list[OpenFinding]:
        """The dearest first."""
        ...


class Alerts(Protocol):
    """The outbox of what people are told: posted in the transaction of what happened, sent afterwards."""

    def post(self, alert: Alert) -> bool:
        """Once for each key: False when it was posted before; then nothing changes."""
        ...

    def unsent(self, limit: int) -> list[PostedAlert]:
        """Those that are due, the oldest first: one that failed waits a minute, then twice as long, up to an hour."""
        ...

    def sent(self, alert_id: int) -> None: ...
    def failed(self, alert_id: int, why: str) -> None: ...


class Memory(Protocol):
    """Little things that one run of a periodic task leaves to the next, each under its name."""

    def recall(self, name: str) -> Mapping[str, object] | None: ...
    def remember(self, name: str, value: Mapping[str, object]) -> None: ...


class Notifier(Protocol):
    """Tells people."""

    def send(self, alert: Alert) -> bool:
        """False when nobody is to be told of this severity.

        Raises:
            Unavailable: somebody could not be told; the message names services, never addresses or tokens.
        """
        ...
