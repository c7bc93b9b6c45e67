"""What the doorkeeper notes of hosts, and when it is written (F6)."""

import time
from collections.abc import Sequence

import pytest

from podinsight.adapters.doorkeeper import Doorkeeper
from podinsight.adapters.host_notes import NoteBook
from podinsight.domain.hosts import HostNote, HostRule
from podinsight.errors import Abandoned, Busy, Permanent, Transient, Unavailable
from tests.support.lobby import HOST, KEY, ForgetfulGate, Lobby, lobby, strangers, wait_for

__all__ = ["lobby", "strangers"]


@pytest.mark.parametrize(("asked", "seconds"), [(None, 3), (3600.0, 3600), (1e9, 86_400)])
def test_a_429_is_obeyed_and_noted_when_the_gate_cannot_be_told(asked: float | None, seconds: float) -> None:
    """F6. The database is away as well: its rule says nothing of the cool-down."""
    gate, rule, notes = ForgetfulGate(), HostRule(4, 100.0), list[HostNote]()
    door = Doorkeeper(gate, lambda host: (host, rule), 0.1, 0.1, notes.extend)
    with door.permit(HOST) as permit:
        permit.answered(429, asked)
        gate.deaf = True
    wait_for(lambda: notes)
    (note,) = notes
    assert note.cooling_until == pytest.approx(time.time() + seconds, abs=1)
    gate.deaf = False
    with pytest.raises(Busy, match="wants to be left alone"):
        door.permit(HOST).__enter__()
    wait_for(lambda: gate.state(HOST, rule).in_flight == 0, 3.0)
    assert gate.state(HOST, rule).limit == 2, "and the gate is told later"


@pytest.mark.parametrize(
    ("status", "throttled", "failed"), [(200, 0, 0), (304, 0, 0), (404, 0, 0), (429, 1, 0), (503, 1, 0), (500, 0, 1)]
)
def test_answers_are_counted(lobby: Lobby, status: int, throttled: int, failed: int) -> None:
    with lobby.door.permit(HOST) as permit:
        permit.answered(status)
    note = lobby.noted()
    assert (note.requests, note.throttled, note.failed) == (1, throttled, failed)


@pytest.mark.parametrize(
    ("error", "failed"),
    [
        (Transient("the connection broke"), 1),
        (ConnectionResetError(), 1),
        (Transient("the object store is away", ours=True), 0),
        (Abandoned("stop"), 0),
        (Permanent("not audio"), 0),
    ],
)
def test_a_broken_connection_is_the_hosts_failure_and_what_is_ours_is_not(
    lobby: Lobby, error: Exception, failed: int
) -> None:
    with pytest.raises(type(error)), lobby.door.permit(HOST):
        raise error
    assert lobby.noted().failed == failed


def test_a_lowered_limit_is_noted_at_once_and_so_is_the_full_one() -> None:
    lobby = Lobby(limit=8)
    with lobby.door.permit(HOST) as permit:
        permit.answered(503)
    wait_for(lambda: lobby.notes)
    (note,) = lobby.notes
    assert (note.throttled, note.limit_now) == (1, 4)
    assert note.cooling_until == pytest.approx(time.time() + 3, abs=1)
    lobby.gate.forget()
    lobby.gate.open()
    with lobby.door.permit(HOST):
        pass
    lobby.door.flush()
    assert lobby.notes[-1].limit_now == 0


def test_notes_are_added_up_and_written_soon(lobby: Lobby) -> None:
    for _ in range(5):
        with lobby.door.permit(HOST) as permit:
            permit.received(10)
    assert lobby.notes == []
    wait_for(lambda: lobby.notes)
    assert lobby.notes == [HostNote(KEY, requests=5, received=50, limit_now=0)]


def test_notes_that_cannot_be_written_are_kept() -> None:
    written: list[HostNote] = []
    away = True

    def note(seen: Sequence[HostNote]) -> None:
        if away:
            raise Unavailable("the database is locked")
        written.extend(seen)

    lobby = Lobby()
    door = Doorkeeper(lobby.gate, lambda host: (host, lobby.rule), 0.1, 0.1, note)
    for _ in range(2):
        with door.permit(HOST):
            pass
        door.flush()
    assert written == []
    away = False
    door.flush()
    assert [each.requests for each in written] == [2]


def test_of_two_cool_downs_that_are_noted_together_the_later_one_holds() -> None:
    written: list[HostNote] = []
    book = NoteBook(written.extend, 60.0)
    for until in (90.0, 30.0, None):
        book.add(HostNote(KEY, 1, cooling_until=until))
    book.flush()
    assert [each.cooling_until for each in written] == [90.0]
