"""Unholding: minimums that keep machines running without work are set to zero by the cost guard (G5).

The minimum alone: then nothing holds the fleet up any more, and whoever scales it takes it to zero.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from podinsight.domain.alerts import Alert, Severity
from podinsight.domain.days import day_of
from podinsight.domain.findings import Finding
from podinsight.domain.fleet import FleetState, Group, Unheld
from podinsight.domain.money import usd
from podinsight.domain.redaction import said
from podinsight.domain.watch import Watch, subject, vain_minimums
from podinsight.services.guard import GUARD, GuardPorts, GuardRules

_log = logging.getLogger(__name__)
_DONE: Final = "the cost guard set its minimum to 0"
_BY_HAND: Final = "set its minimum to 0 by hand, at the provider"


def unhold(
    ports: GuardPorts, rules: GuardRules, state: FleetState, seen: Watch, found: Sequence[Finding]
) -> tuple[Finding, ...]:
    """Does what is due; returns the findings, each that was acted on with what came of it. Said twice, or twice at
    once, it changes nothing more."""
    groups = vain_minimums(seen, state, rules.fleet, ports.fleet.offer().rate.micros)
    if not groups:
        return tuple(found)
    refused, today = dict(_drop(ports, groups).refused), day_of(ports.clock.now())
    acted: dict[str, Finding] = {}
    for group in groups:
        why = refused.get(group.name)
        fix = _DONE if why is None else f"could not be set to 0 ({why}): {_BY_HAND}"
        acted |= {each.subject: replace(each, fix=fix) for each in found if each.subject == subject(group)}
        ports.store.alerts.post(_alert(group, acted[subject(group)], today, refused=why is not None))
    return tuple(acted.get(each.subject, each) for each in found)


def _drop(ports: GuardPorts, groups: Sequence[Group]) -> Unheld:
    names = tuple(group.name for group in groups)
    try:
        unheld = ports.fleet.drop_minimum(names, GUARD, "it keeps machines without work")
    except Exception as error:  # the findings are told whatever the provider does
        return Unheld((), tuple((name, said(error)) for name in names))
    _log.warning("minimum set to 0: %s", ", ".join(unheld.done) or "of no group")
    return unheld


def _alert(group: Group, acted: Finding, today: str, refused: bool) -> Alert:
    """One a day for a group, whatever sets its minimum again and again."""
    what = "cannot set" if refused else "has set"
    title = f"the cost guard {what} the minimum of group {group.name} to 0 ({usd(acted.day_micros)} a day)"
    body = f"It {acted.what}, and there was none. {acted.fix[0].upper()}{acted.fix[1:]}."
    key = f"minimum:{'refused' if refused else 'done'}:{group.name[:150]}:{today}"
    return Alert(key, Severity.WARNING, title, body)
