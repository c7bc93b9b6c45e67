"""What was approved because a CPU costs nothing is decoded by no other device (T2)."""

import pytest

from podinsight.domain.quote import FREE_RULE
from podinsight.domain.work import State
from podinsight.ports import Demand
from tests.support.rows import FILES, LEASE_SECONDS, TOOK, Rows

ASKED = (State.HELD, "waits for approval")


def worker(rows: Rows, name: str, device: str) -> str:
    rows.store.workers.register(name, "machine", "gpu", 1, 1, device)
    return name


def planned(rows: Rows, chunks: int = 2, approved: str = FREE_RULE) -> str:
    (episode_id,) = rows.fetches(1, transcribe=True, approved=approved)
    rows.fetch(episode_id)
    rows.plan(episode_id, chunks)
    return episode_id


def stands(rows: Rows, episode_id: str) -> tuple[State, str]:
    return rows.state(episode_id, "transcribe"), rows.reason(episode_id, "transcribe")


@pytest.mark.parametrize("device", ["cuda", ""])
@pytest.mark.parametrize("dispatched", [0, 1])
def test_a_rented_worker_asks_first(rows: Rows, device: str, dispatched: int) -> None:
    """The fleet wakes up after the approval: nobody said that it may be paid. A device nobody named is priced."""
    episode_id = planned(rows)
    worker(rows, "g1", device)
    rows.work.dispatch("chunk", dispatched)
    assert rows.work.claim("transcribe", episode_id, "g1", LEASE_SECONDS) is None
    assert stands(rows, episode_id) == ASKED
    assert rows.store.work.waiting_for_approval() == [episode_id]
    assert rows.work.demand("transcribe") == Demand(0, 0, 0.0)

    assert rows.work.approve("ada") == 1
    lease = rows.claim(episode_id, "transcribe", "g1")
    assert (lease.params["approved"], lease.span is not None and lease.span.n) == ("ada", 0)
    assert rows.work.demand("transcribe").waiting == 1, "the plan is not made again"


def test_a_cpu_takes_it_and_any_device_what_a_person_approved(rows: Rows) -> None:
    free, paid = planned(rows), planned(rows, approved="ada")
    assert rows.claim(free, "transcribe", worker(rows, "c1", "cpu")).params["approved"] == FREE_RULE
    assert rows.claim(paid, "transcribe", worker(rows, "g1", "cuda")).params["approved"] == "ada"


def test_what_a_cpu_is_at_is_left_to_it(rows: Rows) -> None:
    """Also between two chunks, as long as it was heard of within a lease; then what it made is given up."""
    episode_id = planned(rows, 3)
    worker(rows, "g1", "cuda")
    lease = rows.claim(episode_id, "transcribe", worker(rows, "c1", "cpu"))
    rows.store.workers.mark("c1", "draining")
    assert rows.work.claim("transcribe", episode_id, "g1", LEASE_SECONDS) is None
    assert rows.state(episode_id, "transcribe") is State.RUNNING
    worker(rows, "c2", "cpu")
    rows.work.commit_chunk(lease, "part-0", TOOK, LEASE_SECONDS)
    assert rows.work.claim("transcribe", episode_id, "g1", LEASE_SECONDS) is None
    assert rows.work.parts(episode_id)[0] == "part-0"
    rows.clock.advance(LEASE_SECONDS + 1)
    assert rows.work.claim("transcribe", episode_id, "g1", LEASE_SECONDS) is None
    assert stands(rows, episode_id) == ASKED
    assert rows.work.parts(episode_id) == []


def test_a_join_needs_no_device(rows: Rows) -> None:
    episode_id = planned(rows, 1)
    lease = rows.claim(episode_id, "transcribe", worker(rows, "c1", "cpu"))
    join = rows.work.commit_chunk(lease, "part-0", TOOK, LEASE_SECONDS)
    assert join is not None
    rows.work.hand_back(join)
    rows.store.workers.mark("c1", "dead")
    rows.clock.advance(LEASE_SECONDS + 1)
    rows.work.commit_transcript(rows.claim(episode_id, "transcribe", worker(rows, "g1", "cuda")), FILES)


# ------------------------------------------------------------------------------- what an approval is given for


def test_an_approval_is_for_the_model_that_was_quoted(rows: Rows) -> None:
    ids = rows.fetches(2)
    for episode_id, model in zip(ids, ("tiny.en", "large-v3"), strict=True):
        rows.work.enqueue_transcribe([episode_id], 5, {"model": model})
        rows.fetch(episode_id)
    assert rows.work.approve("ada", ids, dict.fromkeys(ids, "tiny.en")) == 1
    assert rows.store.work.waiting_for_approval() == [ids[1]]
    assert rows.work.approve("ada", ids, {}) == 0
    assert rows.work.approve("ada", ids, {ids[1]: "large-v3"}) == 1


def test_those_that_wait_are_counted_and_found_among_some(rows: Rows) -> None:
    ids = rows.fetches(3, transcribe=True, approved="")
    assert rows.store.work.count_waiting_for_approval() == 3
    rows.work.approve("ada", ids[:1])
    assert rows.store.work.count_waiting_for_approval() == 2
    assert rows.store.work.waiting_for_approval([ids[2], ids[0]]) == [ids[2]]
    assert rows.store.work.waiting_for_approval([]) == []


@pytest.mark.parametrize("end", [State.FAILED, State.REFUSED])
def test_what_has_no_audio_waits_for_no_approval(rows: Rows, end: State) -> None:
    """It fails as those did that were there when the fetch failed, and both start over together."""
    lost, fine = rows.fetches(2)
    rows.work.end(rows.claim(lost, worker=rows.worker()), end, "404")
    rows.work.enqueue_transcribe([lost, fine], 5, {"model": "tiny.en"})
    assert stands(rows, lost) == (end, "no audio: 404")
    assert rows.store.work.waiting_for_approval() == [fine]
    assert rows.work.retry_failed("transcribe", None) == 0, "its fetch is to be started over"
    assert rows.work.retry_failed(None, None) > 0
    assert stands(rows, lost) == (State.HELD, "waits for its audio")
    rows.fetch(lost)
    assert stands(rows, lost) == ASKED
