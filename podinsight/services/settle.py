"""What becomes of a unit whose work raised: the one place that turns errors into transitions."""

import random
from collections.abc import Callable, Sequence
from contextlib import suppress

from podinsight.domain.redaction import unexpected
from podinsight.domain.work import LONGEST_RETRY_AFTER, Lease, State, backoff
from podinsight.errors import Abandoned, Busy, LeaseLost, Permanent, PodinsightError, Refused, Transient, Unavailable
from podinsight.ports import ObjectStore, WorkRows
from podinsight.topology import STAGES

_SHORTEST_TURN = 0.5
_OUTAGE = 5  # the attempt whose back-off is 15 to 30 s


def discard(objects: ObjectStore, keys: Sequence[str], error: Exception) -> None:
    """Deletes what an attempt wrote, unless the commit may have happened after all.

    A database that went away during a commit leaves its outcome unknown: then the objects stay. If the row did not
    commit them, they are tidied away with their folder once a later attempt is in place.
    """
    if isinstance(error, PodinsightError) and not isinstance(error, Unavailable):
        with suppress(PodinsightError):
            objects.delete(keys)


def _turn(seconds: float, jitter: float) -> float:
    """When to ask the gate again: not all that wait for a host at the same moment."""
    return max(_SHORTEST_TURN, min(seconds, LONGEST_RETRY_AFTER)) * (1.0 + jitter / 4)


def settle(
    rows: WorkRows, lease: Lease, error: Exception, jitter: Callable[[], float] = random.random, received: int = 0
) -> State:
    """Writes the transition that `error` asks for and returns the state.

    Transient: delayed with back-off until the stage's attempts are used up; a fault of ours costs no attempt, however
    long the outage. Busy: delayed for as long as the gate says, and no attempt. Permanent: failed. Refused: refused.
    Abandoned: handed back. LeaseLost, or a database that is away: nothing can be written; the lease expires.
    Anything else is a fault of ours and counts as Transient, so that it is seen and tried again; the row says its first
    line without secrets. received: bytes that came in under the lease.
    """
    try:
        match error:
            case LeaseLost() | Unavailable():
                return State.RUNNING
            case Abandoned():
                rows.hand_back(lease, received)
                return State.WAITING
            case Refused():
                rows.end(lease, State.REFUSED, str(error), received)
                return State.REFUSED
            case Permanent():
                rows.end(lease, State.FAILED, str(error), received)
                return State.FAILED
            case Busy():
                rows.delay(lease, str(error), _turn(error.seconds, jitter()), attempted=False, received=received)
                return State.DELAYED
        if isinstance(error, Transient) and error.ours:
            rows.delay(lease, str(error), backoff(_OUTAGE, jitter()), attempted=False, received=received)
            return State.DELAYED
        attempt = lease.attempts + 1
        reason = str(error) if isinstance(error, Transient) else unexpected(error)
        if attempt >= STAGES[lease.stage].max_attempts:
            rows.end(lease, State.FAILED, f"{reason} (attempt {attempt} of {attempt})", received)
            return State.FAILED
        after = error.retry_after if isinstance(error, Transient) else None
        rows.delay(lease, reason, backoff(attempt, jitter(), after), received=received)
        return State.DELAYED
    except (LeaseLost, Unavailable):
        return State.RUNNING
