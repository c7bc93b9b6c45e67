"""Work rows, by the example of fetches: claims, fences, what ends a lease, what brings a unit back."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import Connection, Row

from podinsight.adapters.database import SqlStore, enqueue
from podinsight.domain.control import Control, Mode
from podinsight.domain.work import FREE_LOSSES, Lease, State, Ticket, wait_after_loss
from podinsight.errors import LeaseLost, Unavailable
from podinsight.ports import Reconciled, StageCount, WorkRows
from podinsight.topology import STAGES
from tests.support.rows import APPROVED, LEASE_SECONDS, PARAMS, Rows, audio, in_flight, snapshot

Write = Callable[[WorkRows, Lease], object]
WRITES: dict[str, Write] = {
    "renew": lambda work, lease: work.renew(lease, 90),
    "hand_back": lambda work, lease: work.hand_back(lease),
    "delay": lambda work, lease: work.delay(lease, "later", 5),
    "end": lambda work, lease: work.end(lease, State.FAILED, "gone"),
    "commit_fetch": lambda work, lease: work.commit_fetch(lease, audio(), 1.0),
}


def test_enqueue_makes_rows_once(rows: Rows) -> None:
    ids = rows.episodes(3)
    assert rows.work.enqueue_fetch(ids[:2], 5, None) == 2
    assert rows.work.enqueue_fetch([*ids, *ids], 9, PARAMS, APPROVED) == 1
    assert rows.work.enqueue_fetch(ids, 0, PARAMS, APPROVED) == 0
    assert rows.work.enqueue_fetch([], 5, PARAMS, APPROVED) == 0
    assert rows.work.enqueue_fetch(["no such episode"], 5, PARAMS, APPROVED) == 0
    assert rows.store.work.counts() == [
        StageCount("fetch", State.WAITING, 3),
        StageCount("transcribe", State.HELD, 3),
    ]


def test_a_unit_is_claimed_once_from_waiting_and_from_dispatched(rows: Rows, another: Callable[[], SqlStore]) -> None:
    waiting, ticket = rows.fetches(1, "one.test")[0], rows.fetches(1, "two.test", priority=9)[0]
    rows.worker(), rows.worker("w2")
    assert [t.episode_id for t in rows.work.dispatch("fetch", 1)] == [ticket]
    other = another()
    for episode_id in (waiting, ticket):
        lease = rows.claim(episode_id)
        assert (lease.stage, lease.episode_id, lease.worker, lease.attempts, lease.losses) == (
            "fetch",
            episode_id,
            "w1",
            0,
            0,
        )
        assert other.work.claim("fetch", episode_id, "w2", 90) is None
        assert rows.state(episode_id) is State.RUNNING
    assert rows.work.claim("transcribe", waiting, "w1", 90) is None
    assert rows.work.claim("fetch", "no such episode", "w1", 90) is None


@pytest.mark.parametrize("state", ["draining", "dead", None])
def test_only_a_ready_worker_may_claim(rows: Rows, state: str | None) -> None:
    (episode_id,) = rows.fetches(1)
    if state is not None:
        rows.worker()
        rows.store.workers.mark("w1", state)
    assert rows.work.claim("fetch", episode_id, "w1", 90) is None
    assert rows.state(episode_id) is State.WAITING


@pytest.mark.parametrize("mode", [Mode.PAUSED, Mode.HALTED])
def test_nothing_is_claimed_or_dispatched_while_control_forbids_it(rows: Rows, mode: Mode) -> None:
    (episode_id,) = rows.fetches(1)
    rows.worker()
    rows.store.control.write(Control(mode, by="me", why="test"))
    assert rows.work.claim("fetch", episode_id, "w1", 90) is None
    assert rows.work.dispatch("fetch", 5) == []
    rows.store.control.write(Control(Mode.RUNNING))
    assert len(rows.work.dispatch("fetch", 5)) == 1
    rows.claim(episode_id)


@pytest.mark.parametrize("write", WRITES)
def test_a_worker_that_lost_its_lease_changes_nothing(rows: Rows, write: str) -> None:
    (episode_id,) = rows.fetches(1, transcribe=True)
    rows.worker(), rows.worker("w2")
    old = rows.claim(episode_id)
    rows.expire()
    _refused(rows, write, old)
    holder = rows.claim(episode_id, worker="w2")
    _refused(rows, write, old)
    assert (holder.losses, holder.attempts) == (1, 0)
    rows.work.commit_fetch(holder, audio(), 1.0)
    _refused(rows, write, holder)


def _refused(rows: Rows, write: str, lease: Lease) -> None:
    before = snapshot(rows.store)
    with pytest.raises(LeaseLost, match=lease.episode_id):
        WRITES[write](rows.work, lease)
    assert snapshot(rows.store) == before


def test_renewing_keeps_a_lease(rows: Rows) -> None:
    (episode_id,) = rows.fetches(1)
    rows.worker()
    lease = rows.claim(episode_id)
    for _ in range(3):
        rows.clock.advance(LEASE_SECONDS - 1)
        assert rows.work.reconcile(60) == Reconciled()
        rows.work.renew(lease, LEASE_SECONDS)
    rows.clock.advance(LEASE_SECONDS)
    assert rows.work.reconcile(60) == Reconciled(expired=1)


def test_handing_back_charges_nothing(rows: Rows) -> None:
    (episode_id,) = rows.fetches(1)
    rows.worker()
    rows.work.hand_back(rows.claim(episode_id))
    assert rows.state(episode_id) is State.WAITING
    again = rows.claim(episode_id)
    assert (again.attempts, again.losses) == (0, 0)


@pytest.mark.parametrize("promote", ["reconcile", "dispatch"])
def test_a_delay_charges_an_attempt_and_ends_when_due(rows: Rows, promote: str) -> None:
    (episode_id,) = rows.fetches(1)
    rows.worker()
    rows.work.delay(rows.claim(episode_id), "503 from \x00 the server", 30)
    assert (rows.state(episode_id), rows.reason(episode_id)) == (State.DELAYED, "503 from  the server")
    rows.clock.advance(29)
    assert rows.work.reconcile(60) == Reconciled()
    assert rows.work.dispatch("fetch", 5) == []
    assert rows.work.claim("fetch", episode_id, "w1", 90) is None
    rows.clock.advance(1)
    if promote == "reconcile":
        assert rows.work.reconcile(60) == Reconciled(due=1)
    else:
        assert len(rows.work.dispatch("fetch", 5)) == 1
    lease = rows.claim(episode_id)
    assert (lease.attempts, lease.losses) == (1, 0)
    rows.work.delay(lease, "the gate is closed", 1, attempted=False)
    rows.clock.advance(1)
    rows.work.reconcile(60)
    assert rows.claim(episode_id).attempts == 1


@pytest.mark.parametrize("state", [State.FAILED, State.REFUSED])
def test_an_ended_fetch_ends_the_transcribe_row_that_waits_for_it(rows: Rows, state: State) -> None:
    ended, other = rows.fetches(2, transcribe=True)
    rows.worker()
    rows.work.end(rows.claim(ended), state, "404")
    assert rows.store.work.states("fetch", [ended]) == {ended: (state, "404")}
    assert rows.store.work.states("transcribe", [ended, other]) == {
        ended: (state, "no audio: 404"),
        other: (State.HELD, "waits for its audio"),
    }


def test_losses_are_counted_apart_and_set_a_unit_aside(rows: Rows) -> None:
    (episode_id,) = rows.fetches(1, transcribe=True)
    rows.worker()
    allowed = STAGES["fetch"].max_losses
    for losses in range(allowed + 1):
        rows.wait_out()
        lease = rows.claim(episode_id)
        assert (lease.losses, lease.attempts) == (losses, 0)
        rows.clock.advance(LEASE_SECONDS)
        assert rows.work.reconcile(60) == Reconciled(expired=1, set_aside=int(losses == allowed))
    assert rows.state(episode_id) is State.FAILED
    assert f"died {allowed + 1} times" in rows.reason(episode_id)
    assert rows.state(episode_id, "transcribe") is State.FAILED


def test_a_unit_that_loses_worker_after_worker_lets_others_go_first(rows: Rows) -> None:
    """T8 (CELERY.md, fault 3): it waits longer each time, as no demand, and then has its old rank. Its first losses in
    a row cost no wait."""
    suspect, other = rows.fetches(2)
    rows.worker()
    for losses in range(1, STAGES["fetch"].max_losses + 1):
        assert [ticket.episode_id for ticket in rows.work.dispatch("fetch", 1)] == [suspect]
        assert rows.claim(suspect).losses == losses - 1
        rows.work.expire_worker("w1")
        wait = wait_after_loss(losses)
        assert (wait == 0) == (losses <= FREE_LOSSES)
        if wait:
            assert rows.work.claim("fetch", suspect, "w1", LEASE_SECONDS) is None
            assert (rows.state(suspect), rows.work.demand("fetch").waiting) == (State.DELAYED, 1)
            assert f"died {losses} times" in rows.reason(suspect)
            rows.clock.advance(wait - 0.001)
            (ticket,) = rows.work.dispatch("fetch", 1)
            assert ticket.episode_id == other
            rows.work.undo_dispatch([ticket])
            rows.clock.advance(0.001)
    waits = [wait_after_loss(losses) for losses in range(1, STAGES["fetch"].max_losses + 1)]
    assert waits == [0, 0, 10, 20, 40, 80, 160, 300]


def test_a_dead_worker_gives_back_its_leases_at_once(rows: Rows) -> None:
    mine, mine_too, other = rows.fetches(3)
    rows.worker(), rows.worker("w2")
    rows.claim(mine), rows.claim(mine_too), rows.claim(other, worker="w2")
    assert rows.work.expire_worker("w1") == 2
    assert rows.work.expire_worker("w1") == 0
    assert [rows.state(each) for each in (mine, mine_too, other)] == [State.WAITING, State.WAITING, State.RUNNING]
    assert rows.claim(mine, worker="w2").losses == 1


def test_an_unclaimed_dispatch_goes_back(rows: Rows) -> None:
    ids = rows.fetches(2)
    rows.worker()
    assert len(rows.work.dispatch("fetch", 5)) == 2
    rows.claim(ids[0])
    rows.clock.advance(59)
    assert rows.work.reconcile(60) == Reconciled()
    rows.clock.advance(1)
    assert rows.work.reconcile(60) == Reconciled(unclaimed=1)
    assert rows.state(ids[1]) is State.WAITING
    lease = rows.claim(ids[1])
    assert (lease.attempts, lease.losses) == (0, 0)


def test_a_dispatch_is_undone_unless_somebody_claimed_it(rows: Rows) -> None:
    ids = rows.fetches(3)
    rows.worker()
    tickets = rows.work.dispatch("fetch", 5)
    assert sorted(t.episode_id for t in tickets) == sorted(ids)
    rows.claim(ids[0])
    rows.work.undo_dispatch([*tickets, Ticket(10**9, "fetch", "gone")])
    assert [rows.state(each) for each in ids] == [State.RUNNING, State.WAITING, State.WAITING]
    assert in_flight(rows.store, "fetch") == 1


def test_what_a_worker_holds_is_counted(rows: Rows) -> None:
    (spoken,) = rows.transcribes(1, chunks=2)
    first, second = rows.fetches(2)
    lease = rows.claim(first)
    rows.claim(second)
    rows.claim(spoken, "transcribe", "g1")
    rows.work.dispatch("chunk", 5)
    assert [rows.store.work.leased(worker) for worker in ("w1", "g1", "nobody")] == [2, 1, 0]
    rows.work.hand_back(lease)
    rows.work.expire_worker("g1")
    assert [rows.store.work.leased(worker) for worker in ("w1", "g1")] == [1, 0]


def test_a_fetch_is_done_once_it_is_projected(rows: Rows) -> None:
    first, second = rows.fetches(2, transcribe=True)
    rows.worker()
    for episode_id in (first, second):
        rows.work.commit_fetch(rows.claim(episode_id), audio("edge.megaphone.fm"), 1.0)
        rows.clock.advance(1)
    assert rows.store.work.states("fetch", [first]) == {first: (State.RUNNING, "publishing")}
    assert rows.state(first, "transcribe") is State.HELD
    known = rows.store.catalogue.episode(first)
    assert known is not None
    assert known.audio_key is None
    assert [p.episode.id for p in rows.store.work.unprojected(1)] == [first]
    assert rows.store.work.unprojected(5, "transcribe") == []
    (projection,) = rows.store.work.unprojected(5, "fetch", second)
    assert (projection.stage, projection.episode.id, projection.episode.audio_seconds) == ("fetch", second, 60.0)
    assert projection.copies == (("raw/a/t", "raw/a/episode.mp3"),)
    assert projection.scratch == (projection.episode.attempts("fetch"),)
    assert rows.work.projected(projection)
    assert rows.store.catalogue.episode(second) == projection.episode
    assert projection.episode.host == "megaphone.fm"
    assert rows.state(second) is State.DONE
    assert rows.reason(second, "transcribe") == "waits for its plan"
    assert rows.state(second, "plan") is State.WAITING
    before = snapshot(rows.store)
    assert not rows.work.projected(projection)
    assert not rows.work.redo(projection, "gone")
    rows.work.postpone(projection)
    assert snapshot(rows.store) == before
    assert len(before["chunks"]) == 0


def test_audio_that_is_gone_before_it_has_its_name_is_fetched_again(rows: Rows) -> None:
    (episode_id,) = rows.fetches(1, transcribe=True)
    rows.worker()
    for turn in range(STAGES["fetch"].max_losses + 1):
        lease = rows.claim(episode_id)
        assert lease.losses == turn
        rows.work.commit_fetch(lease, audio(), 1.0)
        (projection,) = rows.store.work.unprojected(5)
        assert rows.work.redo(projection, "its audio is gone")
        assert not rows.work.redo(projection, "twice")
        assert rows.store.work.unprojected(5) == []
    assert rows.state(episode_id) is State.FAILED
    assert "its audio is gone" in rows.reason(episode_id)
    assert rows.state(episode_id, "transcribe") is State.FAILED
    assert rows.work.retry_failed(None, None) == 2
    rows.fetch(episode_id)
    rows.plan(episode_id)
    assert rows.state(episode_id, "transcribe") is State.WAITING


def test_many_are_enqueued_in_several_transactions(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that heartbeats come through. One that is cut off is done again; nothing is doubled."""
    monkeypatch.setattr(enqueue, "_TRANSACTION", 2)
    ids = rows.episodes(5)
    inside = enqueue.Enqueue._without_row

    def breaks_at_the_last(self: enqueue.Enqueue, conn: Connection, batch: Sequence[str], stage: str) -> list[Row[Any]]:
        if ids[4] in batch:
            raise Unavailable("away")
        return inside(self, conn, batch, stage)

    with monkeypatch.context() as patch:
        patch.setattr(enqueue.Enqueue, "_without_row", breaks_at_the_last)
        with pytest.raises(Unavailable):
            rows.work.enqueue_fetch(ids, 5, PARAMS, APPROVED)
    assert set(rows.store.work.states("transcribe", ids)) == set(ids[:4])
    assert rows.work.enqueue_fetch(ids, 5, PARAMS, APPROVED) == 1
    assert set(rows.store.work.states("transcribe", ids)) == set(rows.store.work.states("fetch", ids)) == set(ids)


def test_a_postponed_projection_comes_after_the_others(rows: Rows) -> None:
    ids = rows.fetches(3)
    rows.worker()
    for episode_id in ids:
        rows.work.commit_fetch(rows.claim(episode_id), audio(), 1.0)
        rows.clock.advance(1)
    first = rows.store.work.unprojected(1)[0]
    rows.work.postpone(first)
    assert [each.episode.id for each in rows.store.work.unprojected(5)] == [ids[1], ids[2], ids[0]]


def test_a_draining_worker_may_finish_what_it_holds(rows: Rows) -> None:
    (episode_id,) = rows.fetches(1)
    rows.worker()
    lease = rows.claim(episode_id)
    rows.store.workers.mark("w1", "draining")
    rows.store.control.write(Control(Mode.PAUSED))
    rows.work.renew(lease, 90)
    rows.work.commit_fetch(lease, audio(), 1.0)


def test_views_say_what_runs_and_what_failed_and_why(rows: Rows) -> None:
    runs, failed, loses = rows.fetches(3)
    rows.worker(), rows.worker("g1", "gpu")
    rows.work.end(rows.claim(failed), State.FAILED, "404")
    rows.claim(loses)
    rows.work.expire_worker("w1")
    rows.claim(runs)
    (view,) = rows.store.work.views(State.FAILED, 5)
    assert (view.episode_id, view.stage, view.state, view.reason) == (failed, "fetch", State.FAILED, "404")
    assert (view.attempts, view.losses, view.worker, view.host) == (1, 0, None, "h.test")
    assert (view.feed_slug, view.title, view.since) == ("a", "a-1", rows.clock.now())
    assert [(v.episode_id, v.worker) for v in rows.store.work.views(State.RUNNING, 5)] == [(runs, "w1")]
    assert [(v.episode_id, v.losses) for v in rows.store.work.views(State.WAITING, 5)] == [(loses, 1)]
    assert rows.store.work.views(State.HELD, 5) == []
