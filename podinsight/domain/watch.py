"""What one look at the fleet leaves to the next, and what follows from it (G5). Pure; standard library.

How long an instance has been idle, and that a group keeps starting machines in vain, no single look can tell.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from podinsight.domain.brain import Memory, decide
from podinsight.domain.control import Control
from podinsight.domain.findings import Finding
from podinsight.domain.fleet import FleetState, Group, InstanceState
from podinsight.domain.money import Micros, cost
from podinsight.domain.observed import Observed, Sight, is_old, look, machines, observed
from podinsight.domain.pool import Demand, Rules

RELAUNCHES: Final = 3  # machines of one group that came and went within an hour without ever being ready
_HOUR: Final = 3600.0
_DAY: Final = 86_400.0


@dataclass(frozen=True)
class Watch:
    """sights: how each instance was seen, by id. groups: which group each is of. idle: groups that want or keep
    machines and have no work, since when. vain: machines that went away before they were ready, as (when, group)."""

    sights: Mapping[str, Sight] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    idle: Mapping[str, float] = field(default_factory=dict)
    vain: tuple[tuple[float, str], ...] = ()


def observe(before: Watch, state: FleetState, work: bool, leases: Mapping[str, tuple[int, float]]) -> Watch:
    """What is known after this look.

    Args:
        work: whether there is any that the fleet may do.
        leases: as in domain.observed.look.

    While a part of the fleet is unknown, what was known of it is kept.
    """
    sights = look(state.at, state.instances, leases, before.sights)
    groups = {each.id: each.group for each in state.living}
    missing = {name: before.groups.get(name, "") for name in before.sights if name not in sights}
    if state.unknown:
        sights |= {name: before.sights[name] for name in missing}
        groups |= missing
        missing = {}
    vain = [each for each in before.vain if state.at - each[0] <= _HOUR]
    vain += [
        (state.at, group)
        for name, group in sorted(missing.items())
        if before.sights[name].state is InstanceState.STARTING
    ]
    busy = {group for name, group in groups.items() if sights[name].leases}
    wanted = {group.name for group in state.groups if group.desired > 0 or group.least > 0}
    idle = set() if work else wanted - busy
    return Watch(sights, groups, {name: before.idle.get(name, state.at) for name in sorted(idle)}, tuple(vain))


def findings(watch: Watch, state: FleetState, rules: Rules, hour: Micros) -> tuple[Finding, ...]:
    """What runs for nothing, what is about to, and what nobody knows.

    Args:
        hour: what an hour of one more machine costs, for groups without any.

    What costs nothing a day is left out: an idle process on somebody's own machine is no money. What is unknown is
    told whatever it costs.
    """
    seen = machines(state.living, watch.sights)
    found = [*decide(state.at, Demand(), seen, rules, 1.0, hour, Control(), (), Memory()).findings]
    for group in state.groups:
        found += _of_group(watch, state, rules, group, _price(state, group.name, hour))
    unknown = [Finding(f"unknown: {each}", f"unknown: {each}"[:200], 0, "look there by hand") for each in state.unknown]
    return (*(each for each in found if each.day_micros > 0), *unknown)


def vain_minimums(watch: Watch, state: FleetState, rules: Rules, hour: Micros) -> tuple[Group, ...]:
    """Groups that keep machines which are paid for and have had nothing to do for so long that the minimum is to go.
    hour: as in `findings`."""
    return tuple(
        group
        for group in state.groups
        if group.least > 0 and _idle(watch, state, group) > idle_limit(rules) and _price(state, group.name, hour) > 0
    )


def idle_limit(rules: Rules) -> float:
    """Seconds after which a group without work has no reason to want machines any more."""
    return rules.grace + rules.sweep + rules.stop


def subject(group: Group) -> str:
    """What a finding about the minimum of a group is about."""
    return f"group {group.name}: minimum"


def _idle(watch: Watch, state: FleetState, group: Group) -> float:
    return state.at - watch.idle.get(group.name, state.at)


def _price(state: FleetState, group: str, hour: Micros) -> Micros:
    return max((each.rate.micros for each in state.living if each.group == group), default=hour)


def _of_group(watch: Watch, state: FleetState, rules: Rules, group: Group, hour: Micros) -> list[Finding]:
    found: list[Finding] = []
    if group.least > 0:
        what = f"keeps at least {group.least} machines, work or none"
        fix = f"the cost guard sets its minimum to 0 once it has had no work for {idle_limit(rules):.0f} s"
        found.append(Finding(what, subject(group), cost(_DAY, hour * group.least), fix))
    idle, more = _idle(watch, state, group), group.desired - group.least
    if idle > idle_limit(rules) and more > 0:
        what = f"wants {group.desired} machines and has had no work for {idle:.0f} s"
        found.append(Finding(what, f"group {group.name}: desired", cost(_DAY, hour * more), "`podrun fleet stop`"))
    vain = sum(name == group.name for _at, name in watch.vain)
    if vain >= RELAUNCHES:
        what = f"has started {vain} machines in vain within an hour"
        day = cost(_DAY, hour) * vain * round(rules.start) // round(_HOUR)
        found.append(Finding(what, f"group {group.name}: relaunching", max(day, 1), "read the log of a machine"))
    return found


def to_memory(watch: Watch, at: float) -> dict[str, object]:
    """As plain JSON."""
    return {
        "seen": Observed(sights=watch.sights, at=at).to_json(),
        "groups": dict(watch.groups),
        "idle": dict(watch.idle),
        "vain": [list(each) for each in watch.vain],
    }


def from_memory(value: Mapping[str, Any] | None, now: float) -> Watch:
    """Nothing is remembered where it was written otherwise, by another podinsight; and since when a group has had no
    work only where somebody has looked lately: there may have been some meanwhile. Never raises."""
    try:
        found = value or {}
        seen = observed(found.get("seen"), now)
        groups = {str(name): str(group) for name, group in found.get("groups", {}).items()}
        idle = {str(name): float(since) for name, since in found.get("idle", {}).items()}
        vain = tuple((float(at), str(group)) for at, group in found.get("vain", ()))
        return Watch(seen.sights, groups, {} if is_old(seen.at, now) else idle, vain)
    except (AttributeError, TypeError, ValueError):
        return Watch()
