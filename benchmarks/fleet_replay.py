"""The fleet that benchmarks/fleet.py replays: queue, machines, prices and interruptions on a simulated clock."""

import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from itertools import pairwise
from typing import Protocol

from podinsight.domain.fleet import WORKING, InstanceState
from podinsight.domain.money import cost

HOUR, DAY = 3600.0, 86_400.0
CHUNK = 240.0
DOWNLOADED = 0.6  # of the episodes, when it begins
DOWNLOADING = 3 * DAY  # until the biggest host has given its own
HOSTS = (0.4, 0.25, 0.15, 0.1, 0.06, 0.04)  # shares of the episodes that are not downloaded when it begins
SPREAD = 0.5  # of the logarithm of lengths; their mean is 45 minutes
START, NOTICE, LEAST_BILLED = 180.0, 120.0, 60.0
LIST_PRICE = 210_000  # micro-dollars an hour
ZONES = 3
INTERRUPTION_HOURS = 12.0  # between two in a zone; each takes half of what runs there
SHUNNED = 1800.0  # seconds in which nothing is launched in a zone after an interruption


@dataclass(frozen=True)
class World:
    """What comes from outside, the same for every rule: see the fields."""

    episodes: tuple[tuple[float, tuple[float, ...]], ...]  # when it is downloaded, and how long each chunk takes
    prices: tuple[tuple[tuple[float, int], ...], ...]  # of each zone: since when, micro-dollars an hour
    interruptions: tuple[tuple[float, int], ...]  # when, zone
    speed: float  # seconds of audio a second

    def price(self, zone: int, now: float) -> int:
        return next(micros for since, micros in reversed(self.prices[zone]) if since <= now)

    def bill(self, zone: int, since: float, until: float) -> int:
        """Micro-dollars, rounded up in each segment of the price."""
        until = max(until, since + LEAST_BILLED)
        total = 0
        for (begin, micros), (end, _) in pairwise((*self.prices[zone], (math.inf, 0))):
            seconds = min(end, until) - max(begin, since)
            total += cost(seconds, micros) if seconds > 0 else 0
        return total


def make_world(seed: int, count: int, speed: float) -> World:
    chance = random.Random(seed)
    episodes = []
    for number in range(count):
        seconds = min(8 * HOUR, 2700.0 * math.exp(chance.gauss(-(SPREAD**2) / 2, SPREAD)))
        chunks = max(1, round(seconds / CHUNK))
        at = 0.0 if number < DOWNLOADED * count else _downloaded_at(chance)
        times = tuple(seconds / chunks / speed * math.exp(chance.gauss(0.0, 0.1)) for _ in range(chunks))
        episodes.append((at, times))
    prices, interruptions = [], []
    for zone in range(ZONES):
        at, level, segments = 0.0, chance.gauss(0.0, 0.15), []
        while at < 20 * DAY:
            segments.append((at, round(LIST_PRICE * math.exp(level))))
            at, level = at + chance.uniform(1, 5) * HOUR, 0.85 * level + chance.gauss(0.0, 0.08)
        prices.append(tuple(segments))
        at = 0.0
        while (at := at + chance.expovariate(1 / (INTERRUPTION_HOURS * HOUR))) < 20 * DAY:
            interruptions.append((at, zone))
    return World(tuple(sorted(episodes)), tuple(prices), tuple(sorted(interruptions)), speed)


def _downloaded_at(chance: random.Random) -> float:
    """When its host gives it: all hosts allow the same pace, so that one with half as many is done in half the time."""
    (share,) = chance.choices(HOSTS, HOSTS)
    return chance.uniform(0, DOWNLOADING * share / max(HOSTS))


@dataclass
class Instance:
    number: int
    zone: int
    launched: float
    state: InstanceState = InstanceState.STARTING
    chunk: tuple[int, float] | None = None
    since: float = 0.0
    until: float = 0.0


@dataclass
class Result:
    cost: int = 0
    billed: float = 0.0
    busy: float = 0.0
    makespan: float = 0.0
    launches: int = 0
    lost: int = 0
    waits: list[float] = field(default_factory=list)

    @property
    def idle_share(self) -> float:
        return 1 - self.busy / self.billed


class Rule(Protocol):
    every: float

    def act(self, fleet: "Replay") -> None: ...


class Replay:
    """The simulated fleet with its queue: one rule is asked every so often, until all is done and nothing runs."""

    def __init__(self, world: World, rule: Rule) -> None:
        self.world, self.rule = world, rule
        self.now = 0.0
        self.running: dict[int, Instance] = {}
        self.queue: deque[tuple[int, float]] = deque()
        self.queued = 0.0
        self.leased = 0.0
        self.fetching = sum(sum(chunks) for _, chunks in world.episodes)  # rows in the fetch lane from the start
        self.left = [len(chunks) for _, chunks in world.episodes]
        self.undone = len(world.episodes)
        self.shunned = [-math.inf] * ZONES
        self.result = Result()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    @property
    def live(self) -> list[Instance]:
        return [one for one in self.running.values() if one.state in WORKING]

    @property
    def chunks(self) -> int:
        return len(self.queue) + sum(one.chunk is not None for one in self.running.values())

    def run(self) -> Result:
        for number, (at, _) in enumerate(self.world.episodes):
            self._at(at, partial(self._downloaded, number))
        for at, zone in self.world.interruptions:
            self._at(at, partial(self._interrupt, zone))
        self._at(0.0, self._tick)
        while self.undone or self.running:
            self.now, _, act = heappop(self._events)
            act()
        return self.result

    def cheapest(self) -> int:
        """The zone where the next is launched: the cheapest that was not interrupted just now, the same for all."""
        return min(range(ZONES), key=lambda zone: (self.now - self.shunned[zone] < SHUNNED, self.price(zone)))

    def price(self, zone: int) -> int:
        return self.world.price(zone, self.now)

    def launch(self, count: int) -> None:
        for _ in range(count):
            self.result.launches += 1
            one = Instance(self.result.launches, self.cheapest(), self.now, since=self.now)
            self.running[one.number] = one
            self._at(self.now + START, partial(self._ready, one))

    def drain(self, one: Instance, grace: float) -> None:
        """Ends it after its chunk; a chunk that would take longer than the grace is lost and decoded again."""
        one.state = InstanceState.DRAINING
        if one.chunk is None:
            self._end(one)
        elif one.until - self.now > grace:
            self._at(self.now + grace, partial(self._lose, one))

    def _at(self, when: float, act: Callable[[], None]) -> None:
        self._count += 1
        heappush(self._events, (when, self._count, act))

    def _tick(self) -> None:
        self.rule.act(self)
        if self.undone or self.running:
            self._at(self.now + self.rule.every, self._tick)

    def _downloaded(self, number: int) -> None:
        for seconds in self.world.episodes[number][1]:
            self.queue.append((number, seconds))
            self.queued += seconds
            self.fetching -= seconds
        for one in list(self.running.values()):
            self._work(one)

    def _ready(self, one: Instance) -> None:
        if one.state is InstanceState.STARTING and one.number in self.running:
            one.state, one.since = InstanceState.READY, self.now
            self._work(one)

    def _work(self, one: Instance) -> None:
        if one.state is not InstanceState.READY or one.chunk is not None or not self.queue:
            return
        one.chunk = self.queue.popleft()
        self.queued -= one.chunk[1]
        self.leased += one.chunk[1]
        one.until = self.now + one.chunk[1]
        self._at(one.until, partial(self._done, one))

    def _done(self, one: Instance) -> None:
        if one.number not in self.running or one.chunk is None:
            return
        number, seconds = one.chunk
        one.chunk, one.since = None, self.now
        self.leased -= seconds
        self.result.busy += seconds
        self.left[number] -= 1
        if not self.left[number]:
            self.undone -= 1
            self.result.makespan = self.now
            downloaded = self.world.episodes[number][0]
            self.result.waits += [self.now - downloaded] if downloaded > DAY else []
        self._end(one) if one.state is InstanceState.DRAINING else self._work(one)

    def _lose(self, one: Instance) -> None:
        if one.number in self.running and one.chunk is not None:
            self.leased -= one.chunk[1]
            self.queued += one.chunk[1]
            self.queue.appendleft(one.chunk)
            self.result.lost += 1
            self._end(one)

    def _end(self, one: Instance) -> None:
        del self.running[one.number]
        self.result.cost += self.world.bill(one.zone, one.launched, self.now)
        self.result.billed += max(LEAST_BILLED, self.now - one.launched)

    def _interrupt(self, zone: int) -> None:
        self.shunned[zone] = self.now
        there = [one for one in self.live if one.zone == zone]
        for one in there[: math.ceil(len(there) / 2)]:
            self.drain(one, NOTICE)
