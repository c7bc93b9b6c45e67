"""ports.Fleet on a simulated clock, with everything that a provider may do to a fleet."""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Final

from podinsight.domain.fleet import (
    WORKING,
    FleetState,
    Group,
    Instance,
    InstanceState,
    Lifecycle,
    Offer,
    Snapshot,
    Stopped,
    Unheld,
    Zeroed,
    named,
    newest_first,
    spread,
)
from podinsight.domain.interruption import Notice
from podinsight.domain.prices import Price
from podinsight.errors import Refused, Unavailable
from podinsight.ports import Clock

_FORGOTTEN_SECONDS: Final = 3600.0  # EC2 shows a terminated instance for about an hour
LIST_PRICE: Final = Price(526_000, "list price 2026-11-01")


@dataclass(frozen=True)
class Make:
    """What instances are made of. start_seconds: until one is ready. stop_seconds: until one that ends is gone.
    notice_seconds: between a notice of interruption and the end (AWS: two minutes)."""

    kind: str = "g4dn.xlarge"
    lifecycle: Lifecycle = Lifecycle.SPOT
    rate: Price = LIST_PRICE
    start_seconds: float = 180.0
    stop_seconds: float = 30.0
    notice_seconds: float = 120.0


class MemoryFleet:
    """Groups (one a region) that keep as many instances as is desired, and start anew what ends.

    Time goes by when the clock does: what was due happens, in order, before the next question is answered.

    denied: names of groups whose region refuses us; what runs there runs on. protected: ids that the provider refuses
    to stop. unchangeable: names of groups whose minimum it refuses to change. failing: how many of the next starts come
    to nothing. Who orders what is not kept, but for a `zero`.
    """

    def __init__(self, clock: Clock, groups: Sequence[Group], make: Make | None = None, name: str = "memory") -> None:
        self.denied: set[str] = set()
        self.protected: set[str] = set()
        self.unchangeable: set[str] = set()
        self.failing = 0
        self._clock = clock
        self._name = name
        self._make = make or Make()
        self._groups = {group.name: group for group in groups}
        self._instances: dict[str, Instance] = {}
        self._due: list[tuple[float, int, str, InstanceState, str]] = []
        self._order = count()
        self._kept: Snapshot | None = None
        self._catch_up()

    @property
    def name(self) -> str:
        return self._name

    # ------------------------------------------------------------------------------------------------ the port

    def state(self) -> FleetState:
        self._catch_up()
        now = self._clock.now()
        groups = self._reachable()
        names = {group.name for group in groups}
        seen = tuple(each for each in self._instances.values() if each.group in names)
        return FleetState(now, groups, seen, unknown=self._unknown(), kept=self._kept)

    def offer(self) -> Offer:
        return Offer(self._make.kind, self._make.rate)

    def scale(self, desired: int, by: str = "", why: str = "") -> int:
        self._catch_up()
        if self._kept is not None:
            raise Refused(f"the fleet {self.name} is shut: {self._kept.reason}")
        sizes = spread(desired, self._answering())
        for name, size in sizes.items():
            self._groups[name] = replace(self._groups[name], desired=size)
        self._catch_up()
        return sum(sizes.values())

    def stop(self, ids: Sequence[str], by: str = "", why: str = "") -> Stopped:
        self._catch_up()
        self._answering()
        ending: list[str] = []
        busy: list[str] = []
        refused: list[tuple[str, str]] = []
        for name in ids:
            instance = self._instances.get(name)
            refusal = self._refuses(instance) if instance else ""
            if instance is not None and instance.leased:
                busy.append(name)
            elif refusal:
                refused.append((name, refusal))
            else:
                ending.append(name)
                if instance is not None and instance.idle:
                    group = self._groups[instance.group]
                    self._groups[group.name] = replace(group, desired=max(group.least, group.desired - 1))
                    self._end(instance, self._clock.now(), "stopped")
        self._catch_up()
        return Stopped(tuple(ending), tuple(busy), tuple(refused))

    def drop_minimum(self, groups: Sequence[str], by: str = "", why: str = "") -> Unheld:
        self._catch_up()
        self._answering()
        refused = {name: "access denied" for name in groups if name in self.denied}
        refused |= {name: "its size may not be changed" for name in groups if name in self.unchangeable}
        done = tuple(name for name in groups if name not in refused)
        for name in set(done) & set(self._groups):
            self._groups[name] = replace(self._groups[name], least=0)
        return Unheld(done, tuple(refused.items()))

    def zero(self, why: str, by: str = "") -> Zeroed:
        self._catch_up()
        reason = named(by, why)
        reached = self._answering()
        kept = self._kept or Snapshot((), self._clock.now(), reason)
        known = {group.name for group in kept.groups}
        kept = replace(kept, groups=kept.groups + tuple(group for group in reached if group.name not in known))
        self._kept = kept
        for group in reached:
            self._groups[group.name] = Group(group.name, 0, 0, 0)
        unproven = list(self._unknown())
        for instance in self._living():
            refusal = self._refuses(instance)
            if not refusal:
                self._end(instance, self._clock.now(), reason)
            elif instance.group not in self.denied:
                unproven.append(f"{instance.id}: {refusal}")
        self._catch_up()
        return Zeroed(kept, tuple(unproven))

    def resume(self, snapshot: Snapshot, by: str = "", why: str = "") -> None:
        self._catch_up()
        if self._kept is None:
            return
        away = [group.name for group in snapshot.groups if group.name in self.denied]
        if away:
            raise Unavailable(f"{', '.join(away)}: access denied; nothing of {self.name} was resumed")
        self._groups |= {group.name: group for group in snapshot.groups}
        self._kept = None
        self._catch_up()

    # ------------------------------------------------------------------------------------------------ the world

    def resize(self, group: Group) -> None:
        """Somebody sets the sizes of a group by hand, at the provider."""
        self._groups[group.name] = group
        self._catch_up()

    def hold(self, name: str) -> bool:
        """A worker on this instance asks for a lease; False where none may be given."""
        self._catch_up()
        instance = self._instances[name]
        if instance.state is not InstanceState.READY or instance.leased:
            return False
        self._instances[name] = replace(instance, leased=True)
        return True

    def let_go(self, name: str) -> None:
        """The worker's lease has ended, however."""
        self._instances[name] = replace(self._instances[name], leased=False)
        self._catch_up()

    def interrupt(self, name: str) -> Notice:
        """Spot: the instance is gone after the notice. Its worker hands back at once, and the group replaces it."""
        self._catch_up()
        at = self._clock.now() + self._make.notice_seconds
        notice = Notice("stop", at)
        instance = replace(self._instances[name], state=InstanceState.DRAINING, leased=False, notice=notice)
        self._instances[name] = instance
        self._later(at, instance, InstanceState.GONE, "interrupted")
        self._catch_up()
        return notice

    def advise(self, name: str) -> Notice:
        """Spot: the instance is likelier than usual to be interrupted; often nothing follows, so nothing is started."""
        self._catch_up()
        notice = Notice("rebalance")
        self._instances[name] = replace(self._instances[name], notice=notice)
        return notice

    def crash(self, name: str) -> None:
        """Gone at once, with whatever it held."""
        self._catch_up()
        self._later(self._clock.now(), self._instances[name], InstanceState.GONE, "crashed")
        self._catch_up()

    # ------------------------------------------------------------------------------------------------ the provider

    def _reachable(self) -> tuple[Group, ...]:
        return tuple(group for name, group in self._groups.items() if name not in self.denied)

    def _answering(self) -> tuple[Group, ...]:
        groups = self._reachable()
        if not groups:
            raise Unavailable(f"no region of {self.name} answers: {', '.join(self._unknown())}")
        return groups

    def _unknown(self) -> tuple[str, ...]:
        return tuple(f"{name}: access denied" for name in self._groups if name in self.denied)

    def _refuses(self, instance: Instance) -> str:
        if instance.group in self.denied:
            return "access denied"
        return "protected against being stopped" if instance.id in self.protected else ""

    def _living(self) -> Iterable[Instance]:
        return [each for each in self._instances.values() if each.state is not InstanceState.GONE]

    def _catch_up(self) -> None:
        now = self._clock.now()
        self._let_happen(now)
        self._level(now)
        self._let_happen(now)
        for each in list(self._instances.values()):
            if each.ended is not None and each.state is InstanceState.GONE and now - each.ended > _FORGOTTEN_SECONDS:
                del self._instances[each.id]

    def _let_happen(self, until: float) -> None:
        while self._due and self._due[0][0] <= until:
            at, _, name, state, why = heapq.heappop(self._due)
            self._happen(at, name, state, why)
            self._level(at)

    def _happen(self, at: float, name: str, state: InstanceState, why: str) -> None:
        instance = self._instances.get(name)
        if instance is None or instance.state is InstanceState.GONE:
            return
        if state is InstanceState.READY:
            if instance.state is InstanceState.STARTING:
                self._instances[name] = replace(instance, state=state)
            return
        ended = at if instance.ended is None else instance.ended
        why = instance.why or why
        self._instances[name] = replace(instance, state=state, ended=ended, leased=False, why=why)

    def _level(self, at: float) -> None:
        """Every group does what groups do: it starts what is missing and ends what is too much, but nothing busy."""
        for group in self._groups.values():
            working = [each for each in self._instances.values() if each.group == group.name and each.state in WORKING]
            for _ in range(group.desired - len(working)):
                self._start(group, at)
            surplus = max(0, len(working) - group.desired)
            spare = [each for each in newest_first(working) if each.idle and each.id not in self.protected]
            for each in spare[:surplus]:
                self._end(each, at, "scale-in")

    def _start(self, group: Group, at: float) -> None:
        make = self._make
        name = f"i-{next(self._order):06d}"
        state = InstanceState.STARTING
        instance = Instance(name, group.name, make.kind, group.name, make.lifecycle, state, at, make.rate)
        self._instances[name] = instance
        if self.failing > 0:
            self.failing -= 1
            self._later(at + make.start_seconds, instance, InstanceState.GONE, "failed to start")
        else:
            self._later(at + make.start_seconds, instance, InstanceState.READY, "")

    def _end(self, instance: Instance, at: float, why: str) -> None:
        """Told to end: it holds nothing more, and is paid for no longer."""
        if instance.state in WORKING or instance.state is InstanceState.DRAINING:
            state = InstanceState.STOPPING
            self._instances[instance.id] = replace(instance, state=state, ended=at, leased=False, why=why)
            self._later(at + self._make.stop_seconds, instance, InstanceState.GONE, why)

    def _later(self, at: float, instance: Instance, state: InstanceState, why: str) -> None:
        heapq.heappush(self._due, (at, next(self._order), instance.id, state, why))
