"""F10: the same audio, byte by byte, is transcribed once, whatever feed and order it comes in."""

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text, update

from podinsight.adapters.database.models import TWIN_HELD, work
from podinsight.domain.episode import Projection
from podinsight.domain.work import Span, State
from podinsight.ports import Demand
from podinsight.topology import STAGES
from tests.support.rows import APPROVED, FILES, LEASE_SECONDS, PARAMS, TOOK, Rows, audio, plan_folder, recount, spans

SAME, OTHER = "aa" * 32, "bb" * 32
TWIN = (State.HELD, "waits for the transcript of the same audio")
PLAN = (State.HELD, "waits for its plan")
ASKED = (State.HELD, "waits for approval")
READY = (State.WAITING, "")


def stands(rows: Rows, episode_id: str, stage: str = "transcribe") -> tuple[State, str]:
    return rows.store.work.states(stage, [episode_id])[episode_id]


def asked(
    rows: Rows, feed: str, more: Mapping[str, object] | None = None, approved: str = APPROVED, sha256: str = SAME
) -> str:
    """A fetched episode of that feed whose transcription is asked for."""
    (episode_id,) = rows.episodes(1, feed=feed)
    rows.work.enqueue_fetch([episode_id], 5, {**PARAMS, **(more or {})}, approved)
    rows.fetch(episode_id, sha256)
    rows.worker("g1", "gpu", 1)
    return episode_id


def transcribed(rows: Rows, feed: str = "a", more: Mapping[str, object] | None = None) -> str:
    episode_id = asked(rows, feed, more)
    rows.plan(episode_id)
    rows.transcribe(episode_id)
    return episode_id


@pytest.mark.parametrize("approved", ["", APPROVED])
def test_what_is_transcribed_is_taken_without_approval_or_plan(rows: Rows, approved: str) -> None:
    one = transcribed(rows)
    two = asked(rows, "b", approved=approved)
    assert stands(rows, two) == READY
    assert rows.work.takes_from(two) == one
    assert rows.work.states("plan", [two]) == {}
    assert rows.work.count_waiting_for_approval() == 0
    assert rows.work.demand("transcribe") == Demand(1, 0, 0.0), "no second of audio for a device"
    lease = rows.claim(two, "transcribe", "g1")
    assert (lease.span, lease.params["same_as"]) == (Span(0, 0.0, None), one)
    rows.work.hand_back(lease)
    rows.transcribe(two)
    assert stands(rows, two) == (State.DONE, "")
    assert stands(rows, asked(rows, "b")) == READY, "a third one takes it as well"


def test_what_was_fetched_before_is_asked_for_at_once(rows: Rows) -> None:
    """Also among those that are asked for together: one is decoded, and the others wait for it."""
    ids = [*rows.fetches(3), *rows.fetches(2, feed="b")]
    for episode_id, sha256 in zip(ids, (SAME, OTHER, SAME, SAME, OTHER), strict=True):
        rows.fetch(episode_id, sha256)
    assert rows.work.enqueue_transcribe(ids, 5, PARAMS, APPROVED) == 5
    assert [stands(rows, each) for each in ids] == [PLAN, PLAN, TWIN, TWIN, TWIN]
    rows.worker("g1", "gpu", 1)
    rows.plan(ids[0])
    rows.transcribe(ids[0])
    assert [stands(rows, each) for each in ids[1:]] == [PLAN, READY, READY, TWIN]


@pytest.mark.parametrize(
    "more",
    [
        {"model": "base"},
        {"language": "de"},
        {"prompt": "Podinsight."},
        {"hotwords": "Valkey"},
        {"words": True},
        {"same_audio": False},
    ],
)
def test_what_is_asked_for_otherwise_is_decoded(rows: Rows, more: Mapping[str, object]) -> None:
    transcribed(rows)
    assert stands(rows, asked(rows, "b", more)) == PLAN
    assert stands(rows, asked(rows, "c", {"language": None, "words": False, "prompt": ""})) == READY, "says the same"


def test_other_audio_of_that_length_is_decoded(rows: Rows) -> None:
    transcribed(rows)
    assert stands(rows, asked(rows, "b", sha256=OTHER)) == PLAN


def test_who_kept_a_better_one_lends_none(rows: Rows) -> None:
    """T6: the transcript that stayed was not made by what the row says."""
    one = transcribed(rows)
    with rows.store.db.write() as conn:
        conn.execute(update(work).where(work.c.episode_id == one).values(reason="the transcript that is there stays"))
    assert stands(rows, asked(rows, "b")) == PLAN


def test_whoever_comes_first_is_decoded_and_the_others_wait(rows: Rows) -> None:
    """The later episode in the order of discovery, too; held, it counts for no demand and needs no approval."""
    one, two = rows.fetches(1)[0], rows.fetches(1, feed="b")[0]
    rows.work.enqueue_transcribe([one], 5, PARAMS)
    rows.work.enqueue_transcribe([two], 5, PARAMS, APPROVED)
    rows.fetch(two, SAME)
    rows.fetch(one, SAME)
    assert (stands(rows, one), stands(rows, two)) == (TWIN, PLAN)
    assert rows.work.waiting_for_approval() == []
    assert rows.work.approve("ada") == 0
    assert rows.work.demand("plan").waiting == 1
    rows.worker("g1", "gpu", 1)
    rows.plan(two)
    assert rows.work.demand("transcribe").waiting == 1
    rows.transcribe(two)
    assert stands(rows, one) == READY
    assert rows.work.takes_from(one) == two
    rows.transcribe(one)
    assert stands(rows, one) == (State.DONE, "")


def test_nobody_waits_for_what_waits_for_a_person(rows: Rows) -> None:
    one, two = asked(rows, "a", approved=""), asked(rows, "b", approved="")
    assert (stands(rows, one), stands(rows, two)) == (ASKED, ASKED)
    assert rows.work.approve("ada", [two]) == 1
    assert (stands(rows, one), stands(rows, two)) == (ASKED, PLAN)
    assert rows.work.approve("ada", [one]) == 1
    assert (stands(rows, one), stands(rows, two)) == (TWIN, PLAN)


@pytest.mark.parametrize("state", [State.FAILED, State.REFUSED])
@pytest.mark.parametrize("stage", ["plan", "transcribe"])
@pytest.mark.parametrize("approved", ["", APPROVED])
def test_a_twin_that_fails_is_not_waited_for(rows: Rows, state: State, stage: str, approved: str) -> None:
    one, two = asked(rows, "a"), asked(rows, "b", approved=approved)
    three = asked(rows, "c")
    assert (stands(rows, two), stands(rows, three)) == (TWIN, TWIN)
    if stage == "transcribe":
        rows.plan(one)
    lease = rows.claim(one, stage, rows.worker("p1", "plan") if stage == "plan" else "g1")
    rows.work.end(lease, state, "odd")
    assert stands(rows, one)[0] is state
    assert [stands(rows, two), stands(rows, three)] == ([PLAN, TWIN] if approved else [ASKED, PLAN])
    rows.work.retry_failed(None, None)
    assert stands(rows, one) in ((PLAN, TWIN) if stage == "plan" else (READY,))


def test_a_twin_that_kills_its_workers_is_not_waited_for(rows: Rows) -> None:
    one, two = asked(rows, "a"), asked(rows, "b")
    rows.plan(one)
    for _ in range(STAGES["transcribe"].max_losses + 1):
        rows.claim(one, "transcribe", "g1")
        rows.expire()
        rows.wait_out()
    assert stands(rows, one)[0] is State.FAILED
    assert stands(rows, two) == PLAN


def test_reconcile_finds_who_waits_for_nothing(rows: Rows) -> None:
    """Whatever has become of the twin unseen; not before its time, and the index that it reads holds no other row."""
    one, two, three = asked(rows, "a"), asked(rows, "b"), asked(rows, "c")
    with rows.store.db.write() as conn:
        conn.execute(update(work).where(work.c.episode_id == one, work.c.stage == "plan").values(state="failed"))
        conn.execute(update(work).where(work.c.episode_id == one, work.c.stage == "transcribe").values(state="failed"))
    assert rows.store.work.release_twins(60.0) == 0
    rows.clock.advance(60.0)
    assert rows.store.work.release_twins(60.0) == 1
    assert [stands(rows, each) for each in (two, three)] == [PLAN, TWIN]
    assert rows.store.work.release_twins(60.0) == 0
    if rows.store.db.is_sqlite:
        looked = f"SELECT id FROM work WHERE stage = 'transcribe' AND {TWIN_HELD} AND changed_at <= 5 LIMIT 1"
        with rows.store.db.read() as conn:
            steps = [row.detail for row in conn.execute(text(f"EXPLAIN QUERY PLAN {looked}"))]
        assert len(steps) == 1
        assert "ix_work_twin_held" in steps[0]


def test_a_transcript_that_cannot_be_used_is_decoded_instead(rows: Rows) -> None:
    """By one of those that wanted it: the next one waits for that. A row that is not approved asks for it."""
    one = transcribed(rows)
    two, three, four = asked(rows, "b", approved=""), asked(rows, "c"), asked(rows, "d")
    rows.work.decode_instead(rows.claim(two, "transcribe", "g1"))
    assert stands(rows, two) == ASKED
    rows.work.decode_instead(rows.claim(three, "transcribe", "g1"))
    assert stands(rows, three) == PLAN
    rows.work.decode_instead(rows.claim(four, "transcribe", "g1"))
    assert stands(rows, four) == TWIN
    rows.plan(three)
    rows.transcribe(three)
    assert rows.work.takes_from(four) == three
    assert rows.work.approve("ada", [two]) == 1
    assert rows.work.takes_from(two) == three, f"and no more from {one}"


def test_what_is_planned_already_is_decoded(rows: Rows) -> None:
    """The plan of one was under way when its twin began: it is not made to wait then, but takes what is ready."""
    one, two = asked(rows, "a"), asked(rows, "b", sha256=OTHER)
    for episode_id in (one, two):
        assert stands(rows, episode_id) == PLAN
    with rows.store.db.write() as conn:
        conn.execute(text("UPDATE episodes SET audio_sha256 = :sum"), {"sum": SAME})
    rows.plan(two)
    assert stands(rows, two) == READY
    assert rows.work.takes_from(two) is None
    rows.transcribe(two)
    lease = rows.claim(one, "plan", rows.worker("p1", "plan"))
    rows.work.commit_plan(lease, plan_folder(lease), spans(3), 1.0)
    assert rows.work.takes_from(one) == two
    assert rows.claim(one, "transcribe", "g1").span == Span(0, 0.0, None)


def test_two_that_are_fetched_at_once_are_decoded_once(rows: Rows) -> None:
    """PostgreSQL lets both be projected at the same time; each pair in its own threads."""
    store = rows.store
    pairs = [(rows.fetches(1)[0], rows.fetches(1, feed="b")[0]) for _ in range(8)]
    rows.worker()
    projections: list[list[Projection]] = []
    for number, pair in enumerate(pairs):
        rows.work.enqueue_transcribe(pair, 5, PARAMS, APPROVED)
        for episode_id in pair:
            rows.work.commit_fetch(rows.claim(episode_id), audio(sha256=f"{number:02d}" * 32), 1.0)
        projections.append([store.work.unprojected(1, "fetch", each)[0] for each in pair])
    for both in projections:
        at_once = threading.Barrier(2)

        def make(projection: Projection, at_once: threading.Barrier = at_once) -> bool:
            at_once.wait()
            return store.work.projected(projection)

        with ThreadPoolExecutor(2) as threads:
            assert list(threads.map(make, both)) == [True, True]
    recount(store)
    for pair in pairs:
        assert {stands(rows, each) for each in pair} == {PLAN, TWIN}


def test_the_quote_knows_what_will_not_be_decoded(rows: Rows) -> None:
    """T2: of audio that is there already; also among those that are asked for together."""
    one = transcribed(rows)
    two, three, four, five = rows.fetches(4, feed="b")
    for episode_id, sha256 in zip((two, three, four, five), (SAME, OTHER, OTHER, None), strict=True):
        rows.fetch(episode_id, sha256)
    wishes = dict.fromkeys((two, three, four, five, "unknown"), PARAMS)
    assert rows.store.work.shared(wishes) == {two: one, four: three}
    assert rows.store.work.shared({each: {**PARAMS, "model": "base"} for each in wishes}) == {four: three}
    assert rows.store.work.shared({each: {**PARAMS, "same_audio": False} for each in wishes}) == {}


def test_a_transcript_made_anew_is_waited_for(rows: Rows) -> None:
    one = transcribed(rows)
    assert rows.work.transcribe_again([one], 5, PARAMS, APPROVED) == 1
    two = asked(rows, "b")
    assert (stands(rows, one), stands(rows, two)) == (PLAN, TWIN)
    rows.plan(one)
    lease = rows.claim(one, "transcribe", "g1")
    join = rows.work.commit_chunk(lease, "part-0", TOOK, LEASE_SECONDS)
    assert join is not None
    rows.work.commit_transcript(join, FILES)
    assert stands(rows, two) == TWIN, "it has not its place yet"
    rows.project("transcribe", one)
    assert stands(rows, two) == READY
