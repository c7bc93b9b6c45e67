"""What a back-fill of 10,000 episodes costs with the brain, with a KEDA-like rule and with a fixed pool (G6).

    make bench-fleet            (ARGS="--episodes 10000 --seeds 5 --most 8 --speed 40")

A discrete-event simulation (benchmarks/fleet_replay.py): it judges rules, it measures no machine. All episodes are rows
from the first minute, as in a back-fill; what takes time is to download them. By seed: their lengths (log-normal, mean
45 minutes); when they are downloaded (60 % before it begins; the rest from six hosts of unequal size, all at the same
pace, the biggest in three days); prices by zone that change; Spot interruptions by zone and hour, which take half of
what runs there. All rules get the same of each, and the same maximum, start-up, speed and choice of zone. Billed by the
second from launch, 60 seconds at least, at the price in force in the zone.

KEDA-like: a PostgreSQL trigger that counts the chunks runnable or under a lease; polling 30 s, cooldown 300 s (KEDA's
defaults, keda.sh/docs/latest/reference/scaledobject-spec); between 1 and the maximum the HorizontalPodAutoscaler with
its defaults: ceil(metric / target), tolerance 10 %, sync 15 s, scale-down stabilised over 300 s, up by 4 pods or 100 %
in 15 s; of the pods the newest go first, with 30 s of grace to finish a chunk. In its favour: a node ends with its pod
(the cluster autoscaler waits 10 minutes), and its target is chosen on the very seeds it is judged by: the cheapest of
those whose makespan is within 1 % of the shortest. Fixed: the smallest pool as fast as that, else the maximum.

The brain's rules are what the deployed one makes of SETTINGS below, by the same code. In a stack that is
PODINSIGHT_FLEET_DRAIN_SECONDS=7200, PODINSIGHT_FLEET_PATIENCE_SECONDS=1800 and PODINSIGHT_FLEET_START_SECONDS=180; the
defaults (3600, 0, 15) are for processes, which start at once and for nothing. Grace and settling are the defaults.

What the brain knows and the others do not: how many seconds of audio are in earlier stages, which the database says
(services/scale.py; by the lengths that feeds declare, here the true ones). When they will be downloaded it does not
know. `blind` in the last line is the brain with the same settings and without that knowledge. Stop levels are left out,
since the other two have none. Idle share: of the seconds billed, those in which no audio was decoded (starts count).
Wait: from download to last chunk, of the episodes downloaded on the second and third day. The last line is JSON,
medians over the seeds.
"""

import argparse
import json
import math
import statistics
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.fleet_replay import HOUR, START, Replay, Rule, World, make_world
from podinsight.bootstrap.money import guard_rules
from podinsight.domain.brain import Memory, decide
from podinsight.domain.control import Control
from podinsight.domain.fleet import InstanceState
from podinsight.domain.pool import Demand, Machine, Rules
from podinsight.settings import Settings

TARGETS = (20, 80, 320, 640, 960, 1280, 1600, 2240, 3200, 4800, 6400, 8000, 9600, 12800)  # chunks a worker
GRACE = 30.0
SETTINGS = {
    "fleet_drain_seconds": 7200.0,
    "fleet_patience_seconds": 1800.0,
    "fleet_grace_seconds": 300.0,
    "fleet_settle_seconds": 60.0,
    "fleet_start_seconds": START,
    "scale_every_seconds": 30.0,  # 5 by default; KEDA polls as often
}


class Brain:
    """podinsight.domain.brain. blind: it is not told what is in earlier stages."""

    every = SETTINGS["scale_every_seconds"]

    def __init__(self, rules: Rules, blind: bool = False) -> None:
        self.rules, self.blind, self.memory = rules, blind, Memory()

    def act(self, fleet: Replay) -> None:
        speed = fleet.world.speed
        coming = 0.0 if self.blind else speed * fleet.fetching
        demand = Demand(speed * (fleet.queued + fleet.leased), fleet.chunks, coming)
        seen = [
            Machine(
                str(one.number),
                one.state,
                fleet.price(one.zone),
                one.since,
                int(one.chunk is not None),
                one.until - (one.chunk[1] if one.chunk else 0),
            )
            for one in fleet.running.values()
        ]
        price = fleet.price(fleet.cheapest())
        decision = decide(fleet.now, demand, seen, self.rules, speed, price, Control(), (), self.memory)
        self.memory = decision.memory
        for number in (*decision.stop, *decision.drain):
            fleet.drain(fleet.running[int(number)], math.inf)
        fleet.launch(max(0, decision.desired - len(fleet.live)))


class Keda:
    """KEDA's activation and the HorizontalPodAutoscaler over it."""

    every = 15.0

    def __init__(self, target: int, most: int) -> None:
        self.target, self.most = target, most
        self.replicas = 0
        self.active_at = -math.inf
        self.advised: deque[tuple[float, int]] = deque()

    def act(self, fleet: Replay) -> None:
        metric = fleet.chunks
        if fleet.now % 30.0 == 0:
            self._activate(fleet.now, metric)
        if self.replicas:
            self._scale(fleet.now, metric)
        live = fleet.live
        surplus = max(0, len(live) - self.replicas)
        for one in sorted(live, key=lambda one: (one.state is InstanceState.READY, -one.launched))[:surplus]:
            fleet.drain(one, GRACE)
        fleet.launch(max(0, self.replicas - len(live)))

    def _activate(self, now: float, metric: int) -> None:
        if metric:
            self.active_at = now
            self.replicas = max(1, self.replicas)
        elif now - self.active_at >= 300.0:
            self.replicas = 0
            self.advised.clear()

    def _scale(self, now: float, metric: int) -> None:
        ratio = metric / (self.target * self.replicas)
        advice = self.replicas if abs(ratio - 1) <= 0.1 else math.ceil(metric / self.target)
        self.advised.append((now, min(self.most, max(1, advice))))
        while self.advised[0][0] <= now - 300.0:
            self.advised.popleft()
        advice = self.advised[-1][1]
        if advice < self.replicas:
            advice = min(self.replicas, max(number for _, number in self.advised))
        self.replicas = min(advice, max(2 * self.replicas, self.replicas + 4))


class Fixed:
    """So many from the start until all is done; what was interrupted is replaced."""

    every = 15.0

    def __init__(self, size: int) -> None:
        self.size = size

    def act(self, fleet: Replay) -> None:
        if fleet.undone:
            fleet.launch(self.size - len(fleet.live))
            return
        for one in fleet.live:
            fleet.drain(one, math.inf)


@dataclass(frozen=True)
class Medians:
    cost: float
    makespan_h: float
    idle_share: float
    launches: float
    wait_h: float
    lost: float


def replay(worlds: Sequence[World], name: str, make: Callable[[], Rule]) -> Medians:
    results = [Replay(world, make()).run() for world in worlds]
    medians = Medians(
        cost=round(statistics.median(one.cost for one in results) / 1e6, 4),
        makespan_h=round(statistics.median(one.makespan for one in results) / HOUR, 4),
        idle_share=round(statistics.median(one.idle_share for one in results), 4),
        launches=statistics.median(one.launches for one in results),
        wait_h=statistics.median(statistics.quantiles(one.waits or [0, 0], n=20)[-1] for one in results) / HOUR,
        lost=statistics.median(one.lost for one in results),
    )
    print(
        f"{name:<16} {medians.cost:>9.3f} {medians.makespan_h:>11.3f} {medians.idle_share:>11.2%}"
        f" {medians.launches:>9.0f} {medians.wait_h:>13.2f} {medians.lost:>5.0f}",
        flush=True,
    )
    return medians


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--episodes", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--most", type=int, default=8)
    parser.add_argument("--speed", type=float, default=40.0, help="seconds of audio that a worker decodes in a second")
    options = parser.parse_args()
    worlds = [make_world(seed, options.episodes, options.speed) for seed in range(options.seeds)]
    print(f"{options.episodes} episodes, at most {options.most} machines, medians of {options.seeds} seeds")
    print("rule               dollars  makespan h  idle share  launches   95 % wait h  lost")
    rules = guard_rules(Settings.model_validate({"state_dir": ".", "gpu_workers": options.most, **SETTINGS})).fleet
    brain = replay(worlds, "brain", partial(Brain, rules))
    blind = replay(worlds, "brain, blind", partial(Brain, rules, blind=True))
    tried = [replay(worlds, f"keda {target}", partial(Keda, target, options.most)) for target in TARGETS]
    shortest = min(one.makespan_h for one in tried)
    keda = min((one for one in tried if one.makespan_h <= 1.01 * shortest), key=lambda one: one.cost)
    for size in range(1, options.most + 1):
        fixed = replay(worlds, f"fixed {size}", partial(Fixed, size))
        if fixed.makespan_h <= keda.makespan_h:
            break
    print(json.dumps({**_told(brain), "keda": _told(keda), "fixed": _told(fixed), "blind": _told(blind)}))


def _told(medians: Medians) -> dict[str, float]:
    return {"cost": medians.cost, "makespan_h": medians.makespan_h, "idle_share": medians.idle_share}


if __name__ == "__main__":
    main()
