"""How many workers there should be, from the work, its speed and the money left (G5, G6, G8; DESIGN.md, idea 7).

Pure; standard library. A worker that is busy costs the same for a second of audio whether it runs now or later. So
what a fleet can save is what it pays for nothing: starts, and idleness after work. Hence the rules: launch only for the
drain target, let work that can wait gather until it is worth a start, keep whoever has more work than a start costs,
and let go of those without a lease as soon as a lower number has held for a while.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from podinsight.domain.control import Control
from podinsight.domain.findings import Finding
from podinsight.domain.fleet import WORKING, Group, Instance, InstanceState
from podinsight.domain.money import cost, usd
from podinsight.domain.pool import Demand, Level, Machine, Rules, needed

LATE_STARTS: Final = 3  # a start that takes so many times the usual one will not come to an end
STAGE: Final = "transcribe"
_MINUTES_FROM: Final = 120.0  # seconds, as people are told of them
_HOURS_FROM: Final = 7200.0


@dataclass(frozen=True)
class Memory:
    """What one decision leaves to the next: the number held, since when it was lower and how high that came."""

    desired: int = 0
    lower_since: float | None = None
    lower_peak: int = 0
    empty_since: float | None = None
    waiting_since: float | None = None


@dataclass(frozen=True)
class Decision:
    """What the fleet is to do.

    desired: machines that start or work, those in `stop` and `drain` not counted. stop: may end now; none held a lease
    when it was looked at, and the adapter marks it draining in a transaction that looks again. Those of `late`, whose
    start will not come to an end, are the first in it; the others follow in the order in which they would stay. drain:
    finish their chunk and take no other; control, a stop level or a lowered maximum brings lease holders there, less
    work never. freeze: the stop level that leaves no room for one machine. why: for people.
    """

    desired: int
    why: str
    memory: Memory
    stop: tuple[str, ...] = ()
    drain: tuple[str, ...] = ()
    freeze: Level | None = None
    findings: tuple[Finding, ...] = ()
    late: tuple[str, ...] = ()


def decide(
    now: float,
    demand: Demand,
    machines: Sequence[Machine],
    rules: Rules,
    speed: float,
    hour_micros: int,
    control: Control,
    levels: Sequence[Level],
    memory: Memory,
) -> Decision:
    """How many machines there should be, and which go first.

    Args:
        speed: seconds of audio that one worker decodes in a second, measured; more than 0.
        hour_micros: what an hour of a machine launched now costs; an unknown price is the list price, never 0 (G5).

    Raises:
        ValueError: the speed or the price is none.
    """
    if speed <= 0 or hour_micros < 0:
        raise ValueError(f"no fleet is sized by a speed of {speed} and a price of {hour_micros}")
    machines = [one for one in machines if one.state is not InstanceState.GONE]
    late = [one for one in machines if _late(one, now, rules)]
    live = [one for one in machines if one.state in WORKING and one not in late]
    memory = _seen(now, demand, len(live), memory)
    wanted, why = _wanted(now, demand, len(live), speed, rules, memory)
    memory = _settled(now, wanted, rules, memory)
    holders = sum(one.leases > 0 for one in live)
    desired = max(memory.desired, holders)
    if desired > wanted:
        fewer = f"fewer must have been enough for {_span(rules.settle)} before one goes"
        why += f"; {fewer}" if memory.desired > wanted else "; who holds work stays"

    cap, freeze, capped = _cap(demand, live, machines, rules, hour_micros, control, levels)
    if cap < desired:
        desired, why = cap, capped
        memory = replace(memory, desired=min(memory.desired, cap))
    stop, drain = _leaving(live, desired)
    return Decision(
        desired=desired,
        why=why,
        memory=memory,
        stop=(*(one.id for one in late), *stop),
        drain=drain,
        freeze=freeze,
        findings=tuple(_findings(now, machines, rules)),
        late=tuple(one.id for one in late),
    )


def ending(decision: Decision, living: Iterable[Instance], groups: Iterable[Group]) -> tuple[str, ...]:
    """Those of `stop` to be ended. As many as the minimum of their group keeps are spared, the best of them, since it
    would start others in their place; but who starts too late never is."""
    there, leaving = tuple(living), {*decision.stop, *decision.drain}
    group_of = {each.id: each.group for each in there}
    stay = Counter(each.group for each in there if each.state in WORKING and each.id not in leaving)
    missing = Counter({group.name: max(0, group.least - stay[group.name]) for group in groups})
    gone: list[str] = []
    for name in decision.stop:
        group = group_of.get(name, "")
        if name in decision.late or not missing[group]:
            gone.append(name)
        else:
            missing[group] -= 1
    return tuple(gone)


def _seen(now: float, demand: Demand, live: int, memory: Memory) -> Memory:
    """Since when there is no work, and since when there is some that nobody works on."""
    if not demand.chunks:
        return replace(memory, waiting_since=None, empty_since=_first(memory.empty_since, now))
    waiting = None if live else _first(memory.waiting_since, now)
    return replace(memory, waiting_since=waiting, empty_since=None)


def _first(since: float | None, now: float) -> float:
    return now if since is None else since


def _wanted(now: float, demand: Demand, live: int, speed: float, rules: Rules, memory: Memory) -> tuple[int, str]:
    """The number that the work alone asks for, at this moment."""
    if memory.empty_since is not None:
        idle = now - memory.empty_since
        grace = min(rules.grace, rules.settle) if _more(demand, speed, rules) else rules.grace
        if idle >= grace or not live:
            return 0, f"no work for {_span(idle)}"
        return 1, f"no work for {_span(idle)}: the last worker goes after {_span(grace)}"
    busy, audio = demand.seconds / speed, f"{_span(demand.seconds)} of audio"
    if memory.waiting_since is not None and not memory.desired and _more(demand, speed, rules):
        waited = now - memory.waiting_since
        if max(busy, waited) < rules.patience:
            waits = f"it has waited {_span(waited)}, at most {_span(rules.patience)}, to share one start"
            return 0, f"{audio}, and more is coming: {waits}"
    worth = math.ceil(busy / rules.start)
    wanted = max(1, min(demand.chunks, max(needed(busy, rules), min(live, worth))))
    then = ", one for each chunk"
    if wanted >= needed(busy, rules):
        then = f" {'is' if wanted == 1 else 'are'} done within {_span(rules.drain)}"
    return wanted, f"{audio} at {round(speed, 1):g} times real time: {workers(wanted)}{then}"


def workers(number: int) -> str:
    """`1 worker`, `2 workers`."""
    return f"{number:,} worker{'' if number == 1 else 's'}"


def _span(seconds: float) -> str:
    if seconds < _MINUTES_FROM:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < _HOURS_FROM else f"{seconds / 3600:,.1f} h"


def _more(demand: Demand, speed: float, rules: Rules) -> bool:
    """Whether so much is still to come that waiting for it saves a start, now or after this work."""
    return demand.coming / speed >= rules.patience > 0


def _settled(now: float, wanted: int, rules: Rules, memory: Memory) -> Memory:
    """Up at once; down to the highest of the lower numbers, once they have held for `settle`; to zero at once, since
    the grace was waited for already."""
    if wanted >= memory.desired or wanted == 0:
        return replace(memory, desired=wanted, lower_since=None, lower_peak=0)
    if memory.lower_since is None:
        memory = replace(memory, lower_since=now, lower_peak=wanted)
    peak = max(memory.lower_peak, wanted)
    if memory.lower_since is not None and now - memory.lower_since >= rules.settle:
        since = None if peak == wanted else now
        return replace(memory, desired=peak, lower_since=since, lower_peak=wanted)
    return replace(memory, lower_peak=peak)


def _cap(
    demand: Demand,
    live: Sequence[Machine],
    machines: Sequence[Machine],
    rules: Rules,
    hour_micros: int,
    control: Control,
    levels: Sequence[Level],
) -> tuple[int, Level | None, str]:
    """The most that may be, the level that leaves nothing, and which of them binds. Machines that leave count."""
    tightest = min(levels, key=lambda level: level.room, default=None)
    leaving = len(machines) - len(live)
    most = max(1, rules.most // 2) if control.economy and rules.most else rules.most
    cap, why = max(0, most - leaving), f"at most {workers(most)}{' in economy mode' if control.economy else ''}"
    freeze = None
    if tightest is not None:
        fits = _fits(tightest.room, cap, live, machines, rules, hour_micros)
        if fits < cap:
            left = min(tightest.room, tightest.ceiling)
            fit = f"room for {workers(fits)}" if fits else "no room for a worker"
            cap, why = fits, f"{tightest.name} has {usd(left)} of {usd(tightest.ceiling)} left: {fit}"
            freeze = tightest if fits == 0 and (demand.chunks or machines) else None
    forbidden = control.forbids(STAGE)
    return (0, freeze, forbidden) if forbidden else (cap, freeze, why)


def _fits(
    room: int, most: int, live: Sequence[Machine], machines: Sequence[Machine], rules: Rules, hour_micros: int
) -> int:
    """How many machines stay strictly under `room` until a later decision has stopped them. Those that cost nothing do
    so while there is any room, under a level of nothing, too.

    All that run are paid for until they could have been stopped. A launch must fit with its start, which brings no
    work: a number that hovers at the ceiling would else launch and stop in turns. It must fit with its first lease,
    too, and beside the first leases of those that run and have none yet: what may claim nothing costs for nothing.
    """
    asked = sum(cost(rules.stop, one.hour_micros) for one in machines)
    launch = cost(rules.launch, hour_micros)
    for number in range(most):
        if number < len(live):
            asked += cost(rules.sweep, _in_order(live)[number].hour_micros)
        else:
            asked += launch
        if number == len(live):
            asked += sum(cost(rules.lease, one.hour_micros) for one in live if not one.leases)
        if asked >= room:
            return number
    return most


def _in_order(live: Iterable[Machine]) -> list[Machine]:
    """Who stays, first to last: lease holders, then the ready before the starting, the cheaper before the dearer."""
    return sorted(
        live, key=lambda one: (one.leases == 0, one.state is InstanceState.STARTING, one.hour_micros, one.since)
    )


def _leaving(live: Sequence[Machine], desired: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    surplus = _in_order(live)[desired:]
    return tuple(one.id for one in surplus if not one.leases), tuple(one.id for one in surplus if one.leases)


def _late(one: Machine, now: float, rules: Rules) -> bool:
    return one.state is InstanceState.STARTING and not one.leases and now - one.since > LATE_STARTS * rules.start


def _findings(now: float, machines: Iterable[Machine], rules: Rules) -> Iterable[Finding]:
    for one in machines:
        what = ""
        if _late(one, now, rules):
            what = f"has been starting for {now - one.since:.0f} s"
        elif one.leases and now - (one.progress_at or one.since) > rules.stall:
            what = f"holds a lease without progress for {now - (one.progress_at or one.since):.0f} s"
        elif (
            not one.leases
            and one.state is InstanceState.READY
            and now - one.since > rules.grace + rules.sweep + rules.stop
        ):
            what = f"has been idle for {now - one.since:.0f} s"
        elif one.state is InstanceState.STOPPING and now - one.since > rules.sweep + rules.stop:
            what = f"was told to stop {now - one.since:.0f} s ago"
        if what:
            yield Finding(what, one.id, cost(86_400, one.hour_micros))
