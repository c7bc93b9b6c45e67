"""Whatever is interleaved, dies, is frozen, is lost or is stepped: the gate's promises hold (F5).

The gate in memory and the script in Valkey get the same calls at the same times and must answer the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from podinsight.adapters.memory_gate import MemoryGate
from podinsight.adapters.redis_gate import EPOCH, RedisGate
from podinsight.domain.hosts import GateAnswer, HostRule
from tests.support.clock import ManualClock
from tests.support.valkey import Valkey, valkey

HOSTS = {"libsyn.com": HostRule(2, 0.5), "megaphone.fm": HostRule(2, 1e6)}
LEASE, RENEW, QUIET = 12.0, 4.0, 20.0
SPANS = st.sampled_from([0.0, 0.0, 0.001, 0.3, 1.0, 3.0, 7.0, 11.9])
PICK = st.integers(0, 1_000)
STEPS = st.sampled_from([-100_000.0, -7.0, -1.0, 0.5, 3.0, 12.0, 3600.0, 200_000.0])
DISASTERS = ["flush", "restart"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with valkey(tmp_path_factory.mktemp("gate")) as running:
        yield running


@dataclass
class Holder:
    """Somebody who requests. Its own clock counts real time, whatever the server's does.

    believes_until: when it stops by itself. renewing: when the renewal began that is still under way.
    prompt: no renewal of it was ever late.
    """

    host: str
    lease: str
    granted_at: float
    believes_until: float
    renewed: float
    renewing: float | None = None
    prompt: bool = True


class Interleavings(RuleBasedStateMachine):
    """`server` is put in by the test."""

    server: Valkey

    def __init__(self) -> None:
        super().__init__()
        self.time = 0.0  # real seconds
        self.wall = ManualClock()  # the server's
        self.stepped_at = -1000.0
        self.steps = 0.0  # seconds by which it was stepped ahead
        self.client: redis.Redis = self.server.client()
        self.client.flushall()
        self.valkey = RedisGate(self.server.url, LEASE, QUIET, now=self.wall.now)
        self.memory = MemoryGate(self.wall, LEASE, QUIET)
        self.holders: list[Holder] = []
        self.asking: list[tuple[str, str, float]] = []
        self.names = 0
        self.since = dict.fromkeys(HOSTS, 0.0)
        self.through = dict.fromkeys(HOSTS, 0)

    # ------------------------------------------------------------------------------------------------ what holders do

    @initialize()
    def begin(self) -> None:
        self.valkey.open()
        self.memory.open()

    @rule(host=st.sampled_from(sorted(HOSTS)), frozen=SPANS, late=SPANS)
    def acquire(self, host: str, frozen: float, late: float) -> None:
        self.names += 1
        self._acquire(host, f"lease {self.names}", frozen, late)

    @rule(host=st.sampled_from(sorted(HOSTS)))
    def all_places_are_asked_for(self, host: str) -> None:
        for _ in range(HOSTS[host].limit + 1):
            self.acquire(host, 0.0, 0.0)
            self._pass(1e-5)

    @rule(host=st.sampled_from(sorted(HOSTS)), times=st.integers(1, 6))
    def quick_requests(self, host: str, times: int) -> None:
        for _ in range(times):
            self.names += 1
            answer = self._ask(host, f"lease {self.names}")
            if answer.granted_at is not None:
                self._release(host, f"lease {self.names}", answer.granted_at, None)

    @rule(host=st.sampled_from(sorted(HOSTS)))
    def acquire_without_hearing_the_answer(self, host: str) -> None:
        self.names += 1
        self._ask(host, f"lease {self.names}")

    @precondition(lambda self: self.holders)
    @rule(pick=PICK)
    def start_renewal(self, pick: int) -> None:
        holder = self._pick(pick)
        if holder.renewing is None and self._believes(holder):
            holder.renewing = self.time

    @precondition(lambda self: any(holder.renewing is not None for holder in self.holders))
    @rule(pick=PICK)
    def renewal_arrives(self, pick: int) -> None:
        """However long ago it was sent."""
        under_way = [holder for holder in self.holders if holder.renewing is not None]
        self._renew([under_way[pick % len(under_way)]])

    @precondition(lambda self: self.holders)
    @rule()
    def all_renew(self) -> None:
        for holder in self.holders:
            if holder.renewing is None and self._believes(holder):
                holder.renewing = self.time
        self._renew([holder for holder in self.holders if holder.renewing is not None])

    @precondition(lambda self: self.holders)
    @rule(pick=PICK, throttled=st.sampled_from([None] * 8 + [0.0, 10.0]))
    def release(self, pick: int, throttled: float | None) -> None:
        holder = self._pick(pick)
        self.holders.remove(holder)
        self._release(holder.host, holder.lease, holder.granted_at, throttled)

    @precondition(lambda self: self.holders)
    @rule(pick=PICK)
    def die(self, pick: int) -> None:
        self.holders.remove(self._pick(pick))

    # ------------------------------------------------------------------------------------------------ what happens

    @rule(seconds=SPANS, polled=st.booleans())
    def time_passes(self, seconds: float, polled: bool) -> None:
        """polled: somebody asks the gate all the while."""
        while polled and seconds > 1.0:
            self._pass(1.0)
            self._same()
            seconds -= 1.0
        self._pass(seconds)

    @rule()
    def time_passes_with_prompt_holders(self) -> None:
        for _ in range(5):
            self._pass(RENEW)
            self.all_renew()

    @rule(disaster=st.sampled_from([*DISASTERS, *[""] * 4]))
    def disaster(self, disaster: str) -> None:
        match disaster:
            case "flush":
                self.client.flushall()
                self.client.script_flush()
                self.memory.forget()
                self._forget_rates()
            case "restart":
                self.client.hset(EPOCH, "run", "another server")
                self.memory.restart()

    @rule(host=st.sampled_from(sorted(HOSTS)), seconds=STEPS, later=SPANS)
    def time_is_stepped_while_all_places_are_held(self, host: str, seconds: float, later: float) -> None:
        self.all_places_are_asked_for(host)
        self.time_is_stepped(seconds)
        self.time_passes(later, True)
        self.all_places_are_asked_for(host)

    @rule(seconds=STEPS)
    def time_is_stepped(self, seconds: float) -> None:
        """Once a lease: who steps clocks again and again has no clock."""
        if self.time - self.stepped_at > LEASE * 2:
            self.stepped_at = self.time
            self.steps += max(0.0, seconds)
            self.wall.advance(seconds)

    # ------------------------------------------------------------------------------------------------ what must hold

    @invariant()
    def never_more_than_the_limit_believe_that_they_hold(self) -> None:
        for host, allowed in HOSTS.items():
            believers = [holder for holder in self.holders if holder.host == host and self._believes(holder)]
            assert len(believers) <= allowed.limit, believers

    @invariant()
    def no_more_than_the_burst_and_the_rate_got_through(self) -> None:
        for host, allowed in HOSTS.items():
            seconds = self.time + self.steps - self.since[host]
            assert self.through[host] <= allowed.limit + allowed.rate * seconds + 1e-3

    def teardown(self) -> None:
        """In the end everybody is gone, and all places come back."""
        self.holders.clear()
        for _ in range(40):
            self._pass(3.0)
            self._same()
        self.wall.advance(90_000.0)  # over every cool-down; quiet long enough for the full limit
        self._same()
        for host, allowed in HOSTS.items():
            self._forget_rates()
            for number in range(allowed.limit):
                answer = self._ask(host, f"last {number}")
                if answer.reason == "rate":  # for a burst at most, however far TIME went back
                    assert answer.wait <= 1 / allowed.rate
                    self._pass(answer.wait + 1e-5)
                    answer = self._ask(host, f"last {number}")
                assert answer.granted_at is not None
            assert self._ask(host, "one too many").reason in ("busy", "rate")

    # ------------------------------------------------------------------------------------------------ helpers

    def _pick(self, pick: int) -> Holder:
        return self.holders[pick % len(self.holders)]

    def _believes(self, holder: Holder) -> bool:
        return self.time < holder.believes_until

    def _pass(self, seconds: float) -> None:
        self.time += seconds
        self.wall.advance(seconds)
        self.holders = [each for each in self.holders if self._believes(each) or each.renewing is not None]

    def _ask(self, host: str, lease: str) -> GateAnswer:
        answer = self.valkey.acquire(host, lease, HOSTS[host])
        assert answer == self.memory.acquire(host, lease, HOSTS[host])
        self.through[host] += answer.granted_at is not None
        return answer

    def _release(self, host: str, lease: str, granted_at: float, throttled: float | None) -> None:
        said = self.valkey.release(host, lease, HOSTS[host], granted_at, throttled)
        assert said == self.memory.release(host, lease, HOSTS[host], granted_at, throttled)
        assert 1 <= said.limit <= HOSTS[host].limit

    def _acquire(self, host: str, lease: str, frozen: float, late: float) -> None:
        began = self.time
        self._pass(frozen)
        before = self._same()[host]
        answer = self._ask(host, lease)
        if answer.granted_at is None:
            assert answer.wait > 0
            return
        assert before < HOSTS[host].limit
        holder = Holder(host, lease, answer.granted_at, began + LEASE, self.time)
        self._pass(late)
        self.holders.append(holder)

    def _renew(self, holders: list[Holder]) -> None:
        pairs = [(holder.host, holder.lease) for holder in holders]
        lost = self.valkey.renew(pairs)
        assert lost == self.memory.renew(pairs)
        for holder in holders:
            began, holder.renewing = holder.renewing, None
            assert began is not None
            # What is renewed in time is never taken, whatever the server went through.
            holder.prompt = holder.prompt and self.time - holder.renewed < LEASE / 2
            assert not (holder.prompt and (holder.host, holder.lease) in lost)
            holder.renewed = self.time
            if (holder.host, holder.lease) in lost or not self._believes(holder):
                self.holders.remove(holder)  # lost once is lost for good
            else:
                holder.believes_until = began + LEASE

    def _same(self) -> dict[str, int]:
        """Leases in flight by host, of which both gates say the same."""
        found = {}
        for host, allowed in HOSTS.items():
            said = self.valkey.state(host, allowed)
            assert said == self.memory.state(host, allowed)
            found[host] = said.in_flight
        return found

    def _forget_rates(self) -> None:
        self.since = dict.fromkeys(HOSTS, self.time + self.steps)
        self.through = dict.fromkeys(HOSTS, 0)


def test_promises_hold_over_any_interleaving(server: Valkey) -> None:
    machine = type("Machine", (Interleavings,), {"server": server})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=100,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
            phases=[Phase.generate],  # to shrink what fails takes minutes: add Phase.shrink by hand
        ),
    )
