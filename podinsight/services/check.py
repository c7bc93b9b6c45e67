"""Checking: one look as the sweep's, which changes nothing, with what was found before and what is not proven."""

from dataclasses import dataclass
from typing import Final

from podinsight.domain.control import Control, apart, stops
from podinsight.domain.findings import Finding
from podinsight.domain.fleet import FleetState
from podinsight.services import look
from podinsight.services.guard import GuardPorts, GuardRules
from podinsight.services.look import Money

MISSED: Final = 3  # sweeps that did not come: then nobody holds the levels but the claims


@dataclass(frozen=True)
class Check:
    """findings: those that are open and those of this look, the dearest first. swept: seconds since the last sweep;
    None when there never was one. unproven: why nobody can say that all is well, one line each. held: the stops that
    hold, each with what it has added, the first one first."""

    money: Money
    control: Control
    state: FleetState
    findings: tuple[Finding, ...]
    swept: float | None
    unproven: tuple[str, ...]
    held: tuple[Control, ...] = ()

    @property
    def clean(self) -> bool:
        """Nothing was found and nothing is stopped; what is not proven is not asked."""
        return not self.findings and not self.control.stops and not self.money.stops


def check(ports: GuardPorts, rules: GuardRules) -> Check:
    """Looks, and changes nothing.

    Raises:
        Unavailable: the database does not answer: nothing is proven.
    """
    store, state = ports.store, look.fleet_state(ports)
    money = look.money(ports, rules, state)
    now_found = look.findings(ports, rules, state, look.sights(ports, state))
    known = [each.finding for each in store.findings.open() if each.source != look.SWEEP or state.unknown]
    found = {each.subject: each for each in (*known, *now_found) if each.day_micros}
    last = store.control.ticks().get(look.SWEEP)
    swept = None if last is None else max(0.0, ports.clock.now() - last)
    unproven = [f"unknown: {each}" for each in state.unknown]
    if swept is None:
        unproven.append("nothing was checked yet: beat sweeps for the first time a minute after `podrun up`")
    elif swept > MISSED * rules.fleet.sweep and _is_up(ports, state):
        unproven.append(f"nobody has swept for {swept:.0f} s")
    dearest = sorted(found.values(), key=lambda each: (-each.day_micros, each.subject))
    held = apart(stops(store.control.history()))
    return Check(money, store.control.read(), state, tuple(dearest), swept, tuple(unproven), held)


def _is_up(ports: GuardPorts, state: FleetState) -> bool:
    """Whether anything runs that a sweep should look at."""
    return bool(state.living) or bool(ports.store.workers.list())
