"""Instances that are paid for while they run, and the groups that keep them running (G5, G6, G9).

An instance goes one way:

    starting ──► ready ──► draining ──► stopping ──► gone
        │          │           │                      ▲
        └──────────┴───────────┴──────────────────────┘  (failed to start, crashed, taken away)

starting: paid for, and takes no work yet. ready: takes work, and may hold leases. draining: takes no more work, and
finishes what it holds. stopping: told to end; whoever bills by the second bills no more. gone: ended.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from podinsight.domain.interruption import Notice
from podinsight.domain.prices import Price


class Lifecycle(StrEnum):
    """How an instance came to be: what may end it unasked, and what it costs, follow from that."""

    SPOT = "spot"
    ON_DEMAND = "on-demand"
    LOCAL = "local"


class InstanceState(StrEnum):
    """Where an instance stands; the machine is in the module's docstring."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPING = "stopping"
    GONE = "gone"


WORKING: Final = frozenset({InstanceState.STARTING, InstanceState.READY})  # they fill the places that a group keeps
PAID: Final = WORKING | {InstanceState.DRAINING}


@dataclass(frozen=True)
class Offer:
    """What an instance launched now would be. kind: instance type, or the device; empty when nobody knows it. rate: an
    hour of it."""

    kind: str
    rate: Price


@dataclass(frozen=True)
class Instance:
    """One machine, or one worker process of this machine.

    group: which group started it. zone: availability zone, or the machine's name. kind: instance type, or the device.
    started, ended: epoch seconds between which it is paid for; ended is None while it is. rate: an hour of it, at the
    price in force now. leased: it holds work.
    notice: what the provider said of its near end. why: what ended it, empty while it lives.
    """

    id: str
    group: str
    kind: str
    zone: str
    lifecycle: Lifecycle
    state: InstanceState
    started: float
    rate: Price
    ended: float | None = None
    leased: bool = False
    notice: Notice | None = None
    why: str = ""

    @property
    def idle(self) -> bool:
        """Scale-in may name it: it takes no work yet or holds none, and nobody has told it to go."""
        return self.state in WORKING and not self.leased


@dataclass(frozen=True)
class Group:
    """What keeps instances running, with the sizes that the provider has for it: minimum, desired, maximum."""

    name: str
    least: int
    desired: int
    most: int

    @property
    def is_zero(self) -> bool:
        """It starts nothing by itself and nobody can make it by a change of the desired count alone."""
        return (self.least, self.desired, self.most) == (0, 0, 0)


@dataclass(frozen=True)
class Snapshot:
    """The groups as they were before they were set to zero, when (epoch seconds) and why."""

    groups: tuple[Group, ...]
    at: float
    reason: str


class Change(StrEnum):
    """What is done to the size of a group."""

    SIZED = "sized"
    SHUT = "shut"
    OPENED = "opened"


@dataclass(frozen=True)
class FleetEvent:
    """One change of a group's size, as it stays on record. at: epoch seconds. before, after: how many were desired.
    by, why: who did it and the reason; empty when nobody said."""

    at: float
    what: Change
    group: str
    before: int
    after: int
    by: str
    why: str


def named(by: str, why: str) -> str:
    """`ada: over the holidays`: a reason with who gave it, where that is known."""
    return f"{by}: {why}" if by else why


@dataclass(frozen=True)
class FleetState:
    """What is known of a fleet at one moment.

    unknown: regions, or whatever answers for a part of the fleet, that refused or did not answer, with the reason: what
    runs there is not known, and never nothing. problems: one line each, for a person. kept: the sizes from before
    the fleet was set to zero; None while it is not.
    """

    at: float
    groups: tuple[Group, ...]
    instances: tuple[Instance, ...]
    unknown: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    kept: Snapshot | None = None

    @property
    def desired(self) -> int:
        return sum(group.desired for group in self.groups)

    @property
    def living(self) -> tuple[Instance, ...]:
        """All that is not gone."""
        return tuple(each for each in self.instances if each.state is not InstanceState.GONE)

    @property
    def idle(self) -> tuple[Instance, ...]:
        """What scale-in may name, the newest first: those have the least to lose."""
        return newest_first(each for each in self.instances if each.idle)

    @property
    def burn(self) -> int:
        """Micro-dollars an hour of all that is paid for now; what is unknown is not in it."""
        return sum(each.rate.micros for each in self.instances if each.state in PAID)

    @property
    def is_zero(self) -> bool:
        """Proof of zero: everybody answered, nothing lives, and no group will start anything."""
        return not self.unknown and not self.living and all(group.is_zero for group in self.groups)


@dataclass(frozen=True)
class Stopped:
    """What a call to stop instances came to, by id. ending: told to end, or gone already. busy: hold work and were
    left alone. refused: id → what the provider said."""

    ending: tuple[str, ...] = ()
    busy: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Unheld:
    """What setting minimums to zero came to. done: groups that have none now. refused: group → what the provider
    said."""

    done: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Zeroed:
    """What setting a fleet to zero came to. snapshot: the first one. unproven: one line for each region or instance of
    which it is not known that it ends; empty does not prove zero, only `FleetState.is_zero` does."""

    snapshot: Snapshot
    unproven: tuple[str, ...] = ()


def newest_first(instances: Iterable[Instance]) -> tuple[Instance, ...]:
    """By their start, then by id, so that two who look at the same choose the same."""
    return tuple(sorted(instances, key=lambda each: (each.started, each.id), reverse=True))


def spread(desired: int, groups: Iterable[Group]) -> dict[str, int]:
    """group → desired count: the minimum of each, then the first ones are filled up to their maximum.

    The sum is `desired`, brought between the groups' minimums and maximums together.
    """
    found = tuple(groups)
    sizes = {group.name: group.least for group in found}
    left = desired - sum(sizes.values())
    for group in found:
        more = max(0, min(left, group.most - group.least))
        sizes[group.name] += more
        left -= more
    return sizes
