"""What a web server saw of us, and what that says about politeness and speed. Pure: times are seconds of one clock."""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Visit:
    """One request at a host name, from its first byte at the server to the last byte of the answer (or its end)."""

    host: str
    began: float
    ended: float
    port: int = 0


def by_host(visits: Iterable[Visit]) -> dict[str, list[Visit]]:
    """Visits of each host, by their beginning."""
    found: dict[str, list[Visit]] = defaultdict(list)
    for visit in sorted(visits, key=lambda each: each.began):
        found[visit.host].append(visit)
    return dict(found)


def peak(visits: Iterable[Visit]) -> int:
    """Most visits at one time. One that ends in the instant in which another begins does not overlap it."""
    steps = sorted([(each.began, 1) for each in visits] + [(each.ended, -1) for each in visits])
    most = now = 0
    for _at, step in steps:
        now += step
        most = max(most, now)
    return most


def slot_use(visits: Sequence[Visit], limit: int) -> float:
    """Share of a host's `limit` slots that was in use while it had work: from its first request to the last one's
    beginning, after which nothing waits any more."""
    began, last = visits[0].began, max(each.began for each in visits)
    if last <= began:
        return 1.0
    busy = sum(min(each.ended, last) - each.began for each in visits)
    return busy / (limit * (last - began))


def best_schedule(durations: Mapping[str, Sequence[float]], limits: Mapping[str, int], slots: int) -> float:
    """Seconds that the best possible schedule takes, at least: no schedule beats its slowest host (each one's work
    spread over its limit, longest first) nor all work spread over all slots."""
    hosts = [_spread(times, limits[host]) for host, times in durations.items()]
    return max([*hosts, sum(sum(times) for times in durations.values()) / slots])


def _spread(times: Sequence[float], width: int) -> float:
    ends = [0.0] * width
    for time in sorted(times, reverse=True):
        heapq.heapreplace(ends, ends[0] + time)
    return max(ends)


def cut(visits: Iterable[Visit], frozen: Mapping[int, float], lease_seconds: float) -> list[Visit]:
    """Without what a frozen holder overlapped: visits whose client port was frozen at a time count until their lease
    had run out. A lease cap cannot bind a process that does not run (DESIGN.md, idea 3); it aborts when it wakes."""
    found = []
    for visit in visits:
        at = frozen.get(visit.port)
        if at is not None and visit.began <= at < visit.ended:
            visit = Visit(visit.host, visit.began, min(visit.ended, at + lease_seconds), visit.port)
        found.append(visit)
    return found
