"""The cost sweep: what runs and what is spent, against the stop levels (G3, G5, G8).

Each part is tried, whatever becomes of the others; the stop levels come first. Twice at once does no harm.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from podinsight.domain import watch
from podinsight.domain.alerts import Alert, Severity
from podinsight.domain.budget import Scope
from podinsight.domain.control import Control, Mode
from podinsight.domain.days import day_of
from podinsight.domain.economy import HELD_FOR_ECONOMY
from podinsight.domain.findings import Finding
from podinsight.domain.fleet import FleetState
from podinsight.domain.money import Unit, usd
from podinsight.domain.prices import Service
from podinsight.domain.quote import UNKNOWN_DEVICE
from podinsight.domain.redaction import said
from podinsight.ports import Entry, OpenReservation
from podinsight.services import idle, look, stop_mark
from podinsight.services.guard import GUARD, GuardPorts, GuardRules, freeze
from podinsight.services.unhold import unhold

_log = logging.getLogger(__name__)
_LONG_OPEN: Final = 3600.0  # a reservation that is open for so long is looked at
_AT_ONCE: Final = 1000
_ALERTS: Final = 20  # a sweep; the next one sends more
_TELLING: Final = 30.0  # seconds a sweep; what is being sent then is ended
_NOTHING: Final = ""


@dataclass(frozen=True)
class _Parts:
    """done: what there is to say; faults: what failed, one line each."""

    done: list[str]
    faults: list[str]

    def run(self, name: str, part: Callable[[], str]) -> bool:
        try:
            found = part()
        except Exception as error:  # one part that fails must not keep the others from their work
            _log.warning("cost sweep, %s: %s", name, said(error))
            self.faults.append(f"{name}: {said(error)}")
            return False
        if found:
            self.done.append(found)
        return True

    def __str__(self) -> str:
        return "; ".join([*self.done, *self.faults]) or "all well"


def sweep(ports: GuardPorts, rules: GuardRules) -> str:
    """One pass. Returns what was done and what failed, in a line; the tick says that the levels were looked at."""
    parts, state = _Parts([], []), look.fleet_state(ports)
    looked = parts.run("levels", lambda: _levels(ports, rules, state))
    before = len(parts.done)
    parts.run("idle time", lambda: _meter(ports))
    if len(parts.done) > before:
        parts.run("levels", lambda: _levels(ports, rules, state))
    parts.run("mark", lambda: _mark(ports))
    parts.run("economy", lambda: _economy(ports, rules, state))
    parts.run("findings", lambda: _findings(ports, rules, state))
    parts.run("reservations", lambda: _reservations(ports))
    parts.run("alerts", lambda: _alerts(ports))
    if looked:
        parts.run("tick", lambda: _tick(ports))
    return str(parts)


def _levels(ports: GuardPorts, rules: GuardRules, state: FleetState) -> str:
    """Freezes and halts what must be, then tells."""
    found = look.money(ports, rules, state)
    done: list[str] = []
    for stop in found.stops:
        if freeze(ports.store, str(stop), stop.key, Mode.HALTED if stop.halts else None):
            done.append(f"{'halted' if stop.halts else 'frozen'}: {stop}")
    if found.too_dear and freeze(ports.store, found.too_dear, f"stop:items:{ports.clock.now():.0f}", Mode.HALTED):
        done.append(f"halted: {found.too_dear}")
    spent = next((stop for stop in found.stops if stop.budget.scope is Scope.MONTH), None)
    if spent is not None and state.kept is None:
        zeroed = ports.fleet.zero(str(spent), GUARD)
        done.append(f"the fleet goes to zero{_unproven(zeroed.unproven)}")
    for alert in found.alerts:
        ports.store.alerts.post(alert)
    return "; ".join(done)


def _unproven(lines: Sequence[str]) -> str:
    return f" (unproven: {', '.join(lines)})" if lines else ""


def _meter(ports: GuardPorts) -> str:
    spent = idle.meter(ports)
    return f"{usd(spent)} of idle time" if spent else _NOTHING


def _mark(ports: GuardPorts) -> str:
    before = ports.store.control.read()
    control, fault = stop_mark.agree(ports)
    done = [f"stopped once more: {control.why}"] if control.stops and not before.stops else []
    return "; ".join([*done, *([f"mark: {fault}"] if fault else [])])


def _economy(ports: GuardPorts, rules: GuardRules, state: FleetState) -> str:
    """Economy mode as it should be, and the long episodes with it. While work is stopped control is left alone: it is
    for a person to change, and nothing starts anyway."""
    saves = look.money(ports, rules, state).saves
    written: list[Control] = []

    def change(history: Sequence[Control]) -> Sequence[Control]:
        now = history[0] if history else Control()
        if not now.stops and now.economy is not saves:
            why = "economy mode: a stop level or an item is near" if saves else "economy mode is over"
            written.append(replace(now, economy=saves, by=GUARD, why=why, at=0.0))
        return written

    control = ports.store.control.revise(change, lambda _was, now: _economy_alert(ports) if now.economy else None)
    done = [each.why for each in written]
    if control and control[0].economy:
        held = ports.store.work.hold_long(rules.economy_hold_seconds, HELD_FOR_ECONOMY)
        return "; ".join([*done, *([f"{held} long episodes held"] if held else [])])
    freed = ports.store.work.release_long(HELD_FOR_ECONOMY)
    return "; ".join([*done, *([f"{freed} long episodes go on"] if freed else [])])


def _economy_alert(ports: GuardPorts) -> Alert:
    title = "economy mode: smaller models, fewer workers, long episodes wait"
    return Alert(f"economy:{day_of(ports.clock.now())}", Severity.WARNING, title, "It ends by itself: `podrun status`.")


def _findings(ports: GuardPorts, rules: GuardRules, state: FleetState) -> str:
    seen = look.sights(ports, state)
    found = unhold(ports, rules, state, seen, look.findings(ports, rules, state, seen))
    ports.store.memory.remember(look.SWEEP, watch.to_memory(seen, state.at))
    today = day_of(ports.clock.now())
    ports.store.findings.report(look.SWEEP, found, lambda each: _finding_alert(each, today))
    return f"{len(found)} findings" if found else _NOTHING


def _finding_alert(found: Finding, today: str) -> Alert:
    """One a day for what comes and goes."""
    title = f"{found.subject} {found.what} ({usd(found.day_micros)} a day)"
    key = f"finding:{found.subject[:150]}:{today}"
    return Alert(key, Severity.WARNING, title, found.fix or "`podrun costs check` shows it.")


def _reservations(ports: GuardPorts) -> str:
    """What is reserved for a lease that is not there any more was spent, as far as anybody knows."""
    open_long = ports.store.purse.unsettled(ports.clock.now() - _LONG_OPEN, _AT_ONCE)
    running = ports.store.work.running([each.reservation.token for each in open_long]) if open_long else set()
    lost = [each for each in open_long if each.reservation.token not in running]
    settled = sum(ports.store.purse.settle(each.reservation.token, [_estimate(each)]) for each in lost)
    return f"{settled} reservations without work settled" if settled else _NOTHING


def _estimate(lost: OpenReservation) -> Entry:
    asked = lost.reservation
    stage, service = ("transcribe", Service.GPU) if asked.unit_kind == "chunk" else ("fetch", Service.CPU)
    kind = UNKNOWN_DEVICE if asked.gpu else ""
    note = "its work is gone: what was reserved for it"
    return Entry(stage, service.value, asked.micros, Unit.EACH, 1, kind, "reserved", True, note)


def _alerts(ports: GuardPorts) -> str:
    """Tells people, each alert by itself, for so long only: the next look at the levels is not to wait for services
    that are slow. Two at once may tell twice, which is better than not at all."""
    alerts, told, failed = ports.store.alerts, 0, 0
    due, until = alerts.unsent(_AT_ONCE), ports.clock.now() + _TELLING
    for posted in due[:_ALERTS]:
        if ports.clock.now() >= until:
            break
        if not posted.tries:
            _log.warning("%s: %s", posted.alert.severity.value, posted.alert.title)
        try:
            ports.notifier.send(posted.alert)
        except Exception as error:  # one that cannot be sent must not keep the others
            alerts.failed(posted.id, said(error))
            failed += 1
        else:
            alerts.sent(posted.id)
            told += 1
    waiting = len(due) - told - failed
    lines = [f"{told} alerts sent"] if told else []
    lines += [f"{failed} alerts could not be sent"] if failed else []
    return "; ".join([*lines, *([f"{waiting} more wait"] if waiting else [])])


def _tick(ports: GuardPorts) -> str:
    ports.store.control.tick(look.SWEEP)
    return _NOTHING
