"""What the brain looks at: the work, the machines, the stop levels and the rules (G5, G6, G8; DESIGN.md, idea 7).

Pure; standard library. Plain numbers, so that every kind of fleet and purse can be described by them. Money is whole
micro-dollars, time is epoch seconds, work is seconds of audio.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from podinsight.domain.budget import stops_at
from podinsight.domain.fleet import InstanceState
from podinsight.domain.money import cost

ECONOMY_ON: Final = 80  # per cent of a stop level (G8)
ECONOMY_OFF: Final = 60
ECONOMY_ITEM: Final = 2_500_000  # micro-dollars of one item (G8)


@dataclass(frozen=True)
class Demand:
    """Work that is runnable or under a lease: seconds of audio, and the chunks they lie in; coming: seconds of audio
    in earlier stages (fetch, plan) that nothing holds back."""

    seconds: float = 0.0
    chunks: int = 0
    coming: float = 0.0


@dataclass(frozen=True)
class Machine:
    """One worker's machine. since: when it came into its state, or lost its last lease; progress_at: of its audio."""

    id: str
    state: InstanceState
    hour_micros: int
    since: float
    leases: int = 0
    progress_at: float | None = None


@dataclass(frozen=True)
class Level:
    """A stop level in micro-dollars with what counts against it. Alert levels never come here: they only tell (G3).
    name: of its budget, for people (`GPU work on 2026-11-22`)."""

    scope: str
    ceiling: int
    spent: int
    reserved: int = 0
    name: str = "the budget"

    @property
    def room(self) -> int:
        """What is asked has to be less: under a level of nothing that is nothing (`stops_at`)."""
        return stops_at(self.ceiling) - self.spent - self.reserved


@dataclass(frozen=True)
class Rules:
    """The settable part; all times in seconds.

    most: machines. drain: in how long a backlog should be gone. patience: while no machine runs and more work is on
    its way, work waits so long, or until it is so long itself, to share one start; 0: it never waits. grace: the last
    idle worker stays so long; only `settle` while so much is on its way that the next start will be shared. settle: so
    long a lower number must have held. start: from launch to first chunk. sweep: until the next decision at the latest.
    stop: until a machine told to stop is no longer paid for, its chunk included. stall: without progress of audio.
    least_billed: of any launch. lease: that a claim reserves at least; a machine for which that does not fit does no
    work.
    """

    most: int
    drain: float = 7200.0
    patience: float = 1800.0
    grace: float = 300.0
    settle: float = 60.0
    start: float = 180.0
    sweep: float = 60.0
    stop: float = 120.0
    stall: float = 300.0
    least_billed: float = 60.0
    lease: float = 0.0

    def __post_init__(self) -> None:
        waits = (self.patience, self.grace, self.settle, self.sweep, self.stop, self.stall, self.least_billed)
        if self.most < 0 or min(self.drain, self.start) <= 0 or min(*waits, self.lease) < 0:
            raise ValueError(f"no rules for a fleet: {self}")

    @property
    def launch(self) -> float:
        """Seconds of a machine that have to fit before it is launched: its start, until it could have been stopped, and
        what its first claim reserves beside."""
        return max(self.least_billed, self.start + self.sweep + self.stop) + self.lease


def needed(busy: float, rules: Rules) -> int:
    """Machines that are done with so many seconds of work of one of them in `drain`; `most` is not looked at."""
    return math.ceil(busy / rules.drain)


def economy_item(level: int | None, stop: int | None) -> int | None:
    """Micro-dollars of one item from which to save: the lower of the level of its own and 80 % of its stop level (G8);
    None: an item alone never begins it. A level of nothing is none to save under."""
    near = -(-stop * ECONOMY_ON // 100) if stop else None
    return min((each for each in (level, near) if each), default=None)


def economy(on: bool, levels: Iterable[Level], dearest_item: int = 0, item: int | None = ECONOMY_ITEM) -> bool:
    """Whether to save: from 80 % of a stop level or an item at its level, until all are below 60 % (G8).

    Args:
        on: whether it is now.
        dearest_item: micro-dollars of the dearest item that is not done.
        item: from how many of them to save (`economy_item`); None: never for an item.
    """
    share = ECONOMY_OFF if on else ECONOMY_ON
    dear = item is not None and dearest_item >= item
    return dear or any(100 * one.spent >= share * one.ceiling for one in levels)


def ahead(machines: Iterable[Machine], rules: Rules) -> int:
    """Micro-dollars that are spent until the next decision can have stopped what runs now.

    Freeze when a level's spent + reserved + this is not under its ceiling: burn x (sweep interval + time to stop).
    """
    return sum(cost(rules.sweep + rules.stop, one.hour_micros) for one in machines)
