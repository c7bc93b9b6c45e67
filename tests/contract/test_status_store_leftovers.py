"""Leftovers: what a lost attempt may have written is noted with its loss, and only that."""

from podinsight.domain.work import Lease, State
from podinsight.ports import Leftover
from tests.support.rows import LEASE_SECONDS, TOOK, Rows


def noted(rows: Rows) -> list[str]:
    return [each.prefix for each in rows.work.leftovers(1e18, 99)]


def raw(lease: Lease, name: str = "a-0") -> str:
    return f"raw/a/{name}/attempts/{lease.token}"


def test_each_loss_of_a_fetch_notes_its_attempt(rows: Rows) -> None:
    (episode_id,) = rows.fetches(1)
    first = rows.claim(episode_id, worker=rows.worker())
    rows.expire()
    second = rows.claim(episode_id)
    rows.work.expire_worker("w1")
    assert noted(rows) == [raw(first), raw(second)]


def test_what_ends_well_leaves_nothing(rows: Rows) -> None:
    one, two, three = rows.fetches(3)
    rows.worker()
    rows.fetch(one)
    rows.work.hand_back(rows.claim(two))
    rows.work.delay(rows.claim(three), "the gate is busy", 10, attempted=False)
    rows.clock.advance(10)
    rows.work.dispatch("fetch", 9)
    rows.clock.advance(61)
    assert rows.work.reconcile(60).unclaimed == 2  # nobody had claimed them: there is no attempt
    assert noted(rows) == []


def test_an_attempt_that_went_wrong_is_noted(rows: Rows) -> None:
    """What an unexpected error leaves is not deleted by whoever met it: the commit may have happened."""
    one, two, three = rows.fetches(3)
    rows.worker()
    delayed, failed = rows.claim(one), rows.claim(two)
    rows.work.delay(delayed, "503", 10)
    rows.work.end(failed, State.FAILED, "404")
    rows.work.end(rows.claim(three), State.REFUSED, "private address")
    assert noted(rows) == [raw(delayed), raw(failed, "a-1")]


def test_chunks_and_joins_note_their_own_names(rows: Rows) -> None:
    (episode_id,) = rows.transcribes(1, chunks=2)
    first = rows.claim(episode_id, "transcribe", "g1")
    rows.work.expire_worker("g1")
    rows.work.commit_chunk(rows.claim(episode_id, "transcribe", "g1"), "part-0", TOOK, LEASE_SECONDS)
    second = rows.claim(episode_id, "transcribe", "g1")
    rows.expire()
    join = rows.work.commit_chunk(rows.claim(episode_id, "transcribe", "g1"), "part-1", TOOK, LEASE_SECONDS)
    assert join is not None
    rows.work.expire_worker("g1")
    folder = "stage/a/a-0"
    assert noted(rows) == [
        f"{folder}/parts/0.{first.token}",
        f"{folder}/parts/1.{second.token}",
        f"{folder}/attempts/{join.token}",
    ]


def test_they_are_given_oldest_first_and_forgotten_once_swept(rows: Rows) -> None:
    ids = rows.fetches(4)
    rows.worker()
    leases = []
    for episode_id in ids:
        leases.append(rows.claim(episode_id))
        rows.work.expire_worker("w1")
        rows.clock.advance(10)
    now = rows.clock.now()
    assert rows.work.leftovers(now - 40, 9) == []
    found = rows.work.leftovers(now - 15, 2)
    assert [each.prefix for each in found] == [raw(leases[0], "a-0"), raw(leases[1], "a-1")]
    assert len(rows.work.leftovers(now - 15, 9)) == 3
    for _ in range(2):
        rows.work.cleared([*found, Leftover(10**6, "nobody's")])
    rows.work.cleared([])
    assert noted(rows) == [raw(leases[2], "a-2"), raw(leases[3], "a-3")]
