"""Approval, plan and chunks: what a transcription waits for, what it wants of workers (DESIGN.md, ideas 1 and 4)."""

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import pytest
from sqlalchemy import text

from podinsight.adapters.database import SqlStore
from podinsight.domain.control import Control, Mode
from podinsight.domain.episode import FetchedAudio, PublisherTranscript
from podinsight.domain.work import Lease, Span, State
from podinsight.errors import LeaseLost
from podinsight.ports import Demand, StageCount
from podinsight.topology import STAGES
from tests.support.rows import FILES, LEASE_SECONDS, PARAMS, TOOK, Rows, audio, plan_folder, snapshot, spans

ASKED = (State.HELD, "waits for approval")
NO_PLAN = (State.HELD, "waits for its plan")
NO_AUDIO = (State.HELD, "waits for its audio")


def stands(rows: Rows, episode_id: str) -> tuple[State, str]:
    return rows.store.work.states("transcribe", [episode_id])[episode_id]


def said_by_publisher() -> FetchedAudio:
    found = PublisherTranscript("raw/a/transcripts/0.vtt", "https://h.test/0.vtt", "text/vtt", "en", accepted=True)
    return replace(audio(), publisher=(found,))


def fetch(rows: Rows, episode_id: str, received: FetchedAudio) -> None:
    rows.work.commit_fetch(rows.claim(episode_id, worker=rows.worker()), received, 1.0)
    rows.project("fetch", episode_id)


def ended(rows: Rows, episode_id: str, state: State, reason: str) -> None:
    rows.work.end(rows.claim(episode_id, "plan", rows.worker("p1", "plan", 1)), state, reason)


def test_what_nobody_approved_costs_nothing_and_wants_no_worker(rows: Rows) -> None:
    """T2: unapproved work is held, and counts for no demand."""
    fetched, later = rows.fetches(2, transcribe=True, approved="")
    assert stands(rows, fetched) == NO_AUDIO
    assert rows.store.work.waiting_for_approval() == [fetched, later]
    rows.fetch(fetched)
    assert stands(rows, fetched) == ASKED
    assert rows.store.work.waiting_for_approval() == [fetched, later]
    assert rows.store.work.states("plan", [fetched]) == {}
    assert {rows.work.demand(stage) for stage in ("plan", "transcribe")} == {Demand(0, 0, 0.0)}
    assert rows.work.dispatch("plan", 5) == rows.work.dispatch("chunk", 5) == []
    assert rows.work.claim("transcribe", fetched, rows.worker("g1", "gpu"), 90) is None

    assert rows.work.approve("ada") == 1, "the other waits for its audio, too"
    assert (stands(rows, fetched), stands(rows, later)) == (NO_PLAN, NO_AUDIO)
    assert rows.work.approve("bob") == 0
    rows.fetch(later)
    assert stands(rows, later) == NO_PLAN
    for episode_id in (fetched, later):
        rows.plan(episode_id)
        assert rows.claim(episode_id, "transcribe", "g1").params["approved"] == "ada"


def test_only_those_that_are_named_are_approved(rows: Rows) -> None:
    ids = rows.episodes(4)
    rows.work.enqueue_transcribe(ids, 5, PARAMS)
    rows.work.enqueue_fetch(ids, 5, None)
    for episode_id in ids:
        rows.fetch(episode_id)
    assert rows.work.approve("ada", [ids[2], ids[0], ids[2], "no such episode"]) == 2
    assert [stands(rows, each) for each in ids] == [NO_PLAN, ASKED, NO_PLAN, ASKED]
    assert rows.store.work.waiting_for_approval() == [ids[1], ids[3]]
    with pytest.raises(ValueError, match="whose"):
        rows.work.approve("")


def test_who_asks_with_an_approval_is_not_asked_again(rows: Rows) -> None:
    (episode_id,) = rows.fetches(1)
    rows.fetch(episode_id)
    assert rows.work.enqueue_transcribe([episode_id], 9, PARAMS, "a rule") == 1
    assert stands(rows, episode_id) == NO_PLAN
    assert rows.store.work.waiting_for_approval() == []


def test_who_approves_while_the_audio_arrives_is_heard(rows: Rows, another: Callable[[], SqlStore]) -> None:
    """Whichever is first, each does what is left to do."""
    first, second = rows.fetches(2, transcribe=True, approved="")
    other = another()
    rows.fetch(first)
    assert other.work.approve("ada", [first, second]) == 1
    rows.fetch(second)
    assert (stands(rows, first), stands(rows, second)) == (NO_PLAN, NO_PLAN)


@pytest.mark.parametrize("ask", ["_waiting", "_how_many"])
def test_the_approvals_are_found_by_their_index(store: SqlStore, ask: str) -> None:
    """However many rows are held for something else."""
    query = str(getattr(store.work, ask)().compile(store.db.engine))
    query = str(store.work._waiting().compile(store.db.engine))
    with store.db.read() as conn:
        if not store.db.is_sqlite:
            conn.execute(text("SET LOCAL enable_seqscan = off"))  # it reads small tables whole
        said = conn.execute(text(f"EXPLAIN {'QUERY PLAN' if store.db.is_sqlite else ''} {query}"))
        assert "ix_work_unapproved" in " ".join(str(row) for row in said)


@pytest.mark.parametrize("approved", ["", "ada"])
def test_the_publishers_words_need_neither_approval_nor_plan(rows: Rows, approved: str) -> None:
    """F12: one chunk of all, at once, whether it is enqueued before the fetch or after it."""
    before, after = rows.fetches(1, transcribe=True, approved=approved)[0], rows.fetches(1)[0]
    for episode_id in (before, after):
        fetch(rows, episode_id, said_by_publisher())
    rows.work.enqueue_transcribe([after], 5, PARAMS, approved)
    rows.worker("g1", "gpu")
    for episode_id in (before, after):
        assert stands(rows, episode_id) == (State.WAITING, "")
        assert rows.claim(episode_id, "transcribe", "g1").span == Span(0, 0.0, None)
    assert rows.store.work.states("plan", [before, after]) == {}


@pytest.mark.parametrize("approved", ["", "ada"])
def test_words_that_cannot_be_used_are_decoded_instead(rows: Rows, approved: str) -> None:
    (episode_id,) = rows.fetches(1, transcribe=True, approved=approved)
    fetch(rows, episode_id, said_by_publisher())
    lease = rows.claim(episode_id, "transcribe", rows.worker("g1", "gpu"))
    rows.work.decode_instead(lease)
    assert stands(rows, episode_id) == (NO_PLAN if approved else ASKED)
    before = snapshot(rows.store)
    with pytest.raises(LeaseLost):
        rows.work.decode_instead(lease)
    assert snapshot(rows.store) == before
    rows.work.approve("ada")
    rows.plan(episode_id, 2)
    assert rows.claim(episode_id, "transcribe", "g1").params["publisher"] is False
    rows.work.expire_worker("g1")
    rows.transcribe(episode_id)
    assert rows.state(episode_id, "transcribe") is State.DONE


def test_a_plan_makes_the_chunks(rows: Rows) -> None:
    (episode_id,) = rows.fetches(1, transcribe=True)
    rows.fetch(episode_id)
    (ticket,) = rows.work.dispatch("plan", 5)
    assert (ticket.stage, ticket.episode_id) == ("plan", episode_id)
    lease = rows.commit_plan(episode_id, 3)
    assert (lease.kind, lease.span) == ("work", None)
    assert rows.store.work.states("plan", [episode_id]) == {episode_id: (State.RUNNING, "publishing")}
    assert stands(rows, episode_id) == (State.WAITING, "")
    (projection,) = rows.store.work.unprojected(5)
    episode = projection.episode
    assert projection.copies == ((f"{plan_folder(lease)}/plan.json", episode.plan_name),)
    assert (projection.stage, projection.scratch) == ("plan", ())
    assert rows.work.projected(projection)
    assert not rows.work.projected(projection)
    assert rows.store.catalogue.episode(episode_id) == episode
    rows.worker("g1", "gpu")
    found = [rows.claim(episode_id, "transcribe", "g1") for _ in range(3)]
    assert [each.span for each in found] == spans(3)
    assert {each.params["plan"] for each in found} == {plan_folder(lease)}
    with pytest.raises(LeaseLost):
        rows.work.commit_plan(lease, "elsewhere", spans(9), 1.0)


@pytest.mark.parametrize("state", [State.FAILED, State.REFUSED])
@pytest.mark.parametrize("retried", ["plan", "transcribe", None])
def test_a_plan_that_fails_fails_the_transcription(rows: Rows, state: State, retried: str | None) -> None:
    episode_id, other = rows.fetches(2, transcribe=True)
    for each in (episode_id, other):
        rows.fetch(each)
    ended(rows, episode_id, state, "unreadable")
    assert stands(rows, episode_id) == (state, "no plan: unreadable")
    assert stands(rows, other) == NO_PLAN
    assert rows.work.retry_failed("fetch", None) == 0
    assert rows.work.retry_failed(retried, None) == (2 if retried is None else 1)
    assert stands(rows, episode_id) == NO_PLAN
    lease = rows.claim(episode_id, "plan", "p1")
    assert (lease.attempts, lease.losses) == (0, 0)
    rows.work.hand_back(lease)
    rows.plan(episode_id)
    rows.worker("g1", "gpu")
    rows.transcribe(episode_id)
    assert stands(rows, episode_id) == (State.DONE, "")


def test_a_plan_past_its_losses_sets_the_episode_aside(rows: Rows) -> None:
    (episode_id,) = rows.fetches(1, transcribe=True)
    rows.fetch(episode_id)
    rows.worker("p1", "plan", 1)
    leases = []
    for _ in range(STAGES["plan"].max_losses + 1):
        rows.wait_out()
        leases.append(rows.claim(episode_id, "plan", "p1"))
        rows.expire()
    state, reason = stands(rows, episode_id)
    assert (state, "no plan: set aside" in reason) == (State.FAILED, True)
    left = [each.prefix for each in rows.work.leftovers(1e18, 99)]
    assert left == [f"stage/a/a-0/chunks/{lease.token}" for lease in leases]


@pytest.mark.parametrize("running", range(3))
def test_a_plan_that_is_gone_before_it_has_its_name_is_made_again(rows: Rows, running: int) -> None:
    (episode_id,) = rows.fetches(1, transcribe=True)
    rows.fetch(episode_id)
    rows.worker("g1", "gpu")
    for turn in range(STAGES["plan"].max_losses + 1):
        assert rows.commit_plan(episode_id, 3).losses == turn
        leases = [rows.claim(episode_id, "transcribe", "g1") for _ in range(running)]
        (projection,) = rows.store.work.unprojected(5, "plan")
        assert rows.work.redo(projection, "its plan is gone")
        assert not rows.work.redo(projection, "twice")
        for lease in leases:
            with pytest.raises(LeaseLost):
                rows.work.renew(lease, 90)
        assert rows.store.work.parts(episode_id) == []
    assert "its plan is gone" in stands(rows, episode_id)[1]
    assert rows.state(episode_id, "transcribe") is State.FAILED
    assert rows.work.retry_failed(None, None) == 2
    rows.plan(episode_id, 2)
    rows.transcribe(episode_id)
    assert rows.state(episode_id, "transcribe") is State.DONE


@pytest.mark.parametrize("done", [1, 2, 3])
def test_a_plan_that_is_gone_takes_no_decoded_chunk_along(rows: Rows, done: int) -> None:
    """What was paid for stays; the others are decoded as they were cut."""
    (episode_id,) = rows.fetches(1, transcribe=True)
    rows.fetch(episode_id)
    rows.worker("g1", "gpu")
    rows.commit_plan(episode_id, 3)
    leases = [rows.claim(episode_id, "transcribe", "g1") for _ in range(3)]
    joins = [rows.work.commit_chunk(lease, "part", TOOK, LEASE_SECONDS) for lease in leases[:done]]
    (projection,) = rows.store.work.unprojected(5, "plan")
    assert rows.work.redo(projection, "its plan is gone")
    assert rows.store.work.unprojected(5, "plan") == []
    joins += [rows.work.commit_chunk(lease, "part", TOOK, LEASE_SECONDS) for lease in leases[done:]]
    assert joins[-1] is not None
    rows.work.commit_transcript(joins[-1], FILES)
    rows.project("transcribe", episode_id)
    assert stands(rows, episode_id) == (State.DONE, "")
    assert rows.state(episode_id, "plan") is State.DONE


def test_a_plan_that_nobody_needs_any_more_is_not_made_again(rows: Rows) -> None:
    (episode_id,) = rows.fetches(1, transcribe=True)
    rows.fetch(episode_id)
    rows.worker("g1", "gpu")
    rows.commit_plan(episode_id)
    rows.transcribe(episode_id)
    (projection,) = rows.store.work.unprojected(5)
    assert projection.stage == "plan"
    assert rows.work.redo(projection, "its plan is gone")
    assert rows.store.work.counts() == [StageCount(stage, State.DONE, 1) for stage in STAGES]
    assert rows.store.work.unprojected(5) == []


def test_what_a_plan_wrote_for_nobody_is_swept(rows: Rows) -> None:
    """The transcript was adopted from an archive while its episode was planned."""
    (episode_id,) = rows.fetches(1, transcribe=True)
    rows.fetch(episode_id)
    lease = rows.claim(episode_id, "plan", rows.worker("p1", "plan", 1))
    rows.work.end(rows.claim(rows.transcribes(1, feed="b")[0], "transcribe", "g1"), State.FAILED, "another's")
    with rows.store.db.write() as conn:
        conn.execute(text("UPDATE work SET state = 'failed' WHERE stage = 'transcribe'"))
        conn.execute(text("UPDATE lanes SET n_failed = n_failed + n_held, n_held = 0 WHERE stage = 'transcribe'"))
    rows.work.commit_plan(lease, plan_folder(lease), spans(2), 1.0)
    assert f"{plan_folder(lease)}/" in [each.prefix for each in rows.work.leftovers(1e18, 99)]


def test_control_stops_planning_but_a_frozen_gpu_does_not(rows: Rows) -> None:
    (episode_id,) = rows.fetches(1, transcribe=True)
    rows.fetch(episode_id)
    rows.worker("p1", "plan", 1)
    rows.store.control.write(Control(Mode.PAUSED, by="me", why="test"))
    assert rows.work.dispatch("plan", 5) == []
    assert rows.work.claim("plan", episode_id, "p1", 90) is None
    rows.store.control.write(Control(Mode.RUNNING, gpu_frozen=True, by="me", why="test"))
    assert len(rows.work.dispatch("plan", 5)) == 1
    rows.plan(episode_id)
    assert rows.work.dispatch("chunk", 5) == []


def test_demand_counts_what_runs_and_what_may_run(rows: Rows) -> None:
    """Runnable and leased chunks, and the audio in them; delayed, held and failed ones want no worker."""
    one, two = rows.fetches(2, transcribe=True)
    for episode_id in (one, two):
        rows.fetch(episode_id)
    assert rows.work.demand("plan") == Demand(2, 0, 120.0)
    assert rows.work.demand("transcribe") == Demand(0, 0, 0.0)
    rows.plan(one, 4)
    assert rows.work.demand("plan") == Demand(1, 0, 60.0)
    assert rows.work.demand("transcribe") == Demand(4, 0, 240.0)
    assert len(rows.work.dispatch("chunk", 2)) == 2
    rows.worker("g1", "gpu")
    assert rows.work.demand("transcribe") == Demand(2, 2, 240.0)
    leases = [rows.claim(one, "transcribe", "g1") for _ in range(3)]
    assert rows.work.demand("transcribe") == Demand(1, 3, 240.0)
    rows.work.commit_chunk(leases[0], "part", TOOK, LEASE_SECONDS)
    rows.work.delay(leases[1], "no memory", 10)
    assert rows.work.demand("transcribe") == Demand(1, 1, 120.0)
    rows.work.end(leases[2], State.FAILED, "unreadable")
    assert rows.work.demand("transcribe") == Demand(0, 0, 0.0)
    rows.work.retry_failed("transcribe", None)
    assert rows.work.demand("transcribe") == Demand(3, 0, 180.0)
    assert rows.work.demand("fetch") == Demand(0, 0, 0.0)


def test_what_a_chunk_took_is_added_to_the_figures_of_the_day(rows: Rows) -> None:
    (episode_id,) = rows.transcribes(1, 2)
    rows.transcribe(episode_id)
    (speed,) = rows.store.speech.speeds("1970-01-01", TOOK.model, TOOK.device)
    assert speed.audio_seconds == 2 * TOOK.audio_seconds


def commit(rows: Rows, lease: Lease) -> Lease | None:
    assert lease.span is not None
    return rows.work.commit_chunk(lease, f"part-{lease.span.n}", TOOK, LEASE_SECONDS)


def test_several_workers_share_the_chunks_of_one_episode(rows: Rows) -> None:
    """Whoever commits the last joins, whichever it is."""
    workers = ["g1", "g2", "g3"]
    orders = list(permutations(range(3)))
    for episode_id, order in zip(rows.transcribes(len(orders), 3), orders, strict=True):
        for worker in workers:
            rows.worker(worker, "gpu", 1)
        leases = [rows.claim(episode_id, "transcribe", worker) for worker in workers]
        joins = [commit(rows, leases[n]) for n in order]
        assert [join and join.worker for join in joins] == [None, None, workers[order[-1]]]
        assert joins[-1] is not None
        rows.work.commit_transcript(joins[-1], FILES)


def test_earlier_episodes_end_first_and_free_slots_help_with_long_ones(rows: Rows) -> None:
    """Within a feed the chunks go in the order of its episodes; another feed's turn comes in between."""
    long, short = rows.transcribes(1, 4)[0], rows.transcribes(1, 1)[0]
    other = rows.transcribes(1, 2, feed="b")[0]
    served: list[str] = []
    while tickets := rows.work.dispatch("chunk", 2):
        served += [ticket.episode_id for ticket in tickets]
        for ticket in tickets:
            join = commit(rows, rows.claim(ticket.episode_id, "transcribe", "g1"))
            if join is not None:
                rows.work.commit_transcript(join, FILES)
    assert [each for each in served if each != other] == [long] * 4 + [short]
    assert other in served[:2] + served[2:3], "a long episode does not keep another feed waiting"
    assert served.index(other) < 4


def test_an_episode_that_is_alone_gets_every_slot(rows: Rows) -> None:
    (episode_id,) = rows.transcribes(1, 5)
    assert [ticket.episode_id for ticket in rows.work.dispatch("chunk", 4)] == [episode_id] * 4
