"""The doorkeeper around requests: waits, looks after places, gives them back, and notes what it saw (F5, F6)."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from podinsight.adapters.clock import SystemClock
from podinsight.adapters.doorkeeper import Doorkeeper
from podinsight.adapters.host_notes import NoteBook
from podinsight.adapters.host_rules import KEPT_SECONDS, HostRules
from podinsight.adapters.lease_keeper import elapsed
from podinsight.adapters.memory_gate import MemoryGate
from podinsight.domain.hosts import GateAnswer, GateState, HostLimits, HostNote, HostRule
from podinsight.errors import Abandoned, Busy, GateAway, Permanent, Transient, Unavailable
from podinsight.ports import HostRow
from tests.support.clock import ManualClock

HOST = "traffic.libsyn.com"
KEY = "libsyn.com"


@dataclass
class SuspendedClock:
    """`elapsed` and what a test adds: what a frozen process sees when it wakes."""

    ahead: float = 0.0

    def __call__(self) -> float:
        return elapsed() + self.ahead


@dataclass
class Lobby:
    """A doorkeeper on a gate in memory, and what it does."""

    limit: int = 2
    rate: float = 1000.0
    lease: float = 1.0
    renew: float = 0.1
    patience: float = 0.3
    stopping: bool = False
    notes: list[HostNote] = field(default_factory=list)
    clock: SuspendedClock = field(default_factory=SuspendedClock)

    def __post_init__(self) -> None:
        self.gate = MemoryGate(SystemClock(), self.lease, 60.0)
        self.gate.open()
        self.door = Doorkeeper(
            self.gate,
            lambda host: (KEY if host.endswith(KEY) else host, self.rule),
            self.renew,
            self.patience,
            self.notes.extend,
            lambda: self.stopping,
            self.clock,
        )

    @property
    def rule(self) -> HostRule:
        return HostRule(self.limit, self.rate)

    @property
    def in_flight(self) -> int:
        return self.gate.state(KEY, self.rule).in_flight

    def noted(self) -> HostNote:
        """All notes so far, which are of one host."""
        self.door.flush()
        (note,) = self.notes
        return note


_strangers: set[threading.Thread] = set()


@pytest.fixture(autouse=True)
def strangers() -> None:
    """Threads from before: a stack that an earlier test looked at may still have debts with a gate that is gone."""
    _strangers.clear()
    _strangers.update(threading.enumerate())


def own_threads(word: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if word in thread.name and thread not in _strangers]


@pytest.fixture
def lobby() -> Iterator[Lobby]:
    yield Lobby()
    wait_for(lambda: not own_threads("host gate"))


def wait_for(condition: Callable[[], object], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.01)


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


class ForgetfulGate(MemoryGate):
    """Answers are lost while `deaf`: acquire has been executed, release has not."""

    def __init__(self) -> None:
        super().__init__(SystemClock(), 5.0, 60.0)
        self.deaf = False
        self.open()

    def acquire(self, host: str, lease: str, rule: HostRule) -> GateAnswer:
        answer = super().acquire(host, lease, rule)
        self._hear()
        return answer

    def release(
        self, host: str, lease: str, rule: HostRule, granted_at: float, throttled: float | None = None
    ) -> GateState:
        self._hear()
        return super().release(host, lease, rule, granted_at, throttled)

    def _hear(self) -> None:
        if self.deaf:
            raise Unavailable("timed out")


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


# ---------------------------------------------------------------------------------------------------- rules


class CountedHosts:
    """As much of ports.Hosts as rules need."""

    def __init__(self) -> None:
        self.down = False
        self.reads = 0
        self.cooling: float | None = None

    def limits(self) -> HostLimits:
        self._read()
        return HostLimits({KEY: 3}, 10, {KEY: 2.5}, 7.0)

    def row(self, host: str, day: str) -> HostRow:
        self._read()
        assert day == "2023-11-14"
        return HostRow(host, cooling_until=self.cooling)

    def _read(self) -> None:
        self.reads += 1
        if self.down:
            raise Unavailable("the database does not answer")


@pytest.fixture
def hosts() -> CountedHosts:
    return CountedHosts()


@pytest.fixture
def rules(hosts: CountedHosts) -> HostRules:
    return HostRules(hosts, ManualClock())  # type: ignore[arg-type]


def test_rules_are_by_suffix_with_the_stored_cool_down(hosts: CountedHosts, rules: HostRules) -> None:
    hosts.cooling = 5.0
    assert rules("traffic.libsyn.com") == (KEY, HostRule(3, 2.5, 5.0))
    assert rules("Other.Test:8080") == ("other.test", HostRule(10, 7.0, 5.0))


def test_rules_are_read_every_few_seconds_and_outlive_a_database_that_is_away(
    hosts: CountedHosts, rules: HostRules, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = rules(HOST)
    assert rules(HOST) == known
    assert hosts.reads == 2
    now = time.monotonic() + KEPT_SECONDS
    monkeypatch.setattr("podinsight.adapters.host_rules.time.monotonic", lambda: now)
    hosts.cooling = 9.0
    assert rules(HOST) == (KEY, HostRule(3, 2.5, 9.0))
    now += KEPT_SECONDS
    hosts.down = True
    assert rules(HOST) == (KEY, HostRule(3, 2.5, 9.0))
    with pytest.raises(Unavailable):
        rules("never.asked.test")
