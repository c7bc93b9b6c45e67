"""Cleaning: what lost attempts left behind is swept once no writer can wake, and nothing else is."""

from typing import cast

from podinsight.adapters.database import SqlStore
from podinsight.domain.work import State
from podinsight.errors import Permanent, Refused, Transient
from podinsight.ports import ObjectStore
from podinsight.services.clean import CleanReport, clean
from tests.support.rows import Rows

HOUR = 3600.0


class Sweeping:
    """An object store of which only `sweep` is asked; it raises what it is told to, by prefix."""

    def __init__(self, faults: dict[str, Exception]) -> None:
        self.faults = faults
        self.swept: list[str] = []

    def sweep(self, prefix: str) -> int:
        if prefix in self.faults:
            raise self.faults[prefix]
        self.swept.append(prefix)
        return 1


def lose(rows: Rows, episode_id: str) -> str:
    """A worker dies in the midst of a fetch; the prefix of what it wrote."""
    lease = rows.claim(episode_id, worker=rows.worker())
    episode = rows.store.catalogue.episode(episode_id)
    assert episode is not None
    rows.work.expire_worker("w1")
    return f"{episode.attempts('fetch')}/{lease.token}"


def prefixes(store: SqlStore) -> list[str]:
    return [each.prefix for each in store.work.leftovers(1e18, 99)]


def test_a_lost_attempt_is_swept_after_an_hour_and_what_lives_stays(rows: Rows, objects: ObjectStore) -> None:
    (episode_id,) = rows.fetches(1)
    lost = lose(rows, episode_id)
    lease = rows.claim(episode_id)
    episode = rows.store.catalogue.episode(episode_id)
    assert episode is not None
    alive = f"{episode.attempts('fetch')}/{lease.token}"
    for key in (lost, f"{lost}.0.vtt", alive):
        objects.put(key, b"x")
    rows.clock.advance(HOUR - 1)
    assert clean(rows.store, objects, rows.clock, HOUR) == CleanReport(0, 0, ())
    assert objects.exists(lost)
    rows.clock.advance(2)
    assert clean(rows.store, objects, rows.clock, HOUR) == CleanReport(1, 2, ())
    assert [objects.exists(key) for key in (lost, f"{lost}.0.vtt", alive)] == [False, False, True]
    assert prefixes(rows.store) == []
    assert rows.store.control.ticks()["clean"] == rows.clock.now()


def test_a_failed_fetch_leaves_nothing_for_ever(rows: Rows, objects: ObjectStore) -> None:
    (episode_id,) = rows.fetches(1)
    lease = rows.claim(episode_id, worker=rows.worker())
    key = f"raw/a/a-0/attempts/{lease.token}"
    objects.put(key, b"half")
    rows.work.end(lease, State.FAILED, "ZeroDivisionError")
    rows.clock.advance(HOUR + 1)
    assert clean(rows.store, objects, rows.clock, HOUR).objects == 1
    assert not objects.exists(key)


def test_one_that_cannot_be_swept_keeps_no_other_from_it(rows: Rows) -> None:
    ids = rows.fetches(4)
    names = [lose(rows, episode_id) for episode_id in ids]
    store = Sweeping({names[0]: Permanent("no"), names[1]: Refused("a bad key"), names[2]: OSError("denied")})
    rows.clock.advance(HOUR + 1)
    report = clean(rows.store, cast(ObjectStore, store), rows.clock, HOUR)
    assert (report.prefixes, report.objects, len(report.faults)) == (2, 1, 3)
    assert store.swept == [names[3]]
    assert prefixes(rows.store) == [names[0], names[2]]


def test_a_store_that_is_away_is_asked_once(rows: Rows) -> None:
    names = [lose(rows, episode_id) for episode_id in rows.fetches(3)]
    store = Sweeping({name: Transient("the store is away", ours=True) for name in names[1:]})
    rows.clock.advance(HOUR + 1)
    report = clean(rows.store, cast(ObjectStore, store), rows.clock, HOUR)
    assert (report.prefixes, report.faults) == (1, ("the store is away",))
    assert prefixes(rows.store) == names[1:]
