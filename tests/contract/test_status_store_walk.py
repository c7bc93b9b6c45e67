"""A random walk through every operation, against a small model of who holds which lease."""

from collections import Counter
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import delete, literal, select

from podinsight.adapters.database import SqlStore, open_store
from podinsight.adapters.database.models import chunks, lanes, metadata, work
from podinsight.domain.control import Control, Mode
from podinsight.domain.work import Lease, State
from podinsight.errors import LeaseLost
from tests.conftest import LIMITS, STALE_SECONDS
from tests.support.clock import ManualClock
from tests.support.rows import (
    APPROVED,
    FILES,
    LEASE_SECONDS,
    PARAMS,
    TOOK,
    Rows,
    audio,
    in_flight,
    plan_folder,
    recount,
    spans,
)

HOSTS = ["slow.test", "a.megaphone.fm", "b.megaphone.fm", "free.test"]
WORKERS = ["w1", "w2"]
_kept: list[SqlStore] = []


def empty_store(clock: ManualClock) -> SqlStore:
    """One store for all walks: making the schema anew would take longer than the walk."""
    if not _kept:
        _kept.append(open_store("sqlite://", clock, LIMITS, STALE_SECONDS))
    with _kept[0].db.write() as conn:
        for table in reversed(metadata.sorted_tables):
            conn.execute(delete(table))
    return SqlStore(_kept[0].db, clock, LIMITS, STALE_SECONDS)


class Walk(RuleBasedStateMachine):
    """`held`: the leases that must hold, with when each ends. `given`: every lease there ever was."""

    @initialize()
    def start(self) -> None:
        clock = ManualClock()
        self.rows = Rows(empty_store(clock), clock)
        self.work = self.rows.store.work
        self.known: list[str] = []
        self.given: list[Lease] = []
        self.held: dict[str, float] = {}
        self.done: set[tuple[str, int]] = set()
        self.ready = dict.fromkeys(WORKERS, True)
        self.paused = False
        for worker in WORKERS:
            self.rows.worker(worker)

    @rule(
        host=st.sampled_from(HOSTS),
        feed=st.sampled_from("ab"),
        priority=st.sampled_from([0, 5, 9]),
        approved=st.sampled_from([APPROVED, APPROVED, ""]),
    )
    def enqueue(self, host: str, feed: str, priority: int, approved: str) -> None:
        ids = self.rows.episodes(2, host, feed)
        assert self.work.enqueue_fetch(ids, priority, PARAMS, approved) == 2
        assert self.work.enqueue_fetch(ids, priority, PARAMS, approved) == 0
        self.known += ids

    @rule()
    def approve(self) -> None:
        waiting = self.work.waiting_for_approval()
        assert self.work.approve("me") <= len(waiting)
        assert self.work.waiting_for_approval() == []

    @rule(lane=st.sampled_from(["fetch", "plan", "chunk"]), slots=st.integers(1, 9))
    def dispatch(self, lane: str, slots: int) -> None:
        tickets = self.work.dispatch(lane, slots)
        if not tickets:
            return
        assert not self.paused
        assert in_flight(self.rows.store, lane) <= slots
        if lane == "fetch":
            hosts = {episode.host for episode in self.rows.store.catalogue.episodes([t.episode_id for t in tickets])}
            busy = self._busy()
            assert all(busy[host] <= LIMITS.limit(host) for host in hosts)

    @precondition(lambda self: self.known)
    @rule(data=st.data(), stage=st.sampled_from(["fetch", "plan", "transcribe"]), worker=st.sampled_from(WORKERS))
    def claim(self, data: st.DataObject, stage: str, worker: str) -> None:
        episode_id = data.draw(st.sampled_from(self.known))
        claimable = self._claimable(stage, episode_id)
        lease = self.work.claim(stage, episode_id, worker, LEASE_SECONDS)
        assert (lease is not None) == (claimable and self.ready[worker] and not self.paused)
        self._got(lease)

    @precondition(lambda self: self.given)
    @rule(data=st.data(), how=st.sampled_from(["renew", "hand_back", "delay", "fail", "commit", "commit", "commit"]))
    def write(self, data: st.DataObject, how: str) -> None:
        lease = data.draw(st.sampled_from(self.given[-8:]))
        holds = lease.token in self.held
        try:
            got = self._write(lease, how)
        except LeaseLost:
            assert not holds
            return
        assert holds
        if how == "renew":
            self.held[lease.token] = self.rows.clock.now() + LEASE_SECONDS
        else:
            del self.held[lease.token]
        self._got(got)

    def _write(self, lease: Lease, how: str) -> Lease | None:
        match how:
            case "renew":
                self.work.renew(lease, LEASE_SECONDS)
            case "hand_back":
                self.work.hand_back(lease)
            case "delay":
                self.work.delay(lease, "503", 20)
            case "fail":
                self.work.end(lease, State.FAILED, "404")
            case _ if lease.stage == "plan":
                self.work.commit_plan(lease, plan_folder(lease), spans(1 + lease.unit_id % 3), 1.0)
            case _ if lease.span is None:
                self.work.commit_fetch(lease, audio("free.test"), 1.0)
            case _ if lease.span.is_join:
                self.work.commit_transcript(lease, FILES)
            case _:
                return self.work.commit_chunk(lease, f"part-{lease.span.n}", TOOK, LEASE_SECONDS)
        return None

    @rule()
    def project(self) -> None:
        for projection in self.work.unprojected(5):
            self.work.projected(projection)

    @rule()
    def lose_what_was_committed(self) -> None:
        """Objects are gone before they had their names: chunks of a plan go with it, leases on them as well."""
        for projection in self.work.unprojected(2):
            assert self.work.redo(projection, "gone")
        kept = {row.token for row in self._units()}
        self.held = {token: until for token, until in self.held.items() if token in kept}
        self.done = set()

    @rule(seconds=st.sampled_from([1.0, 20.0, 61.0, 91.0]))
    def wait(self, seconds: float) -> None:
        self.rows.clock.advance(seconds)

    @rule()
    def reconcile(self) -> None:
        found = self.work.reconcile(60)
        expired = {token for token, until in self.held.items() if until <= self.rows.clock.now()}
        assert found.expired == len(expired)
        self.held = {token: until for token, until in self.held.items() if token not in expired}

    @rule(worker=st.sampled_from(WORKERS))
    def expire_worker(self, worker: str) -> None:
        lost = [lease.token for lease in self.given if lease.worker == worker and lease.token in self.held]
        assert self.work.expire_worker(worker) == len(lost)
        for token in lost:
            del self.held[token]

    @rule(stage=st.sampled_from([None, "fetch", "plan", "transcribe"]), host=st.sampled_from([None, *HOSTS]))
    def retry_failed(self, stage: str | None, host: str | None) -> None:
        self.work.retry_failed(stage, host)

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        self.paused = paused
        self.rows.store.control.write(Control(Mode.PAUSED if paused else Mode.RUNNING))

    @rule()
    def drain_the_second(self) -> None:
        self.ready["w2"] = False
        self.rows.store.workers.mark("w2", "draining")

    @invariant()
    def lanes_equal_their_rows(self) -> None:
        recount(self.rows.store)

    @invariant()
    def the_leases_are_those_of_the_model(self) -> None:
        assert Counter(row.token for row in self._units() if row.token) == Counter(self.held.keys())

    @invariant()
    def done_stays_done(self) -> None:
        done = {(row.kind, row.id) for row in self._units() if row.state == State.DONE}
        assert self.done <= done
        self.done = done

    def _got(self, lease: Lease | None) -> None:
        if lease is not None:
            assert lease.token not in {old.token for old in self.given}
            self.given.append(lease)
            self.held[lease.token] = self.rows.clock.now() + LEASE_SECONDS

    def _units(self) -> list[Any]:
        with self.rows.store.db.read() as conn:
            return [
                row
                for table in (work, chunks)
                for row in conn.execute(
                    select(table.c.id, table.c.token, table.c.state, literal(table.name).label("kind"))
                )
            ]

    def _claimable(self, stage: str, episode_id: str) -> bool:
        table = chunks if stage == "transcribe" else work
        with self.rows.store.db.read() as conn:
            states = conn.execute(select(table.c.state).where(table.c.episode_id == episode_id, table.c.stage == stage))
            return bool({State.WAITING, State.DISPATCHED} & {State(state) for state in states.scalars()})

    def _busy(self) -> Counter[str]:
        busy: Counter[str] = Counter()
        with self.rows.store.db.read() as conn:
            for row in conn.execute(select(lanes).where(lanes.c.stage == "fetch")):
                busy[row.host] += row.n_dispatched + row.n_running
        return busy


TestWalk = Walk.TestCase
TestWalk.settings = settings(
    max_examples=30, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
