"""What was done to the size of a pool stays on record, on every database (G6, G7)."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from podinsight.adapters.database import SqlStore, registry
from podinsight.adapters.local_fleet import LocalFleet
from podinsight.domain.fleet import Change, FleetEvent
from tests.conftest import STALE_SECONDS
from tests.support.clock import ManualClock

WORD = ("ada", "drill")


def short(store: SqlStore, pool: str = "gpu", limit: int = 99) -> list[tuple[str, int, int]]:
    """The oldest first."""
    return [(each.what.value, each.before, each.after) for each in reversed(store.workers.changes(pool, limit))]


def test_every_change_of_a_size_is_there_with_who_and_why(store: SqlStore, clock: ManualClock) -> None:
    """G6, G7: opened, shut and sized; the reason of a stop outlives the start."""
    assert store.workers.changes("gpu", 9) == []
    began = clock.now()
    store.workers.set_desired("gpu", 2, "cost guard", "6 episodes wait")
    clock.advance(1)
    store.workers.shut("gpu", 4, "over the holidays", "ada")
    clock.advance(1)
    assert store.workers.open("gpu", 2, "bob", "back\0 again")
    store.workers.register("g1", "here", "gpu", 1, 1)
    assert store.workers.retire("g1", shrink=True, by="cost guard", why="idle")
    assert store.workers.changes("gpu", 9) == [
        FleetEvent(began + 2, Change.SIZED, "gpu", 2, 1, "cost guard", "idle"),
        FleetEvent(began + 2, Change.OPENED, "gpu", 0, 2, "bob", "back again"),
        FleetEvent(began + 1, Change.SHUT, "gpu", 2, 0, "ada", "over the holidays"),
        FleetEvent(began, Change.SIZED, "gpu", 0, 2, "cost guard", "6 episodes wait"),
    ]
    assert [each.by for each in store.workers.changes("gpu", 1)] == ["cost guard"]
    assert store.workers.changes("fetch", 9) == []


def test_what_changes_nothing_is_no_event(store: SqlStore) -> None:
    store.workers.set_desired("gpu", 0, *WORD)
    assert store.workers.desired() == {"gpu": 0}
    assert not store.workers.open("gpu", 3, *WORD)
    store.workers.set_desired("gpu", 1, *WORD)
    store.workers.set_desired("gpu", 1, *WORD)
    for name in ("g1", "g2", "g3"):
        store.workers.register(name, "here", "gpu", 1, 1)
    assert store.workers.retire("g1", by="ada", why="no shrink")
    assert store.workers.retire("g2", shrink=True)
    assert store.workers.retire("g2", shrink=True), "twice"
    assert store.workers.retire("g3", shrink=True), "of none wanted none can be taken"
    store.workers.shut("gpu", 4, "first")
    store.workers.shut("gpu", 4, "second")
    store.workers.set_desired("gpu", 4, *WORD)
    assert short(store) == [("sized", 0, 1), ("sized", 1, 0), ("shut", 0, 0)]
    assert store.workers.desired() == {"gpu": 0}


@pytest.mark.parametrize("change", ["set_desired", "shut", "open", "retire"])
def test_no_change_without_its_event(store: SqlStore, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """They are one transaction."""
    store.workers.set_desired("gpu", 2)
    store.workers.register("g1", "here", "gpu", 1, 1)
    if change == "open":
        store.workers.shut("gpu", 4, "x")
    calls: dict[str, Callable[[], object]] = {
        "set_desired": lambda: store.workers.set_desired("gpu", 3),
        "shut": lambda: store.workers.shut("gpu", 4, "x"),
        "open": lambda: store.workers.open("gpu", 1),
        "retire": lambda: store.workers.retire("g1", shrink=True),
    }

    def cut_off(*_: object) -> None:
        raise RuntimeError("cut off")

    before = store.workers.pools(), store.workers.list(), short(store)
    with monkeypatch.context() as patch:
        patch.setattr(registry, "record_change", cut_off)
        with pytest.raises(RuntimeError):
            calls[change]()
    assert (store.workers.pools(), store.workers.list(), short(store)) == before
    calls[change]()
    assert len(short(store)) == len(before[2]) + 1


def test_the_sizes_of_those_who_race_are_one_chain(another: Callable[[], SqlStore], store: SqlStore) -> None:
    """Each change begins at what the one before it left, whoever did it."""
    stores = [another() for _ in range(4)]

    def resize(number: int) -> None:
        for turn in range(5):
            stores[number].workers.set_desired("gpu", 1 + (turn + number) % 4, str(number))

    with ThreadPoolExecutor(len(stores)) as threads:
        list(threads.map(resize, range(len(stores))))
    found = short(store)
    sizes = [0, *(after for _what, _before, after in found)]
    assert [before for _what, before, _after in found] == sizes[:-1]
    assert store.workers.desired()["gpu"] == sizes[-1]


def test_the_local_fleet_says_who_and_why(store: SqlStore, clock: ManualClock) -> None:
    """G6: what is ordered of the fleet is what is on record; a snapshot keeps both as its reason."""
    fleet = LocalFleet(store, clock, 4, STALE_SECONDS)
    fleet.scale(9, "cost guard", "much to do")
    for name in ("g1", "g2"):
        store.workers.register(name, "here", "gpu", 1, 1)
    fleet.stop(["g1"], "cost guard", "idle")
    zeroed = fleet.zero("a drill", "ada")
    assert zeroed.snapshot.reason == "ada: a drill"
    fleet.resume(zeroed.snapshot, "bob", "over")
    fleet.resume(zeroed.snapshot, "bob", "twice")
    assert [(each.what.value, each.after, each.by, each.why) for each in store.workers.changes("gpu", 9)] == [
        ("opened", 3, "bob", "over"),
        ("shut", 0, "ada", "a drill"),
        ("sized", 3, "cost guard", "idle"),
        ("sized", 4, "cost guard", "much to do"),
    ]
