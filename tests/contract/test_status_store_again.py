"""Transcribing again what has ended (T6): fresh rows, a fresh approval, and nothing else is touched."""

import threading
from dataclasses import replace

import pytest
from sqlalchemy import select

from podinsight.adapters.database.catalogue_tables import episodes
from podinsight.adapters.database.models import chunks, work
from podinsight.domain.publisher import accepted
from podinsight.domain.work import Span, State
from podinsight.errors import LeaseLost
from podinsight.ports import Demand, StageCount
from podinsight.topology import STAGES
from tests.support.rows import APPROVED, FILES, PARAMS, TOOK, Rows, recount, snapshot, spans

BASE = {"model": "base"}
DECODED = {**BASE, "same_audio": False}  # what is done over takes nobody's transcript (F10)


def params_of(rows: Rows, episode_id: str) -> dict[str, object]:
    query = select(work.c.params).where(work.c.episode_id == episode_id, work.c.stage == "transcribe")
    with rows.store.db.read() as conn:
        return dict(conn.execute(query).scalar_one())


def chunks_of(rows: Rows, episode_id: str) -> list[int]:
    query = select(chunks.c.n).where(chunks.c.episode_id == episode_id).order_by(chunks.c.n)
    with rows.store.db.read() as conn:
        return list(conn.execute(query).scalars())


def transcribed(rows: Rows, count: int = 1, chunk_count: int = 1) -> list[str]:
    ids = rows.transcribes(count, chunk_count)
    for episode_id in ids:
        rows.transcribe(episode_id)
    return ids


def test_what_is_transcribed_starts_over_as_fresh_work(rows: Rows) -> None:
    """T2: the old approval was for the old quote. T6: the episode has its transcript meanwhile."""
    (episode_id,) = transcribed(rows, chunk_count=3)
    before = rows.store.catalogue.episode(episode_id)
    assert before is not None
    assert before.transcript_key == FILES.transcript_key
    assert rows.work.transcribe_again([episode_id], 9, BASE) == 1
    assert rows.store.work.states("transcribe", [episode_id]) == {episode_id: (State.HELD, "waits for approval")}
    assert (params_of(rows, episode_id), chunks_of(rows, episode_id)) == (DECODED, [])
    assert rows.store.work.states("plan", [episode_id]) == {}
    assert [rows.work.demand(stage) for stage in ("plan", "transcribe")] == [Demand(0, 0, 0.0)] * 2
    assert rows.store.catalogue.episode(episode_id) == before
    assert rows.store.work.waiting_for_approval() == [episode_id]
    assert rows.work.approve("ada", [episode_id], {episode_id: "tiny.en"}) == 0, "another model was quoted"
    assert rows.work.approve("ada", [episode_id], {episode_id: "base"}, {episode_id: 60.0}) == 1
    assert rows.reason(episode_id, "transcribe") == "waits for its plan"
    rows.plan(episode_id, 2)
    assert chunks_of(rows, episode_id) == [0, 1]
    lease = rows.claim(episode_id, "transcribe", "g1")
    assert {name: lease.params[name] for name in ("model", "approved", "quoted_seconds")} == {
        "model": "base",
        "approved": "ada",
        "quoted_seconds": 60.0,
    }
    rows.work.hand_back(lease)
    assert rows.store.catalogue.episode(episode_id) == before
    rows.transcribe(episode_id)
    assert rows.state(episode_id, "transcribe") is State.DONE
    assert rows.store.work.counts() == [StageCount(stage, State.DONE, 1) for stage in STAGES]


def test_an_approval_that_comes_with_it_counts(rows: Rows) -> None:
    (episode_id,) = transcribed(rows)
    assert rows.work.transcribe_again([episode_id], 0, BASE, "ada", {episode_id: 60.0}) == 1
    assert params_of(rows, episode_id) == {**DECODED, "approved": "ada", "quoted_seconds": 60.0}
    assert rows.store.work.states("plan", [episode_id]) == {episode_id: (State.WAITING, "")}
    rows.plan(episode_id)
    (ticket,) = rows.work.dispatch("chunk", 5)
    assert ticket.episode_id == episode_id


def test_what_has_not_ended_stays_as_it_is(rows: Rows) -> None:
    """Held, waiting, running, committed but not in place yet; and what has no row."""
    waits, runs, publishing = rows.transcribes(3)
    (held,) = rows.fetches(1, transcribe=True, approved="")
    (unknown,) = rows.episodes(1)
    rows.claim(runs, "transcribe", "g1")
    join = rows.work.commit_chunk(rows.claim(publishing, "transcribe", "g1"), "part-0", TOOK, 90.0)
    assert join is not None
    rows.work.commit_transcript(join, FILES)
    before = snapshot(rows.store)
    assert rows.work.transcribe_again([waits, runs, publishing, held, unknown], 9, BASE, "ada") == 0
    assert snapshot(rows.store) == before
    rows.project("transcribe", publishing)
    assert rows.work.transcribe_again([publishing], 9, BASE, "ada") == 1
    assert rows.work.transcribe_again([publishing], 9, PARAMS, "bob") == 0, "a command that is made again"
    assert params_of(rows, publishing)["approved"] == "ada"


@pytest.mark.parametrize("state", [State.FAILED, State.REFUSED])
def test_what_failed_starts_over_whole_and_its_stragglers_have_lost_their_lease(rows: Rows, state: State) -> None:
    """By the model that is asked for now; `retry_failed` would go on with the old one."""
    (episode_id,) = rows.transcribes(1, chunks=4)
    failing, done, straggler = (rows.claim(episode_id, "transcribe", "g1") for _ in range(3))
    rows.work.commit_chunk(done, "part-1", TOOK, 90.0)
    rows.work.end(failing, state, "out of memory")
    assert rows.work.transcribe_again([episode_id], 5, BASE, APPROVED) == 1
    assert rows.store.work.states("transcribe", [episode_id]) == {episode_id: (State.HELD, "waits for its plan")}
    rows.plan(episode_id, 4)
    before = snapshot(rows.store)
    with pytest.raises(LeaseLost):
        rows.work.commit_chunk(straggler, "part-2", TOOK, 90.0)
    assert snapshot(rows.store) == before
    assert f"2.{straggler.token}" in [each.prefix.rsplit("/", 1)[-1] for each in rows.store.work.leftovers(1e12, 9)]
    assert rows.store.work.parts(episode_id) == ["None"] * 4
    rows.transcribe(episode_id)
    assert rows.state(episode_id, "transcribe") is State.DONE


def test_what_failed_with_its_plan_gets_a_new_one(rows: Rows) -> None:
    (episode_id,) = rows.fetches(1, transcribe=True)
    rows.fetch(episode_id)
    rows.work.end(rows.claim(episode_id, "plan", rows.worker("p1", "plan")), State.FAILED, "unreadable")
    assert rows.state(episode_id, "transcribe") is State.FAILED
    assert rows.work.transcribe_again([episode_id], 5, BASE, APPROVED) == 1
    assert rows.store.work.states("plan", [episode_id]) == {episode_id: (State.WAITING, "")}


def test_without_audio_there_is_nothing_to_do_over(rows: Rows) -> None:
    (episode_id,) = rows.fetches(1, transcribe=True)
    rows.work.end(rows.claim(episode_id, worker=rows.worker()), State.FAILED, "404")
    before = snapshot(rows.store)
    assert rows.work.transcribe_again([episode_id], 5, BASE, APPROVED) == 0
    assert snapshot(rows.store) == before


def test_the_row_says_which_transcript_stays(rows: Rows) -> None:
    (episode_id,) = transcribed(rows)
    rows.work.transcribe_again([episode_id], 5, BASE, APPROVED)
    rows.plan(episode_id)
    join = rows.work.commit_chunk(rows.claim(episode_id, "transcribe", "g1"), "part-0", TOOK, 90.0)
    assert join is not None
    rows.work.commit_transcript(join, replace(FILES, files=(), kept="the transcript that is there stays: it is better"))
    rows.project("transcribe", episode_id)
    said = (State.DONE, "the transcript that is there stays: it is better")
    assert rows.store.work.states("transcribe", [episode_id]) == {episode_id: said}
    rows.work.transcribe_again([episode_id], 5, BASE, APPROVED)
    assert rows.reason(episode_id, "transcribe") == "waits for its plan", "what was said of the last one is gone"


def test_a_projector_of_the_time_before_cannot_end_what_came_after(rows: Rows) -> None:
    """It was frozen between its copies and its row; what it projects is not what is committed now."""
    (episode_id,) = rows.transcribes(1)

    def commit(key: str) -> None:
        join = rows.work.commit_chunk(rows.claim(episode_id, "transcribe", "g1"), "part-0", TOOK, 90.0)
        assert join is not None
        rows.work.commit_transcript(join, replace(FILES, files=((key, "fixed"),)))

    commit("first")
    (late,) = rows.store.work.unprojected(1)
    rows.project("transcribe", episode_id)
    rows.work.transcribe_again([episode_id], 5, BASE, APPROVED)
    rows.plan(episode_id)
    commit("second")
    before = snapshot(rows.store)
    (now,) = rows.store.work.unprojected(1)
    late = replace(late, work_id=now.work_id)  # SQLite may give a new row the number of one that went
    assert not rows.work.projected(late)
    assert not rows.work.redo(late, "gone")
    assert snapshot(rows.store) == before
    assert rows.work.projected(now)


def test_what_the_publisher_wrote_is_taken_again_without_approval_and_plan(rows: Rows) -> None:
    """F12."""
    (episode_id,) = transcribed(rows)
    publisher = [{"key": "k", "url": "u", "type": "text/vtt", "language": None, "accepted": True, "reason": ""}]
    with rows.store.db.write() as conn:
        conn.execute(episodes.update().values(publisher=publisher))
    episode = rows.store.catalogue.episode(episode_id)
    assert episode is not None
    assert accepted(episode.publisher) is not None
    assert rows.work.transcribe_again([episode_id], 5, BASE) == 1
    assert rows.state(episode_id, "transcribe") is State.WAITING
    assert rows.claim(episode_id, "transcribe", "g1").span == Span(0, 0.0, None)


def test_many_start_over_in_batches_and_in_the_order_of_discovery(rows: Rows) -> None:
    ids = transcribed(rows, 5)
    assert rows.work.transcribe_again([*reversed(ids), ids[0]], 5, BASE, APPROVED) == 5
    assert [ticket.episode_id for ticket in rows.work.dispatch("plan", 9)] == ids


def test_two_at_once_and_a_retry_start_each_over_once(rows: Rows) -> None:
    ids = rows.transcribes(6, chunks=2)
    for episode_id in ids[:3]:
        rows.transcribe(episode_id)
    for episode_id in ids[3:]:
        rows.work.end(rows.claim(episode_id, "transcribe", "g1"), State.FAILED, "odd")
    counts: list[int] = []
    retried: list[int] = []
    at_once = threading.Barrier(3)

    def again() -> None:
        at_once.wait()
        counts.append(rows.store.work.transcribe_again(ids, 5, BASE, APPROVED))

    def retry() -> None:
        at_once.wait()
        retried.append(rows.store.work.retry_failed("transcribe", None))

    threads = [threading.Thread(target=each) for each in (again, again, retry)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) + sum(retried) == 6
    recount(rows.store)
    assert {rows.state(each, "transcribe") for each in ids} <= {State.HELD, State.WAITING}


def test_a_new_plan_may_cut_otherwise(rows: Rows) -> None:
    (episode_id,) = transcribed(rows, chunk_count=1)
    rows.work.transcribe_again([episode_id], 5, BASE, APPROVED)
    rows.plan(episode_id, 3)
    assert [rows.claim(episode_id, "transcribe", "g1").span for _ in range(3)] == spans(3)
