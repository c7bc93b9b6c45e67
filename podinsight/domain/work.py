"""Work rows: their states, leases, and the pure decisions about them (DESIGN.md, ideas 1, 2 and 4).

A *unit* is what is claimed under a lease: a `work` row (fetch) or a `chunks` row (transcribe). The `work` row of a
chunked stage is never leased itself: its state is the aggregate of its chunks.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

UnitKind = Literal["work", "chunk"]


class State(StrEnum):
    """Where a unit stands. Only `waiting` is runnable now."""

    WAITING = "waiting"
    DISPATCHED = "dispatched"
    RUNNING = "running"
    DELAYED = "delayed"
    HELD = "held"
    FAILED = "failed"
    REFUSED = "refused"
    DONE = "done"


OPEN_STATES = frozenset({State.WAITING, State.DISPATCHED, State.RUNNING, State.DELAYED, State.HELD})
IN_FLIGHT_STATES = frozenset({State.DISPATCHED, State.RUNNING})


@dataclass(frozen=True)
class Span:
    """A chunk of an episode: seconds of episode time; `end` is None for "to the end". n = -1 is the join."""

    n: int
    start: float
    end: float | None

    @property
    def is_join(self) -> bool:
        return self.n < 0


@dataclass(frozen=True)
class Lease:
    """What a claim hands to a worker. Every write that ends the unit carries `token` (the fence)."""

    kind: UnitKind
    unit_id: int
    stage: str
    episode_id: str
    worker: str
    token: str
    attempts: int
    losses: int
    span: Span | None = None
    params: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Ticket:
    """A unit that dispatch has taken out of its lane and that must now be told to the broker."""

    unit_id: int
    stage: str
    episode_id: str


@dataclass(frozen=True)
class LaneView:
    """What dispatch reads of one lane that has waiting rows."""

    lane_id: int
    priority: int
    host: str
    waiting: int
    last_served: float


def share_out(
    lanes: Sequence[LaneView], in_flight: Mapping[str, int], limits: Mapping[str, int], default_limit: int, free: int
) -> dict[int, int]:
    """How many units to take from each lane: higher priority first, then one each in turn between hosts.

    Args:
        lanes: lanes with waiting units, any order.
        in_flight: host → units of this stage already dispatched or running, over all priorities.
        limits: host → most units in flight; `default_limit` for others (0: no limit).
        free: slots that workers report free.

    Returns:
        lane_id → how many, only lanes that get at least one; the sum is at most `free`.
    """
    taken: dict[int, int] = {}
    busy = dict(in_flight)
    for priority in sorted({lane.priority for lane in lanes}, reverse=True):
        turn = sorted((lane for lane in lanes if lane.priority == priority), key=lambda x: (x.last_served, x.lane_id))
        while turn and free > 0:
            still: list[LaneView] = []
            for lane in turn:
                limit = limits.get(lane.host, default_limit)
                if free <= 0:
                    break
                if limit and busy.get(lane.host, 0) >= limit:
                    continue
                taken[lane.lane_id] = taken.get(lane.lane_id, 0) + 1
                busy[lane.host] = busy.get(lane.host, 0) + 1
                free -= 1
                if taken[lane.lane_id] < lane.waiting:
                    still.append(lane)
            turn = still
    return taken


_AGGREGATE_ORDER = (
    State.REFUSED,
    State.FAILED,
    State.RUNNING,
    State.DISPATCHED,
    State.WAITING,
    State.DELAYED,
    State.HELD,
)


def aggregate(states: Iterable[State]) -> State:
    """The state of a chunked stage from the states of its chunks; `done` only when every chunk is."""
    present = set(states)
    for state in _AGGREGATE_ORDER:
        if state in present:
            return state
    return State.DONE if present else State.HELD


LONGEST_RETRY_AFTER = 86_400.0  # seconds: what a server asks for by mistake (a date in 2099) is not for ever


def backoff(attempt: int, jitter: float, retry_after: float | None = None) -> float:
    """Seconds to wait after failure number `attempt` (1-based): exponential 2–30 s with jitter (F6).

    Args:
        attempt: how many attempts have failed so far.
        jitter: a random number in [0, 1).
        retry_after: what the server asked for; never undercut, but no more than a day.
    """
    wait = min(30.0, 2.0**attempt) * (0.5 + jitter / 2)
    return max(2.0, wait, min(retry_after or 0.0, LONGEST_RETRY_AFTER))


FREE_LOSSES = 2  # in a row: a worker that is killed, or loses its machine, costs no wait
_FIRST_WAIT, _LONGEST_WAIT = 10.0, 300.0  # seconds


def wait_after_loss(losses: int) -> float:
    """Seconds that a unit waits, others going first, after its worker died with it the `losses`-th time in a row.

    What kills its workers must not have one after the other at once, nor may a bad quarter of an hour of a machine set
    aside what would succeed: none after the first two, then 10 s doubled each time up to 300 s, as Kubernetes waits
    between starts of a container that crashes (Pod lifecycle, "CrashLoopBackOff").
    """
    if losses <= FREE_LOSSES:
        return 0.0
    return min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** (losses - FREE_LOSSES - 1))
