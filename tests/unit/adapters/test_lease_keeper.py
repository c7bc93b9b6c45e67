"""Places while they are held: renewed, lost, put back (F5)."""

import threading
import time
from collections.abc import Sequence

import pytest

from podinsight.adapters.clock import SystemClock
from podinsight.adapters.doorkeeper import Doorkeeper
from podinsight.adapters.memory_gate import MemoryGate
from podinsight.domain.hosts import HostRule
from podinsight.errors import Transient, Unavailable
from tests.support.lobby import HOST, Lobby, lobby, own_threads, strangers, wait_for

__all__ = ["lobby", "strangers"]


def test_places_are_renewed_together_for_as_long_as_they_are_held(lobby: Lobby) -> None:
    with lobby.door.permit(HOST) as first, lobby.door.permit(HOST) as second:
        began = time.monotonic()
        while time.monotonic() - began < 1.6 * lobby.lease:
            first.check()
            second.check()
            time.sleep(0.02)
        assert lobby.in_flight == 2


def test_a_place_that_the_gate_has_given_away_is_lost(lobby: Lobby) -> None:
    lost = threading.Event()
    with lobby.door.permit(HOST) as permit:
        permit.answered(200)
        permit.on_lost(lost.set)
        lobby.gate.open()
        wait_for(lost.is_set)
        with pytest.raises(Transient, match=r"the request to libsyn\.com was broken off") as caught:
            permit.check()
    assert caught.value.ours
    assert lobby.noted().failed == 0


def test_a_place_that_cannot_be_renewed_is_lost_by_our_own_clock(lobby: Lobby) -> None:
    lost: list[float] = []
    with lobby.door.permit(HOST) as permit:
        began = time.monotonic()
        lobby.gate.down = True
        permit.on_lost(lambda: lost.append(time.monotonic()))
        wait_for(lambda: lost)
        assert lost[0] - began <= lobby.lease + 0.3
        with pytest.raises(Transient, match="could not be renewed for 1 s"):
            permit.check()
        called: list[int] = []
        permit.on_lost(lambda: called.append(1))
        assert called == [1]
        lobby.gate.down = False


class HangingGate(MemoryGate):
    """Renewals hang, as on a server that is frozen."""

    def renew(self, leases: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        time.sleep(2.0)
        raise Unavailable("it does not answer")


def test_a_renewal_that_hangs_does_not_keep_the_place_from_being_given_up() -> None:
    gate = HangingGate(SystemClock(), 0.6, 60.0)
    gate.open()
    door = Doorkeeper(gate, lambda host: (host, HostRule(1, 100.0)), 0.2, 0.1, lambda note: None)
    lost = threading.Event()
    with door.permit(HOST) as permit:
        permit.on_lost(lost.set)
        assert lost.wait(1.2)


def test_a_holder_that_was_frozen_past_its_lease_stops_at_once_and_for_good(lobby: Lobby) -> None:
    with lobby.door.permit(HOST) as permit:
        lobby.clock.ahead = lobby.lease
        with pytest.raises(Transient, match="could not be renewed"):
            permit.check()
        lobby.clock.ahead = 0.0
        with pytest.raises(Transient):
            permit.check()
    assert lobby.in_flight == 0


def test_places_are_put_back_into_a_gate_without_memory(lobby: Lobby) -> None:
    with lobby.door.permit(HOST) as permit:
        lobby.gate.forget()
        wait_for(lambda: lobby.in_flight == 1)
        permit.check()
    assert lobby.in_flight == 0


class SlowGate(MemoryGate):
    """The first renewal takes `seconds` of a clock that stands still otherwise; there is no second one."""

    def __init__(self, seconds: float) -> None:
        super().__init__(SystemClock(), 5.0, 60.0)
        self.time, self.seconds = 0.0, seconds
        self.done = threading.Event()

    def renew(self, leases: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        lost = super().renew(leases)
        self.down = True
        self.time += self.seconds
        self.done.set()
        return lost


@pytest.mark.parametrize(
    ("seconds", "moment", "holds"),
    [(3.0, 5.4, True), (3.0, 5.6, False), (4.8, 5.3, False)],
    ids=["counts from when it began", "and no longer", "what comes after the end comes too late"],
)
def test_what_a_slow_renewal_is_worth(seconds: float, moment: float, holds: bool) -> None:
    gate = SlowGate(seconds)
    gate.open()
    door = Doorkeeper(
        gate, lambda host: (host, HostRule(1, 100.0)), 0.5, 0.1, lambda note: None, clock=lambda: gate.time
    )
    with door.permit(HOST) as permit:
        gate.time = 0.5
        wait_for(gate.done.is_set)
        time.sleep(0.05)  # for the thread to take the answer
        gate.time = moment
        if holds:
            permit.check()
        else:
            with pytest.raises(Transient):
                permit.check()
        gate.down = False


class PuttingBackGate(MemoryGate):
    """A renewal is under way while the place is given back."""

    def __init__(self) -> None:
        super().__init__(SystemClock(), 5.0, 60.0)
        self.renewing, self.go_on = threading.Event(), threading.Event()

    def renew(self, leases: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        self.renewing.set()
        self.go_on.wait(5)
        return super().renew(leases)


def test_a_place_given_back_during_its_renewal_is_not_put_back() -> None:
    gate = PuttingBackGate()
    gate.open()
    rule = HostRule(1, 100.0)
    door = Doorkeeper(gate, lambda host: (host, rule), 0.05, 0.1, lambda note: None)
    with door.permit(HOST):
        gate.renewing.wait(5)
        gate.forget()
    gate.go_on.set()
    wait_for(lambda: not own_threads("host gate"))
    assert gate.state(HOST, rule).in_flight == 0


def test_a_place_given_back_during_its_renewal_is_not_lost(caplog: pytest.LogCaptureFixture) -> None:
    """Else its callback cuts off the next hop, whose place is fine."""
    gate = PuttingBackGate()
    gate.open()
    door = Doorkeeper(gate, lambda host: (host, HostRule(1, 100.0)), 0.05, 0.1, lambda note: None)
    cut = threading.Event()
    with door.permit("hop1.test") as permit:
        permit.on_lost(cut.set)
        gate.renewing.wait(5)
    with door.permit("hop2.test"):
        gate.renewing.clear()
        gate.go_on.set()
        assert gate.renewing.wait(5), "the answer of the first renewal is dealt with before the second"
        assert not cut.is_set()
    assert "is lost" not in caplog.text
