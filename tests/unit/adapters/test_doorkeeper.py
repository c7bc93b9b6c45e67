"""The doorkeeper around requests: waits for places, takes them and gives them back (F5, F6)."""

import threading
import time

import pytest

from podinsight.adapters.doorkeeper import Doorkeeper
from podinsight.domain.hosts import HostNote, HostRule
from podinsight.errors import Abandoned, Busy, GateAway, Permanent
from tests.support.lobby import HOST, KEY, ForgetfulGate, Lobby, lobby, own_threads, strangers, wait_for

__all__ = ["lobby", "strangers"]


def test_a_place_is_taken_by_the_host_key_and_given_back(lobby: Lobby) -> None:
    with lobby.door.permit(HOST) as permit:
        assert permit.host == KEY
        assert lobby.in_flight == 1
        permit.answered(200)
        permit.received(7)
        permit.received(5)
        permit.check()
    assert lobby.in_flight == 0
    assert lobby.noted() == HostNote(KEY, requests=1, received=12, limit_now=0)


def test_it_is_given_back_when_the_request_fails(lobby: Lobby) -> None:
    permit = lobby.door.permit(HOST)
    with pytest.raises(Permanent), permit:
        raise Permanent("gone")
    assert lobby.in_flight == 0
    assert lobby.noted().failed == 0


def test_waits_in_the_slot_for_a_place_that_comes_free(lobby: Lobby) -> None:
    lobby.limit = 1
    taken, free = threading.Event(), threading.Event()

    def other() -> None:
        with lobby.door.permit(HOST):
            taken.set()
            free.wait(5)

    thread = threading.Thread(target=other)
    thread.start()
    taken.wait(5)
    threading.Timer(0.1, free.set).start()
    with lobby.door.permit(HOST):
        assert free.is_set()
    thread.join()


def test_is_busy_after_its_patience_and_says_what_holds(lobby: Lobby) -> None:
    lobby.limit = 1
    with lobby.door.permit(HOST):
        began = time.monotonic()
        with pytest.raises(Busy, match=r"the place at libsyn\.com is taken") as caught, lobby.door.permit(HOST):
            pass
        assert lobby.patience <= time.monotonic() - began < lobby.patience + 1
        assert 1 <= caught.value.seconds <= 3
        assert lobby.in_flight == 1


def test_does_not_wait_for_what_takes_longer_than_its_patience(lobby: Lobby) -> None:
    """F6: Retry-After of one request is obeyed by all."""
    with lobby.door.permit(HOST) as permit:
        permit.answered(429, 40.0)
    began = time.monotonic()
    with pytest.raises(Busy, match=r"libsyn\.com wants to be left alone for another 40 s") as caught:
        lobby.door.permit("libsyn.com").__enter__()
    assert time.monotonic() - began < lobby.patience
    assert 39 < caught.value.seconds < 46


def test_a_rate_is_waited_for_when_it_is_short(lobby: Lobby) -> None:
    lobby.limit, lobby.rate = 1, 10.0
    began = time.monotonic()
    for _ in range(3):
        with lobby.door.permit(HOST):
            pass
    assert time.monotonic() - began >= 0.2 - 0.01
    lobby.rate = 0.1
    with lobby.door.permit(HOST):
        pass
    with pytest.raises(Busy, match=r"libsyn\.com is asked 0\.1 times a second already"):
        lobby.door.permit(HOST).__enter__()


def test_nothing_is_requested_when_the_gate_is_away_or_has_no_memory(lobby: Lobby) -> None:
    lobby.gate.forget()
    with pytest.raises(Busy, match="lost its memory") as caught:
        lobby.door.permit(HOST).__enter__()
    assert caught.value.seconds >= 1
    lobby.gate.down = True
    with pytest.raises(GateAway, match=r"from libsyn\.com: the host gate does not answer") as caught:
        lobby.door.permit(HOST).__enter__()
    assert caught.value.seconds >= 2
    lobby.gate.down = False


def test_abandons_the_wait_when_asked_to_stop() -> None:
    lobby = Lobby(limit=1, patience=30.0)
    with lobby.door.permit(HOST):
        threading.Timer(0.1, lambda: setattr(lobby, "stopping", True)).start()
        began = time.monotonic()
        with pytest.raises(Abandoned):
            lobby.door.permit(HOST).__enter__()
        assert time.monotonic() - began < 5


def test_a_place_that_was_granted_unheard_is_given_back_as_soon_as_the_gate_answers() -> None:
    gate, rule = ForgetfulGate(), HostRule(1, 100.0)
    door = Doorkeeper(gate, lambda host: (host, rule), 0.1, 0.1, lambda note: None)
    gate.deaf = True
    with pytest.raises(GateAway):
        door.permit(HOST).__enter__()
    assert gate.state(HOST, rule).in_flight == 1
    gate.deaf = False
    wait_for(lambda: gate.state(HOST, rule).in_flight == 0, 3.0)
    wait_for(lambda: not own_threads("settling"))
