"""The HostGate port: the one in memory, and the script in a real Valkey (F5, F6)."""

import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest
import redis

from podinsight.adapters.memory_gate import MemoryGate
from podinsight.adapters.redis_gate import EPOCH, RedisGate
from podinsight.domain.hosts import GateState, HostRule
from podinsight.domain.work import LONGEST_RETRY_AFTER
from podinsight.errors import Unavailable
from podinsight.ports import HostGate
from tests.support.clock import ManualClock
from tests.support.stack import free_port
from tests.support.valkey import Valkey, valkey

HOST = "libsyn.com"
LEASE, QUIET = 12.0, 60.0
UNLIMITED = 1e6  # requests a second
LONGEST_HOLD = LEASE * 1.25  # the margin for clock steps
RULE = HostRule(limit=3, rate=UNLIMITED)


class Gate(Protocol):
    """A gate, and what can happen to it."""

    @property
    def gate(self) -> HostGate: ...
    @property
    def clock(self) -> ManualClock: ...
    def flush(self) -> None: ...
    def restart(self) -> None: ...


@dataclass(frozen=True)
class InMemory:
    gate: MemoryGate
    clock: ManualClock

    def flush(self) -> None:
        self.gate.forget()

    def restart(self) -> None:
        self.gate.restart()


@dataclass(frozen=True)
class InValkey:
    gate: RedisGate
    clock: ManualClock
    client: redis.Redis

    def flush(self) -> None:
        self.client.flushall()
        self.client.script_flush()

    def restart(self) -> None:
        """What a restart with an append-only file leaves; a real one is further down."""
        self.client.hset(EPOCH, "run", "another server")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with valkey(tmp_path_factory.mktemp("gate")) as running:
        yield running


@pytest.fixture(params=["memory", "valkey"])
def closed(request: pytest.FixtureRequest) -> Gate:
    """Each gate in turn, without any memory."""
    clock = ManualClock()
    if request.param == "memory":
        return InMemory(MemoryGate(clock, LEASE, QUIET), clock)
    server: Valkey = request.getfixturevalue("server")
    client = server.client()
    client.flushall()
    return InValkey(RedisGate(server.url, LEASE, QUIET, now=clock.now), clock, client)


@pytest.fixture
def world(closed: Gate) -> Gate:
    """Each gate in turn, open."""
    closed.gate.open()
    return closed


def grant(world: Gate, lease: str, rule: HostRule = RULE, host: str = HOST) -> float:
    world.clock.advance(2 / UNLIMITED)
    answer = world.gate.acquire(host, lease, rule)
    assert answer.granted_at is not None, answer
    return answer.granted_at


def assert_refused(world: Gate, reason: str, wait: float, rule: HostRule = RULE) -> None:
    found = refusal(world, rule=rule)
    assert found[0] == reason
    assert found[1] == pytest.approx(wait)


def refusal(world: Gate, lease: str = "one more", rule: HostRule = RULE, host: str = HOST) -> tuple[str, float]:
    answer = world.gate.acquire(host, lease, rule)
    assert answer.granted_at is None, answer
    return answer.reason, answer.wait


def pass_time(world: Gate, seconds: float, *held: str) -> None:
    """As it passes where somebody asks the gate every two seconds, renewing `held`."""
    while seconds > 0:
        world.clock.advance(min(2.0, seconds))
        seconds -= 2.0
        assert world.gate.renew([(HOST, lease) for lease in held]) == []
        world.gate.state("somewhere.test", RULE)


# ---------------------------------------------------------------------------------------------------- leases


def test_as_many_as_the_limit_are_granted_and_a_release_makes_room(world: Gate) -> None:
    """F5: requests at a time per host."""
    granted_at = grant(world, "a")
    assert granted_at == pytest.approx(world.clock.now())
    grant(world, "b")
    grant(world, "c")
    reason, wait = refusal(world)
    assert (reason, 0 < wait <= 1) == ("busy", True)
    grant(world, "elsewhere", host="megaphone.fm")
    assert world.gate.release(HOST, "a", RULE, granted_at) == GateState(3, 2)
    assert world.gate.release(HOST, "a", RULE, granted_at) == GateState(3, 2)
    grant(world, "d")
    assert world.gate.state(HOST, RULE) == GateState(3, 3)


def test_the_same_id_again_is_the_same_lease(world: Gate) -> None:
    for _ in range(5):
        grant(world, "a", HostRule(limit=3, rate=0.001))
    assert world.gate.state(HOST, RULE).in_flight == 1


def test_a_lease_outlives_what_its_holder_counts_on_and_then_expires(world: Gate) -> None:
    """F5: leases that survive a killed worker do so for a while only."""
    rule = HostRule(limit=1, rate=UNLIMITED)
    grant(world, "of a killed worker", rule)
    pass_time(world, LEASE)
    assert refusal(world, rule=rule)[0] == "busy"
    pass_time(world, LONGEST_HOLD - LEASE)
    grant(world, "next", rule)
    assert world.gate.renew([(HOST, "of a killed worker"), (HOST, "next")]) == [(HOST, "of a killed worker")]


def test_an_expired_lease_is_lost_even_when_its_place_is_free(world: Gate) -> None:
    grant(world, "late")
    pass_time(world, LONGEST_HOLD)
    assert world.gate.renew([(HOST, "late")]) == [(HOST, "late")]
    assert world.gate.state(HOST, RULE).in_flight == 0


def test_renewed_leases_of_many_hosts_hold_on(world: Gate) -> None:
    leases = [(f"h{n}.test", f"lease {n}") for n in range(30)]
    for host, lease in leases:
        grant(world, lease, host=host)
    for _ in range(10):
        world.clock.advance(LEASE / 3)
        assert world.gate.renew([*leases, (HOST, "never granted")]) == [(HOST, "never granted")]
    assert all(world.gate.state(host, RULE).in_flight == 1 for host, _ in leases)


def test_a_lower_limit_only_stops_new_grants(world: Gate) -> None:
    for lease in "abc":
        grant(world, lease)
    low = HostRule(limit=1, rate=UNLIMITED)
    assert world.gate.renew([(HOST, lease) for lease in "abc"]) == []
    assert refusal(world, rule=low)[0] == "busy"
    world.gate.release(HOST, "a", low, 0.0)
    world.gate.release(HOST, "b", low, 0.0)
    assert refusal(world, rule=low)[0] == "busy"
    world.gate.release(HOST, "c", low, 0.0)
    grant(world, "d", low)


# ---------------------------------------------------------------------------------------------------- rate


def test_no_more_than_a_burst_and_the_rate_get_through(world: Gate) -> None:
    """F5: requests a second, with a burst of `limit`."""
    rule = HostRule(limit=4, rate=2.0)
    began, granted = world.clock.now(), 0
    while world.clock.now() < began + 20:
        answer = world.gate.acquire(HOST, "one after the other", rule)
        if answer.granted_at is not None:
            world.gate.release(HOST, "one after the other", rule, answer.granted_at)
            granted += 1
            assert granted <= 4 + 2 * (world.clock.now() - began)
        else:
            assert answer.reason == "rate"
            world.clock.advance(answer.wait)
    assert granted >= 40


# ---------------------------------------------------------------------------------------------------- cooling


def throttle(world: Gate, lease: str, granted_at: float, seconds: float = 0.0, limit: int = 8) -> GateState:
    return world.gate.release(HOST, lease, HostRule(limit, UNLIMITED), granted_at, seconds)


def test_throttled_halves_at_once_and_once_for_all_that_were_granted_before(world: Gate) -> None:
    """F6: a 429 or 503 lowers the host's limit at once, and it recovers slowly."""
    rule = HostRule(limit=8, rate=UNLIMITED)
    granted = {lease: grant(world, lease, rule) for lease in "abcdef"}
    world.clock.advance(1.0)
    first = throttle(world, "a", granted["a"], 5.0)
    assert (first.limit, first.in_flight) == (4, 5)
    assert first.cooling_until == pytest.approx(world.clock.now() + 5.0)
    for lease in "bcdef":
        world.clock.advance(0.1)
        assert throttle(world, lease, granted[lease]).limit == 4
    pass_time(world, 6.0)
    assert throttle(world, "g", grant(world, "g", rule)).limit == 2
    pass_time(world, 6.0)
    assert throttle(world, "h", grant(world, "h", rule)).limit == 1
    pass_time(world, 6.0)
    assert throttle(world, "i", grant(world, "i", rule)).limit == 1


def test_the_limit_comes_back_a_step_a_quiet_period(world: Gate) -> None:
    rule = HostRule(limit=8, rate=UNLIMITED)
    state = throttle(world, "a", grant(world, "a", rule), 10.0)
    assert state.cooling_until is not None
    seen = []
    world.clock.advance(10.0)
    for _ in range(6):
        world.clock.advance(QUIET - 1)
        before = world.gate.state(HOST, rule).limit
        world.clock.advance(1.0)
        seen.append((before, world.gate.state(HOST, rule).limit))
    assert seen == [(4, 5), (5, 6), (6, 7), (7, 8), (8, 8), (8, 8)]


def test_a_late_429_starts_the_quiet_period_anew(world: Gate) -> None:
    rule = HostRule(limit=8, rate=UNLIMITED)
    early = grant(world, "early", rule)
    throttle(world, "a", grant(world, "a", rule))
    world.clock.advance(QUIET)
    assert world.gate.release(HOST, "early", rule, early, 0.0).limit == 4
    world.clock.advance(QUIET - 1)
    assert world.gate.state(HOST, rule).limit == 4


def test_a_lower_rule_always_binds(world: Gate) -> None:
    throttle(world, "a", grant(world, "a", HostRule(8, UNLIMITED)))
    assert world.gate.state(HOST, HostRule(2, UNLIMITED)).limit == 2
    assert world.gate.state(HOST, HostRule(8, UNLIMITED)).limit == 4


def test_nothing_is_granted_while_it_cools(world: Gate) -> None:
    """F6: Retry-After is obeyed by every worker."""
    throttle(world, "a", grant(world, "a"), 30.0)
    assert_refused(world, "cooling", 30.0)
    world.clock.advance(29.9)
    assert refusal(world)[0] == "cooling"
    world.clock.advance(0.1)
    grant(world, "b")
    assert world.gate.state(HOST, RULE).cooling_until is None


@pytest.mark.parametrize(
    ("asked", "obeyed"),
    [
        (0.0, 3.0),
        (-5.0, 3.0),
        (float("nan"), 3.0),
        (1e12, LONGEST_RETRY_AFTER),
        (float("inf"), LONGEST_RETRY_AFTER),
    ],
)
def test_what_a_server_asks_for_is_kept_within_reason(world: Gate, asked: float, obeyed: float) -> None:
    throttle(world, "a", grant(world, "a"), asked)
    assert refusal(world)[1] == pytest.approx(obeyed)


def test_a_shorter_wish_does_not_shorten_the_cool_down(world: Gate) -> None:
    first, second = grant(world, "a"), grant(world, "b")
    throttle(world, "a", first, 100.0)
    throttle(world, "b", second, 1.0)
    assert refusal(world)[1] == pytest.approx(100.0)


def test_a_cool_down_that_the_database_knows_is_remembered(world: Gate) -> None:
    until = world.clock.now() + 40
    assert_refused(world, "cooling", 40.0, HostRule(3, UNLIMITED, cooling_until=until))
    assert_refused(world, "cooling", 40.0)
    assert world.gate.state(HOST, RULE).cooling_until == pytest.approx(until)


# ---------------------------------------------------------------------------------------------------- lost memory


@pytest.mark.parametrize("loss", ["flush", "restart"])
def test_without_memory_nothing_is_granted_until_holders_have_put_their_leases_back(world: Gate, loss: str) -> None:
    grant(world, "alive")
    getattr(world, loss)()
    assert_refused(world, "recovering", LONGEST_HOLD)
    assert world.gate.lease_seconds <= LONGEST_HOLD
    pass_time(world, LONGEST_HOLD - 1, "alive")
    assert_refused(world, "recovering", 1.0)
    pass_time(world, 1.0, "alive")
    grant(world, "b")
    grant(world, "c")
    assert refusal(world)[0] == "busy"


def test_a_holder_that_comes_after_recovery_is_lost(world: Gate) -> None:
    grant(world, "partitioned")
    world.flush()
    refusal(world)
    pass_time(world, LONGEST_HOLD)
    assert world.gate.renew([(HOST, "partitioned")]) == [(HOST, "partitioned")]


def test_a_new_gate_recovers_first_and_open_begins_at_once(closed: Gate) -> None:
    assert refusal(closed)[0] == "recovering"
    closed.gate.open()
    grant(closed, "a")


def test_open_says_that_nobody_holds_a_lease(world: Gate) -> None:
    for lease in "abc":
        grant(world, lease)
    world.restart()
    world.gate.open()
    assert world.gate.state(HOST, RULE).in_flight == 0
    assert world.gate.renew([(HOST, "a")]) == [(HOST, "a")]


# ---------------------------------------------------------------------------------------------------- clock steps


def test_time_that_jumps_ahead_takes_no_lease_that_is_counted_on(world: Gate) -> None:
    rule = HostRule(limit=1, rate=UNLIMITED)
    grant(world, "a", rule)
    world.clock.advance(3600)
    pass_time(world, LEASE - 0.1)
    assert refusal(world, rule=rule)[0] == "busy"
    assert world.gate.renew([(HOST, "a")]) == []


def test_time_that_goes_back_keeps_no_place_nor_rate_nor_halving_for_long(world: Gate) -> None:
    rule = HostRule(limit=2, rate=2.0)
    throttle(world, "c", grant(world, "c", rule), limit=8)
    world.clock.advance(3.0)
    grant(world, "a", rule)
    grant(world, "b", rule)
    world.clock.advance(-3600 * 30)
    assert refusal(world, rule=rule)[0] == "cooling"
    world.clock.advance(LONGEST_RETRY_AFTER)
    pass_time(world, LONGEST_HOLD)
    assert_refused(world, "rate", 0.5, rule)
    world.clock.advance(0.5)
    granted_at = grant(world, "d", rule)
    assert throttle(world, "d", granted_at, limit=8).limit == 2


# ---------------------------------------------------------------------------------------------------- the server


def test_a_gate_that_is_down_is_unavailable() -> None:
    gate = MemoryGate(ManualClock(), LEASE, QUIET)
    gate.down = True
    with pytest.raises(Unavailable):
        gate.acquire(HOST, "a", RULE)


def test_a_server_that_is_away_or_frozen_is_unavailable_within_seconds_and_says_no_password(server: Valkey) -> None:
    away = RedisGate(f"redis://someone:hush@127.0.0.1:{free_port()}/0", LEASE, QUIET)
    frozen = RedisGate(server.url, LEASE, QUIET)
    frozen.open()
    server.process.send_signal(signal.SIGSTOP)
    try:
        for gate in (away, frozen):
            began = time.monotonic()
            with pytest.raises(Unavailable, match="the host gate does not answer") as caught:
                gate.acquire(HOST, "a", RULE)
            assert time.monotonic() - began < 6
            assert "hush" not in str(caught.value)
    finally:
        server.process.send_signal(signal.SIGCONT)
    assert frozen.state(HOST, RULE).limit == 3


def test_a_real_restart_grants_nothing_until_holders_came_back(tmp_path: Path) -> None:
    """The append-only file brings the keys back, but the last second of them may be missing."""
    port = free_port()
    with valkey(tmp_path, port) as first:
        gate = RedisGate(first.url, 1.2, QUIET)
        gate.open()
        assert gate.acquire(HOST, "a", RULE).granted_at is not None
        first.client().shutdown(save=False)
        first.process.wait()
        with pytest.raises(Unavailable):
            gate.acquire(HOST, "b", RULE)
    with valkey(tmp_path, port):
        began = time.monotonic()
        assert gate.acquire(HOST, "b", RULE).reason == "recovering"
        while (answer := gate.acquire(HOST, "b", RULE)).granted_at is None:
            assert answer.reason == "recovering"
            assert gate.renew([(HOST, "a")]) == []
            time.sleep(min(answer.wait, 0.1))
        assert time.monotonic() - began >= 1.2
        assert gate.state(HOST, RULE).in_flight == 2


def test_keys_that_nobody_uses_go_away_by_themselves_the_epoch_first(server: Valkey) -> None:
    """A hundred thousand hosts do not stay for ever; a lease that counts never goes before the epoch does."""
    client = server.client()
    client.flushall()
    gate = RedisGate(server.url, LEASE, QUIET)
    gate.open()
    gate.acquire(HOST, "a", RULE)
    left = {key: client.ttl(key) for key in client.scan_iter()}
    assert set(left) == {
        EPOCH.encode(),
        b"podinsight:gate:{libsyn.com}:leases",
        b"podinsight:gate:{libsyn.com}:state",
    }
    epoch = left.pop(EPOCH.encode())
    assert 0 < epoch <= 86_400
    assert all(epoch < seconds <= 90_000 for seconds in left.values())
