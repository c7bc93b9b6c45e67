"""The cost sweep tells people (G3, O7)."""

from dataclasses import replace

import pytest

from podinsight.domain.alerts import Alert, Severity
from tests.support.guarding import Guard


def test_an_address_that_fails_keeps_no_other_from_being_told(guard: Guard) -> None:
    for key in ("a", "b", "c"):
        guard.store.alerts.post(Alert(key, Severity.WARNING, f"about {key}"))
    guard.notifier.down.add("b")
    assert "2 alerts sent; 1 alerts could not be sent" in guard.sweep()
    assert guard.told() == ["a", "c"]
    guard.notifier.down.clear()
    guard.sweep(30)
    assert guard.told() == ["a", "c"], "a minute is waited"
    guard.sweep(31)
    assert guard.told() == ["a", "c", "b"]


def post(guard: Guard, count: int) -> list[str]:
    keys = [f"k{number:02}" for number in range(count)]
    for key in keys:
        guard.store.alerts.post(Alert(key, Severity.WARNING, f"about {key}"))
    return keys


def test_slow_services_hold_a_sweep_up_for_half_a_minute_and_no_alert_is_lost(guard: Guard) -> None:
    """G5: the levels are looked at every minute, whoever takes his time to be told of it."""
    guard.ports = replace(guard.ports, notifier=Slow(guard, 12.0))
    keys, began = post(guard, 7), guard.clock.now()
    assert "3 alerts sent; 4 more wait" in guard.sweep()
    assert (guard.clock.now() - began, guard.told()) == (36.0, keys[:3])
    guard.notifier.down.add(keys[3])
    assert "2 alerts sent; 1 alerts could not be sent; 1 more wait" in guard.sweep()
    assert guard.sweep() == "1 alerts sent"
    guard.notifier.down.clear()
    guard.sweep(60)
    assert guard.told() == [*keys[:3], *keys[4:], keys[3]], "the oldest first, each once"
    assert guard.store.alerts.unsent(10) == []


def test_a_sweep_sends_twenty_alerts_and_says_how_many_wait(guard: Guard) -> None:
    keys = post(guard, 23)
    assert "20 alerts sent; 3 more wait" in guard.sweep()
    assert guard.sweep() == "3 alerts sent"
    assert guard.told() == keys


class Slow:
    """A notifier that takes so many seconds for each alert."""

    def __init__(self, guard: Guard, seconds: float) -> None:
        self._guard, self._seconds = guard, seconds

    def send(self, alert: Alert) -> bool:
        self._guard.clock.advance(self._seconds)
        return self._guard.notifier.send(alert)


def test_what_nobody_wants_to_hear_counts_as_told(guard: Guard, caplog: pytest.LogCaptureFixture) -> None:
    guard.notifier.quiet.add(Severity.WARNING)
    guard.store.alerts.post(Alert("a", Severity.WARNING, "about a"))
    guard.sweep()
    assert guard.store.alerts.unsent(10) == []
    assert "warning: about a" in caplog.text
