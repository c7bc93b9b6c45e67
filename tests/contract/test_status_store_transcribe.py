"""Chunks, the join and starting over (DESIGN.md, idea 4)."""

from itertools import permutations

import pytest
from sqlalchemy import select

from podinsight.adapters.database.models import chunks
from podinsight.domain.work import Lease, Span, State
from podinsight.errors import LeaseLost
from podinsight.ports import Demand, Reconciled, StageCount
from podinsight.topology import STAGES
from tests.support.rows import APPROVED, FILES, LEASE_SECONDS, PARAMS, TOOK, Rows, audio, in_flight, snapshot


def is_join(lease: Lease | None) -> bool:
    return lease is not None and lease.span is not None and lease.span.is_join


def commit(rows: Rows, lease: Lease) -> Lease | None:
    assert lease.span is not None
    return rows.work.commit_chunk(lease, f"part-{lease.span.n}", TOOK, LEASE_SECONDS)


def chunk_leases(rows: Rows, episode_id: str, count: int) -> list[Lease]:
    leases = [rows.claim(episode_id, "transcribe", "g1") for _ in range(count)]
    assert rows.work.claim("transcribe", episode_id, "g1", 90) is None
    return leases


def test_an_episode_with_audio_is_planned_at_once(rows: Rows) -> None:
    fetched, unknown = rows.fetches(2)
    rows.fetch(fetched)
    assert rows.work.enqueue_transcribe([fetched, unknown], 9, PARAMS, APPROVED) == 2
    assert rows.work.enqueue_transcribe([fetched, unknown], 0, PARAMS, APPROVED) == 0
    assert rows.store.work.states("transcribe", [fetched, unknown]) == {
        fetched: (State.HELD, "waits for its plan"),
        unknown: (State.HELD, "waits for its audio"),
    }
    rows.fetch(unknown)
    assert [ticket.episode_id for ticket in rows.work.dispatch("plan", 5)] == [fetched, unknown]
    for episode_id in (fetched, unknown):
        rows.plan(episode_id)
    assert len(rows.work.dispatch("chunk", 5)) == 2


def test_one_chunk_to_a_transcript(rows: Rows) -> None:
    (episode_id,) = rows.transcribes(1)
    lease = rows.claim(episode_id, "transcribe", "g1")
    params = lease.params
    assert (lease.kind, lease.span) == ("chunk", Span(0, 0.0, 60.0))
    assert {name: params[name] for name in params if name != "plan"} == {**PARAMS, "approved": APPROVED}
    join = commit(rows, lease)
    assert is_join(join)
    assert join is not None
    assert (join.worker, join.params, rows.state(episode_id, "transcribe")) == ("g1", params, State.RUNNING)
    assert rows.store.work.parts(episode_id) == ["part-0"]
    rows.work.commit_transcript(join, FILES)
    assert rows.store.work.states("transcribe", [episode_id]) == {episode_id: (State.RUNNING, "publishing")}
    (projection,) = rows.store.work.unprojected(5)
    assert (projection.stage, projection.copies) == ("transcribe", FILES.files)
    episode = projection.episode
    assert projection.scratch == (episode.attempts("transcribe"), episode.parts, episode.chunks)
    rows.work.projected(projection)
    assert rows.store.catalogue.episode(episode_id) == episode
    assert (episode.transcript_key, episode.model) == (FILES.transcript_key, FILES.model)
    assert rows.state(episode_id, "transcribe") is State.DONE
    assert rows.store.work.unprojected(5) == []
    with pytest.raises(LeaseLost):
        rows.work.commit_transcript(join, FILES)


def test_chunks_committed_in_any_order_make_one_join(rows: Rows) -> None:
    orders = list(permutations(range(3)))
    for episode_id, order in zip(rows.transcribes(len(orders), chunks=3), orders, strict=True):
        leases = chunk_leases(rows, episode_id, 3)
        assert [lease.span and lease.span.n for lease in leases] == [0, 1, 2]
        joins = [commit(rows, leases[n]) for n in order]
        assert [is_join(join) for join in joins] == [False, False, True]
        assert rows.store.work.parts(episode_id) == ["part-0", "part-1", "part-2"]
        assert joins[-1] is not None
        rows.work.commit_transcript(joins[-1], FILES)
    assert len(rows.store.work.unprojected(10, "transcribe")) == len(orders)


def test_a_transcript_that_is_gone_before_it_has_its_name_is_made_again(rows: Rows) -> None:
    (episode_id,) = rows.transcribes(1, chunks=2)
    for _ in range(STAGES["transcribe"].max_losses + 1):
        first, last = chunk_leases(rows, episode_id, 2)
        assert commit(rows, first) is None
        join = commit(rows, last)
        assert join is not None
        rows.work.commit_transcript(join, FILES)
        (projection,) = rows.store.work.unprojected(5)
        assert rows.work.redo(projection, "its transcript is gone")
        assert not rows.work.redo(projection, "twice")
    assert rows.state(episode_id, "transcribe") is State.FAILED
    assert "its transcript is gone" in rows.reason(episode_id, "transcribe")
    assert rows.work.retry_failed("transcribe", None) == 1
    rows.transcribe(episode_id)
    assert rows.state(episode_id, "transcribe") is State.DONE


def joining(rows: Rows, episode_id: str) -> Lease:
    """The lease of the join, right after the last commit."""
    first, *others = chunk_leases(rows, episode_id, 3)
    for lease in others:
        commit(rows, lease)
    join = commit(rows, first)
    assert join is not None
    return join


def test_a_failed_join_is_joined_once_more_and_nothing_is_decoded_again(rows: Rows) -> None:
    (episode_id,) = rows.transcribes(1, chunks=3)
    rows.work.end(joining(rows, episode_id), State.FAILED, "odd")
    assert rows.state(episode_id, "transcribe") is State.FAILED
    assert rows.work.retry_failed("transcribe", None) == 1
    join = rows.claim(episode_id, "transcribe", "g1")
    assert is_join(join)
    assert (join.attempts, join.losses) == (0, 0)
    assert rows.store.work.parts(episode_id) == ["part-0", "part-1", "part-2"]
    rows.work.commit_transcript(join, FILES)
    rows.project("transcribe", episode_id)
    assert rows.state(episode_id, "transcribe") is State.DONE


def test_only_the_chunks_whose_parts_are_lost_start_over(rows: Rows) -> None:
    """And not for ever, when they are lost again and again; the join comes after the last of them."""
    (episode_id,) = rows.transcribes(1, chunks=3)
    join = joining(rows, episode_id)
    for turn in range(STAGES["transcribe"].max_losses + 1):
        with pytest.raises(LeaseLost):
            rows.work.lose_parts(join, ["another's"], "gone")
        rows.work.lose_parts(join, ["part-1"], "part-1 is gone")
        before = snapshot(rows.store)
        with pytest.raises(LeaseLost):
            rows.work.lose_parts(join, ["part-0"], "late")
        assert snapshot(rows.store) == before
        if turn < STAGES["transcribe"].max_losses:
            (again,) = chunk_leases(rows, episode_id, 1)
            assert again.span == Span(1, 60.0, 120.0)
            found = commit(rows, again)
            assert found is not None
            assert is_join(found)
            join = found
    assert rows.state(episode_id, "transcribe") is State.FAILED
    assert "part-1 is gone" in rows.reason(episode_id, "transcribe")
    assert rows.work.retry_failed("transcribe", None) == 1
    (again,) = chunk_leases(rows, episode_id, 1)
    assert again.losses == 0
    assert is_join(commit(rows, again))


@pytest.mark.parametrize("back", ["handed back", "killed"])
def test_a_message_takes_what_was_dispatched_before_what_came_back(rows: Rows, back: str) -> None:
    """A chunk that is left dispatched holds a slot, and no message comes for it."""
    (episode_id,) = rows.transcribes(1, chunks=6)
    rows.worker("g2", "gpu", 1)
    assert len(rows.work.dispatch("chunk", 2)) == 2
    first, second = rows.claim(episode_id, "transcribe", "g1"), rows.claim(episode_id, "transcribe", "g2")
    commit(rows, second)
    assert len(rows.work.dispatch("chunk", 2)) == 1
    if back == "killed":
        assert rows.work.expire_worker("g1") == 1
    else:
        rows.work.hand_back(first)
    third = rows.claim(episode_id, "transcribe", "g2")
    assert third.span == Span(2, 120.0, 180.0)
    assert len(rows.work.dispatch("chunk", 2)) == 1, "the slot of who stopped is free"
    assert rows.claim(episode_id, "transcribe", "g2").span == Span(0, 0.0, 60.0)
    assert in_flight(rows.store, "chunk") == 2
    assert rows.claim(episode_id, "transcribe", "g2").span == Span(3, 180.0, 240.0), "nothing dispatched: what waits"


def test_a_join_outlives_its_worker(rows: Rows) -> None:
    (episode_id,) = rows.transcribes(1, chunks=2)
    rows.worker("g2", "gpu", 1)
    first, last = chunk_leases(rows, episode_id, 2)
    commit(rows, last)
    lost = commit(rows, first)
    assert lost is not None
    assert rows.work.expire_worker("g1") == 1
    assert [ticket.episode_id for ticket in rows.work.dispatch("chunk", 1)] == [episode_id]
    join = rows.claim(episode_id, "transcribe", "g2")
    assert is_join(join)
    assert join.losses == 1
    before = snapshot(rows.store)
    with pytest.raises(LeaseLost):
        rows.work.commit_transcript(lost, FILES)
    assert snapshot(rows.store) == before
    rows.work.hand_back(join)
    rows.work.commit_transcript(rows.claim(episode_id, "transcribe", "g2"), FILES)
    assert rows.work.claim("transcribe", episode_id, "g2", 90) is None
    assert len(rows.store.work.unprojected(10, "transcribe")) == 1


def test_a_lost_chunk_cannot_be_committed_twice(rows: Rows) -> None:
    (episode_id,) = rows.transcribes(1, chunks=2)
    first, _second = chunk_leases(rows, episode_id, 2)
    rows.expire()
    again = rows.claim(episode_id, "transcribe", "g1")
    assert again.unit_id == first.unit_id
    before = snapshot(rows.store)
    with pytest.raises(LeaseLost):
        commit(rows, first)
    assert snapshot(rows.store) == before
    assert commit(rows, again) is None


def test_a_committed_chunk_resets_the_losses_of_its_episode(rows: Rows) -> None:
    (episode_id,) = rows.transcribes(1, chunks=3)
    allowed = STAGES["transcribe"].max_losses
    for _ in range(allowed):
        rows.claim(episode_id, "transcribe", "g1"), rows.claim(episode_id, "transcribe", "g1")
        assert rows.work.expire_worker("g1") == 2
        rows.wait_out()
    first = rows.claim(episode_id, "transcribe", "g1")
    assert first.losses == allowed
    commit(rows, first)
    second = rows.claim(episode_id, "transcribe", "g1")
    assert second.losses == 0
    rows.clock.advance(LEASE_SECONDS)
    assert rows.work.reconcile(60) == Reconciled(expired=1)


def test_a_chunk_past_its_losses_sets_the_episode_aside(rows: Rows) -> None:
    (episode_id,) = rows.transcribes(1, chunks=2)
    for turn in range(STAGES["transcribe"].max_losses + 1):
        rows.wait_out()
        rows.claim(episode_id, "transcribe", "g1")
        rows.clock.advance(LEASE_SECONDS)
        assert rows.work.reconcile(60).set_aside == int(turn == STAGES["transcribe"].max_losses)
    state, reason = rows.store.work.states("transcribe", [episode_id])[episode_id]
    assert (state, "set aside" in reason) == (State.FAILED, True)


def test_one_failed_chunk_fails_its_episode_and_alone_starts_over(rows: Rows) -> None:
    (episode_id,) = rows.transcribes(1, chunks=3)
    first, second, third = chunk_leases(rows, episode_id, 3)
    rows.work.end(first, State.FAILED, "out of memory")
    assert commit(rows, second) is None
    assert rows.store.work.states("transcribe", [episode_id]) == {episode_id: (State.FAILED, "out of memory")}
    (view,) = rows.store.work.views(State.FAILED, 5)
    assert (view.attempts, view.reason) == (1, "out of memory")
    assert rows.work.retry_failed("transcribe", None) == 1
    assert rows.store.work.states("transcribe", [episode_id]) == {episode_id: (State.RUNNING, "")}
    assert commit(rows, third) is None
    again = rows.claim(episode_id, "transcribe", "g1")
    assert (again.unit_id, again.attempts, again.losses) == (first.unit_id, 0, 0)
    assert is_join(commit(rows, again))


@pytest.mark.parametrize("how", ["failed", "set aside"])
def test_of_an_episode_that_failed_nothing_more_is_paid_for(rows: Rows, how: str) -> None:
    """What runs may end; what waits, was dispatched, is delayed or comes back is held until the episode starts over."""
    (episode_id,) = rows.transcribes(1, chunks=7)
    for name in ("g2", "g3"):
        rows.worker(name, "gpu", 9)
    failing = rows.claim(episode_id, "transcribe", "g1")
    for _ in range(STAGES["transcribe"].max_losses if how == "set aside" else 0):
        rows.work.expire_worker("g1")
        rows.wait_out()
        failing = rows.claim(episode_id, "transcribe", "g1")
    ends, returns, dies, waits = (rows.claim(episode_id, "transcribe", name) for name in ("g2", "g2", "g3", "g2"))
    rows.work.delay(waits, "busy", 20)
    assert len(rows.work.dispatch("chunk", 5)) == 1
    if how == "failed":
        rows.work.end(failing, State.FAILED, "broken")
    else:
        assert rows.work.expire_worker("g1") == 1
    failed = rows.reason(episode_id, "transcribe")
    rows.work.hand_back(returns)
    assert rows.work.expire_worker(dies.worker) == 1
    assert commit(rows, ends) is None
    rows.clock.advance(61)
    rows.work.reconcile(60)
    assert rows.store.work.states("transcribe", [episode_id]) == {episode_id: (State.FAILED, failed)}
    assert rows.work.demand("transcribe") == Demand(0, 0, 0.0)
    assert rows.work.dispatch("chunk", 9) == []
    assert rows.work.claim("transcribe", episode_id, "g2", 90) is None
    with rows.store.db.read() as conn:
        states = {row.n: (row.state, row.reason) for row in conn.execute(select(chunks))}
    held = (State.HELD, f"another chunk failed: {failed}")
    assert states == {0: (State.FAILED, failed), 1: (State.DONE, ""), **dict.fromkeys(range(2, 7), held)}

    assert rows.work.retry_failed("transcribe", None) == 1
    assert rows.work.demand("transcribe") == Demand(6, 0, 360.0)
    rows.transcribe(episode_id)
    assert rows.state(episode_id, "transcribe") is State.DONE


def test_a_delayed_chunk_delays_its_episode(rows: Rows) -> None:
    (episode_id,) = rows.transcribes(1)
    rows.work.delay(rows.claim(episode_id, "transcribe", "g1"), "model is loading", 5)
    assert rows.store.work.states("transcribe", [episode_id]) == {episode_id: (State.DELAYED, "model is loading")}
    (view,) = rows.store.work.views(State.DELAYED, 5)
    assert (view.attempts, view.until) == (1, rows.clock.now() + 5)
    rows.clock.advance(5)
    assert rows.work.reconcile(60) == Reconciled(due=1)
    assert rows.claim(episode_id, "transcribe", "g1").attempts == 1


def test_views_show_an_episode_once_whatever_its_chunks(rows: Rows) -> None:
    ids = rows.transcribes(3, chunks=4)
    for episode_id in ids:
        chunk_leases(rows, episode_id, 4)
        rows.clock.advance(1)
    views = rows.store.work.views(State.RUNNING, 2)
    assert [(view.episode_id, view.stage, view.worker) for view in views] == [
        (each, "transcribe", "g1") for each in ids[:2]
    ]


def test_a_retried_fetch_takes_along_what_failed_with_it(rows: Rows) -> None:
    (episode_id,) = rows.fetches(1, transcribe=True)
    rows.worker()
    rows.work.delay(rows.claim(episode_id), "503", 1)
    rows.expire()
    rows.work.end(rows.claim(episode_id), State.FAILED, "404")
    assert rows.work.retry_failed("transcribe", None) == 0
    assert rows.state(episode_id, "transcribe") is State.FAILED
    assert rows.work.retry_failed("fetch", None) == 1
    assert rows.state(episode_id, "transcribe") is State.HELD
    lease = rows.claim(episode_id)
    assert (lease.attempts, lease.losses) == (0, 0)
    rows.work.commit_fetch(lease, audio(), 1.0)
    rows.project("fetch", episode_id)
    assert rows.reason(episode_id, "transcribe") == "waits for its plan"


@pytest.mark.parametrize("transcribe_first", [False, True])
def test_everything_failed_starts_over(rows: Rows, transcribe_first: bool) -> None:
    ids = rows.episodes(4)
    if transcribe_first:
        rows.work.enqueue_transcribe(ids, 5, PARAMS, APPROVED)
    rows.work.enqueue_fetch(ids, 5, PARAMS, APPROVED)
    rows.worker()
    for episode_id in ids[:3]:
        rows.work.end(rows.claim(episode_id), State.REFUSED, "private address")
    assert rows.work.retry_failed(None, None) == 6
    assert rows.work.retry_failed(None, None) == 0
    assert rows.store.work.counts() == [
        StageCount("fetch", State.WAITING, 4),
        StageCount("transcribe", State.HELD, 4),
    ]


def test_failed_rows_start_over_by_stage_and_host(rows: Rows) -> None:
    here, there = rows.fetches(2, "a.megaphone.fm"), rows.fetches(2, "there.test", priority=0)
    (spoken,) = rows.transcribes(1)
    for episode_id in (*here, *there):
        rows.work.end(rows.claim(episode_id), State.FAILED, "404")
    rows.work.end(rows.claim(spoken, "transcribe", "g1"), State.FAILED, "no speech")
    assert rows.work.retry_failed("fetch", "traffic.megaphone.fm:443") == 2
    assert [rows.state(each) for each in (*here, *there)] == [State.WAITING] * 2 + [State.FAILED] * 2
    assert rows.work.retry_failed("transcribe", "there.test") == 0
    assert rows.work.retry_failed("transcribe", "cdn.test") == 1
    assert rows.claim(spoken, "transcribe", "g1").attempts == 0
    assert rows.work.retry_failed("fetch", None) == 2
    assert rows.work.retry_failed(None, None) == 0


def test_two_episodes_are_transcribed_and_counted(rows: Rows) -> None:
    for episode_id in rows.transcribes(2, chunks=2):
        rows.transcribe(episode_id)
    assert rows.store.work.counts() == [StageCount(stage, State.DONE, 2) for stage in STAGES]
    assert in_flight(rows.store, "chunk") == 0
