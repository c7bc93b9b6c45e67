"""Dispatch: the valve. Slots, priorities, hosts in turn, feeds in turn, host limits (DESIGN.md, idea 2)."""

from collections import Counter
from collections.abc import Callable

import pytest
from sqlalchemy import select

from podinsight.adapters.database import SqlStore
from podinsight.adapters.database.models import lanes
from podinsight.domain.control import Control
from podinsight.domain.work import State, Ticket
from podinsight.ports import Reconciled
from tests.support.rows import Rows, audio, in_flight, recount


def ids(tickets: list[Ticket]) -> list[str]:
    return [ticket.episode_id for ticket in tickets]


def finish(rows: Rows, tickets: list[Ticket]) -> None:
    for ticket in tickets:
        rows.work.commit_fetch(rows.claim(ticket.episode_id), audio(), 1.0)


def test_never_more_than_slots(rows: Rows) -> None:
    waiting = rows.fetches(6)
    rows.worker()
    assert rows.work.dispatch("fetch", 0) == []
    tickets = rows.work.dispatch("fetch", 3)
    assert tickets == [Ticket(t.unit_id, "fetch", e) for t, e in zip(tickets, waiting[:3], strict=True)]
    assert in_flight(rows.store, "fetch") == 3
    assert rows.work.dispatch("fetch", 3) == []
    lease = rows.claim(waiting[0])
    assert rows.work.dispatch("fetch", 3) == []
    assert ids(rows.work.dispatch("fetch", 4)) == [waiting[3]]
    rows.work.end(lease, State.FAILED, "404")
    assert ids(rows.work.dispatch("fetch", 4)) == [waiting[4]]
    assert in_flight(rows.store, "fetch") == 4


def test_what_was_decided_is_counted_again_before_it_is_taken(rows: Rows) -> None:
    """On SQLite dispatch decides outside the write lock: what others took meanwhile is not taken twice over."""
    rows.fetches(20)
    work = rows.store.work
    with rows.store.db.read() as conn:
        decided = work._allowed(conn, "fetch", 10)
    assert sum(share.units for share in decided) > 0
    taken = len(work.dispatch("fetch", 10))
    with rows.store.db.read() as conn:
        still = sum(work._still_free(conn, "fetch", 10, decided).values())
        limited = sum(work._still_free(conn, "fetch", 1000, decided).values())
    assert taken == sum(share.units for share in decided)
    assert still == 0
    assert limited == sum(min(share.units, share.limit - share.units) for share in decided)


def test_a_direct_claim_takes_a_slot(rows: Rows) -> None:
    waiting = rows.fetches(3)
    rows.worker()
    rows.claim(waiting[2])
    assert ids(rows.work.dispatch("fetch", 2)) == [waiting[0]]


def test_lanes_do_not_mix(rows: Rows) -> None:
    (transcribe,) = rows.transcribes(1)
    fetch = rows.fetches(1)[0]
    assert ids(rows.work.dispatch("chunk", 5)) == [transcribe]
    assert in_flight(rows.store, "fetch") == 0
    assert ids(rows.work.dispatch("fetch", 5)) == [fetch]
    rows.work.undo_dispatch([*rows.work.dispatch("chunk", 5), Ticket(1, "transcribe", transcribe)])
    assert rows.state(transcribe, "transcribe") is State.WAITING


def test_frozen_gpus_leave_fetches_alone(rows: Rows) -> None:
    (transcribe,) = rows.transcribes(1)
    rows.fetches(1)
    rows.store.control.write(Control(gpu_frozen=True))
    assert rows.work.dispatch("chunk", 5) == []
    assert rows.work.claim("transcribe", transcribe, "g1", 90) is None
    assert len(rows.work.dispatch("fetch", 5)) == 1


def test_high_before_medium_before_low(rows: Rows) -> None:
    low = rows.fetches(2, "low.test", priority=0)
    medium = rows.fetches(2, "medium.test", priority=5)
    high = rows.fetches(2, "high.test", priority=9)
    assert set(ids(rows.work.dispatch("fetch", 3))) == {*high, medium[0]}
    assert set(ids(rows.work.dispatch("fetch", 6))) == {medium[1], *low}


def test_hosts_take_turns(rows: Rows) -> None:
    rows.worker()
    busy, idle = rows.fetches(20, "busy.test"), rows.fetches(3, "idle.test")
    assert Counter(e in busy for e in ids(rows.work.dispatch("fetch", 4))) == {True: 2, False: 2}
    seen: list[str] = []
    for slots in (5, 6):
        rows.clock.advance(1)
        seen += ids(rows.work.dispatch("fetch", slots))
    assert {episode_id in idle for episode_id in seen} == {True, False}


def test_who_was_served_last_goes_last(rows: Rows) -> None:
    rows.worker()
    for host in ("a.test", "b.test", "c.test"):
        rows.fetches(4, host)
    served = []
    for _ in range(6):
        tickets = rows.work.dispatch("fetch", 1)
        served += [episode.host for episode in rows.store.catalogue.episodes(ids(tickets))]
        finish(rows, tickets)
        rows.clock.advance(1)
    assert served == ["a.test", "b.test", "c.test"] * 2


def test_a_host_never_passes_its_limit_over_all_priorities(rows: Rows) -> None:
    rows.worker()
    for priority in (9, 5, 0):
        rows.fetches(2, "slow.test", priority=priority)
        rows.fetches(4, "a.megaphone.fm", priority=priority)
        rows.fetches(4, "b.megaphone.fm", priority=priority)
    tickets = rows.work.dispatch("fetch", 50)
    hosts = Counter(episode.host for episode in rows.store.catalogue.episodes(ids(tickets)))
    assert hosts == {"slow.test": 1, "megaphone.fm": 5}
    assert rows.work.dispatch("fetch", 50) == []
    finish(rows, tickets[:2])
    assert len(rows.work.dispatch("fetch", 50)) == 2


def test_hosts_at_their_limit_leave_their_slots_to_others(rows: Rows) -> None:
    for priority in (9, 5, 0):
        rows.fetches(1, "slow.test", priority=priority)
    other = rows.fetches(1, "other.test", priority=0)
    assert other[0] in ids(rows.work.dispatch("fetch", 2))


def test_feeds_of_a_host_interleave(rows: Rows) -> None:
    first, second = rows.fetches(8, feed="a"), rows.fetches(8, feed="b")
    got = ids(rows.work.dispatch("fetch", 6))
    assert [e for e in got if e in first] == first[:3]
    assert [e for e in got if e in second] == second[:3]


def test_a_large_feed_does_not_stand_before_a_small_one(rows: Rows) -> None:
    rows.work = rows.store.work  # recounted once, at the end: there are many rows
    rows.worker()
    large = rows.episodes(5000, feed="large")
    assert rows.work.enqueue_fetch(large, 5, None) == 5000
    rows.work.dispatch("fetch", 10)
    rows.expire()
    finish(rows, rows.work.dispatch("fetch", 10))
    small = rows.fetches(10, feed="small")
    got: list[str] = []
    for _ in range(2):
        tickets = rows.work.dispatch("fetch", 10)
        finish(rows, tickets)
        got += ids(tickets)
    assert set(small) <= set(got)
    recount(rows.store)


def test_a_unit_that_comes_back_late_does_not_turn_its_lane_back(rows: Rows) -> None:
    rows.worker()
    first = rows.fetches(30, feed="a")
    rows.work.delay(rows.claim(first[0]), "503", 10)
    finish(rows, rows.work.dispatch("fetch", 9))
    rows.clock.advance(10)
    assert ids(rows.work.dispatch("fetch", 1)) == [first[0]]
    with rows.store.db.read() as conn:
        assert conn.execute(select(lanes.c.served_rank).where(lanes.c.stage == "fetch")).scalar_one() == 10


def test_due_units_are_dispatched_before_later_ones(rows: Rows) -> None:
    rows.worker()
    delayed, later = rows.fetches(2)
    rows.work.delay(rows.claim(delayed), "503", 10)
    rows.clock.advance(10)
    assert ids(rows.work.dispatch("fetch", 1)) == [delayed]
    assert rows.state(later) is State.WAITING


def test_chunks_of_several_feeds_interleave(rows: Rows) -> None:
    first, second = rows.transcribes(1, chunks=6, feed="a"), rows.transcribes(1, chunks=6, feed="b")
    assert Counter(ids(rows.work.dispatch("chunk", 6))) == {first[0]: 3, second[0]: 3}
    rows.clock.advance(61)
    assert rows.work.reconcile(60) == Reconciled(unclaimed=6)


def test_two_dispatchers_never_share_a_slot(rows: Rows, another: Callable[[], SqlStore], database_url: str) -> None:
    """The second finds the window full, or (PostgreSQL) the first still at it."""
    rows.fetches(6)
    other = another()
    if database_url.startswith("postgresql"):
        with rows.store.db.write() as conn:
            assert rows.store.db.try_lock(conn, "dispatch fetch")
            assert other.work.dispatch("fetch", 3) == []
            assert other.work.dispatch("chunk", 3) == []
    assert len(other.work.dispatch("fetch", 3)) == 3
    assert rows.work.dispatch("fetch", 3) == []


@pytest.mark.parametrize("lane", ["fetch", "chunk"])
def test_nothing_waiting_nothing_dispatched(rows: Rows, lane: str) -> None:
    assert rows.work.dispatch(lane, 5) == []
    assert rows.work.reconcile(60) == Reconciled()
    assert in_flight(rows.store, lane) == 0
