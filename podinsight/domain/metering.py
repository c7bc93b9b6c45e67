"""How long a worker was paid for without work (G1). Pure; standard library, whole milliseconds."""

from collections.abc import Sequence
from dataclasses import dataclass

from podinsight.domain.days import split_at_midnight
from podinsight.domain.prices import Price


@dataclass(frozen=True)
class Meter:
    """One worker's time, counted from `started` (epoch seconds) to `until`: now, or when it was last heard of.

    since: until when it was counted before. busy_ms: under leases that have ended. open_ms: under those that have not,
    up to `until`. idle_ms: written down before. ended: it is dead, and nothing more will come. price: of an hour, in
    force now, for all that is due; None: the price book's.
    """

    worker: str
    device: str
    started: float
    since: float
    until: float
    busy_ms: int
    open_ms: int
    idle_ms: int
    ended: bool = False
    price: Price | None = None

    @property
    def due_ms(self) -> int:
        """Idle time that nobody has written down yet: paid − busy − under an open lease − written. Never below zero, so
        what is written never shrinks; a worker's last lease may run on a little after it was last heard of."""
        paid = round((self.until - self.started) * 1000)
        return max(0, paid - self.busy_ms - self.open_ms - self.idle_ms)

    def by_day(self) -> list[tuple[str, int]]:
        """The due time by UTC day. It lies between the last count and the open lease; where in between nobody knows, so
        each day bears its share of that span."""
        due = self.due_ms
        end = self.until - self.open_ms / 1000
        begin = min(max(self.since, self.started), end - due / 1000)
        return shared(due, split_at_midnight(begin, end)) if due else []


def shared(amount: int, pieces: Sequence[tuple[str, float]]) -> list[tuple[str, int]]:
    """A whole amount by the lengths of the pieces; together exactly the amount, pieces of nothing left out."""
    whole = sum(length for _name, length in pieces)
    found: list[tuple[str, int]] = []
    passed, given = 0.0, 0
    for name, length in pieces:
        passed += length
        upto = amount if passed >= whole else round(amount * passed / whole)
        if upto > given:
            found.append((name, upto - given))
        given = max(given, upto)
    return found
