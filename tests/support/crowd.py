"""Many episodes over several hosts, fetched by several worker processes: how polite that was, and how fast.

The hosts are names on loopback, served by one hostile server that counts what reaches each of them. Undisturbed, the
figures are slot use and time against the best possible schedule; disturbed, workers are killed and frozen at random and
Redis is flushed once, and the figure is what was in flight by the server's own count.
"""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import psutil
import redis

from podinsight.domain.work import State
from tests.support.feeds import rss
from tests.support.hostile import Hostile
from tests.support.stack import Stack, wait_for
from tests.support.visits import Visit, best_schedule, by_host, cut, peak, slot_use
from tests.support.webserver import WebServer

FEED_HOST = "feeds.test"
ENDED = (State.DONE, State.FAILED, State.REFUSED)


@dataclass(frozen=True)
class Crowd:
    """What is to be fetched.

    limits: host → requests at a time. counts: host → episodes. seconds: host → how long its files take on average.
    """

    limits: Mapping[str, int]
    counts: Mapping[str, int]
    seconds: Mapping[str, float]
    size: int = 200_000
    workers: int = 8
    slots: int = 10
    lease_seconds: float = 90

    @property
    def episodes(self) -> int:
        return sum(self.counts.values())

    def duration(self, host: str, n: int) -> float:
        """Seconds that the n-th file of a host takes: from half to one and a half of the host's, evenly."""
        return self.seconds[host] * (0.5 + (n * 0.618034) % 1.0)

    @property
    def best(self) -> float:
        """Seconds of the best possible schedule."""
        durations = {host: [self.duration(host, n) for n in range(1, count + 1)] for host, count in self.counts.items()}
        return best_schedule(durations, self.limits, self.workers * self.slots)

    def environ(self) -> dict[str, str]:
        """Settings of a stack that fetches this crowd."""
        return {
            "PODINSIGHT_HOST_ADDRESSES": "test=127.0.0.1",
            "PODINSIGHT_ALLOWED_HOSTS": ",".join([FEED_HOST, *self.limits]),
            "PODINSIGHT_HOST_LIMITS": ",".join(f"{host}={limit}" for host, limit in self.limits.items()),
            "PODINSIGHT_DEFAULT_HOST_RATE": "100",
            "PODINSIGHT_FETCH_WORKERS": str(self.workers),
            "PODINSIGHT_FETCH_SLOTS": str(self.slots),
            "PODINSIGHT_GPU_WORKERS": "0",
            "PODINSIGHT_LEASE_SECONDS": f"{self.lease_seconds:g}",
            "PODINSIGHT_RENEW_SECONDS": f"{self.lease_seconds / 4.5:g}",
            "PODINSIGHT_HEARTBEAT_SECONDS": "2",
            "PODINSIGHT_WORKER_STALE_SECONDS": "6",
            "PODINSIGHT_GATE_LEASE_SECONDS": f"{min(12, self.lease_seconds):g}",
            "PODINSIGHT_GATE_RENEW_SECONDS": f"{min(12, self.lease_seconds) / 3:g}",
        }


def even_crowd(limits: Mapping[str, int], per_slot: int, seconds: float, slow: str, workers: int = 8) -> Crowd:
    """Every slot of every host gets `per_slot` files of `seconds`; those of the host `slow` take half as long again,
    and are fewer: it ends with the others when it delays nobody and nobody delays it."""
    counts = {host: limit * per_slot for host, limit in limits.items()}
    counts[slow] = limits[slow] * (per_slot * 2 // 3)
    times = dict.fromkeys(limits, seconds) | {slow: seconds * 1.5}
    return Crowd(limits, counts, times, workers=workers)


@dataclass(frozen=True)
class Outcome:
    """visits: what the server saw, by its clock. seconds: from the first request to the last byte.

    over_limit: requests beyond a host's limit, what a frozen process overlapped left out; frozen_overlap: those.
    """

    visits: tuple[Visit, ...]
    seconds: float
    over_limit: int
    frozen_overlap: int
    slot_use: float
    schedule_ratio: float


def invite(crowd: Crowd, web: Hostile, stack: Stack, feeds: WebServer) -> list[str]:
    """Makes the feed of the crowd known; returns the ids of its episodes. Its items alternate between the hosts."""
    left = Counter(crowd.counts)
    items: list[tuple[str, str]] = []
    while left:
        for host in sorted(left):
            n = left[host]
            rate = crowd.size / crowd.duration(host, n)
            items.append((f"{host}-{n}", web.url(host, f"{n}.wav", size=crowd.size, rate=f"{rate:.1f}")))
            left[host] -= 1
        left = +left
    feeds.serve("/crowd.xml", rss("Crowd", items), mime="application/rss+xml")
    return stack.add_feed(feeds.url("/crowd.xml", FEED_HOST))


def visits_of(web: Hostile) -> list[Visit]:
    """What the server saw, from its log of changes."""
    open_: dict[tuple[str, str, int], list[float]] = {}
    found: list[Visit] = []
    level: Counter[str] = Counter()
    for at, host, in_flight, path, port in web.events():
        key = (host, path, port)
        if in_flight > level[host]:
            open_.setdefault(key, []).append(at)
        else:
            found.append(Visit(host, open_[key].pop(0), at, port))
        level[host] = in_flight
    return found


def judge(crowd: Crowd, visits: list[Visit], frozen: Mapping[int, float], lease_seconds: float) -> Outcome:
    hosts = by_host(visits)
    fair = by_host(cut(visits, frozen, lease_seconds))
    over = sum(max(0, peak(fair[host]) - crowd.limits[host]) for host in fair)
    all_over = sum(max(0, peak(hosts[host]) - crowd.limits[host]) for host in hosts)
    seconds = max(each.ended for each in visits) - min(each.began for each in visits)
    use = min(slot_use(hosts[host], crowd.limits[host]) for host in hosts)
    return Outcome(tuple(visits), seconds, over, all_over - over, use, seconds / crowd.best)


def run_undisturbed(crowd: Crowd, web: Hostile, stack: Stack, ids: list[str]) -> Outcome:
    """Fetches all of them."""
    web.reset()
    before = _ended(stack)
    stack.start(ids, transcribe=False)
    _wait(stack, ids, before, 60 + 3 * crowd.best)
    check_once(stack, ids)
    return judge(crowd, visits_of(web), {}, 0.0)


def run_disturbed(
    crowd: Crowd, web: Hostile, stack: Stack, ids: list[str], dice: random.Random, strikes: int
) -> Outcome:
    """Fetches all of them while workers are killed and frozen, and Redis is flushed once."""
    web.reset()
    before = _ended(stack)
    stack.start(ids, transcribe=False)
    frozen: dict[int, float] = {}
    lease = stack.settings.gate_lease_seconds
    flush_at = dice.randrange(strikes)
    for strike in range(strikes):
        wait_for(lambda: stack.pids("fetch"), 30, "fetch workers run")
        victim = dice.choice(stack.pids("fetch"))
        if strike == flush_at:
            redis.Redis.from_url(stack.settings.redis_url).flushall()
        elif dice.random() < 0.5:
            _kill(victim)
        else:
            _freeze(victim, frozen, lease * dice.choice((0.5, 1.5)))
        time.sleep(dice.uniform(0.5, 1.5))
        if all(state is State.DONE for state in stack.states("fetch", ids)):
            break
    _wait(stack, ids, before, 120 + 6 * crowd.best)
    check_once(stack, ids)
    return judge(crowd, visits_of(web), frozen, lease)


def _ended(stack: Stack) -> int:
    """How many fetches of any episodes have ended, by the counters alone."""
    return sum(each.count for each in stack.store.work.counts() if each.stage == "fetch" and each.state in ENDED)


def _wait(stack: Stack, ids: list[str], before: int, seconds: float) -> None:
    """Looks at the counters alone, and now and then: who looks hard takes from what he looks at. before: how many had
    ended when these began."""
    deadline = time.monotonic() + seconds
    while _ended(stack) < before + len(ids):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {stack.store.work.counts()}"
        time.sleep(0.5)
    stack.wait_ended("fetch", ids, 30)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError, psutil.NoSuchProcess):  # it may have ended meanwhile
        os.kill(pid, signal.SIGKILL)


def _freeze(pid: int, frozen: dict[int, float], seconds: float) -> None:
    """Stops a process for a while, and notes the ports of its connections and since when it did not run."""
    with suppress(ProcessLookupError, psutil.NoSuchProcess):  # it may have ended meanwhile
        os.kill(pid, signal.SIGSTOP)
        at = time.time()
        for connection in psutil.Process(pid).net_connections("tcp"):
            if connection.laddr:
                frozen[connection.laddr.port] = at
        time.sleep(seconds)
        os.kill(pid, signal.SIGCONT)


def check_once(stack: Stack, ids: list[str]) -> None:
    """Every episode is fetched, and was committed once."""
    states = Counter(stack.states("fetch", ids))
    assert states == {State.DONE: len(ids)}, states
    commits = {key: times for key, times in stack.commits().items() if key[1] == "fetch" and key[0] in set(ids)}
    assert len(commits) == len(ids)
    assert set(commits.values()) == {1}
