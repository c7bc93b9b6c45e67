"""Workers, desired pools, control and ticks; the store itself."""

from collections.abc import Callable
from pathlib import Path

import pytest

from podinsight.adapters.database import SqlStore, open_store
from podinsight.domain.control import Control, Mode
from podinsight.errors import ConfigError, Unavailable
from podinsight.ports import LeaseHolder, WorkerView
from tests.conftest import LIMITS, STALE_SECONDS
from tests.support.clock import ManualClock
from tests.support.rows import LEASE_SECONDS, Rows


def test_a_worker_is_ready_once_it_is_registered(store: SqlStore, clock: ManualClock) -> None:
    store.workers.register("w1", "here", "fetch", 11, 4)
    store.workers.register("w2", "there", "gpu", 22, 1)
    assert store.workers.list("here") == [WorkerView("w1", "here", "fetch", 11, 4, "ready", clock.now(), clock.now())]
    clock.advance(5)
    assert store.workers.heartbeat("w1") == "ready"
    store.workers.register("w2", "there", "gpu", 33, 2)
    listed = {view.id: view for view in store.workers.list()}
    assert (listed["w1"].heartbeat_at, listed["w1"].started_at) == (clock.now(), clock.now() - 5)
    assert (listed["w2"].pid, listed["w2"].slots) == (33, 2)
    assert store.workers.heartbeat("nobody") is None


@pytest.mark.parametrize("state", ["draining", "dead"])
def test_who_was_told_to_go_stays_so(store: SqlStore, state: str) -> None:
    store.workers.register("w1", "here", "fetch", 11, 4)
    store.workers.mark("w1", state)
    store.workers.register("w1", "here", "fetch", 11, 4)
    assert store.workers.heartbeat("w1") == state
    assert store.workers.live_slots("fetch") == 0
    assert [view.state for view in store.workers.list()] == ([] if state == "dead" else [state])
    store.workers.mark("w1", "dead")
    store.workers.mark("w1", "draining")
    assert store.workers.heartbeat("w1") == "dead"


def test_only_slots_with_a_heartbeat_count(store: SqlStore, clock: ManualClock) -> None:
    assert store.workers.live_slots("fetch") == 0
    store.workers.register("w1", "here", "fetch", 1, 4)
    store.workers.register("g1", "here", "gpu", 2, 1)
    clock.advance(STALE_SECONDS)
    store.workers.register("w2", "here", "fetch", 3, 10)
    assert store.workers.live_slots("fetch") == 14
    clock.advance(1)
    assert store.workers.live_slots("fetch") == 10
    store.workers.heartbeat("w1")
    assert store.workers.live_slots("fetch") == 14
    assert store.workers.live_slots("gpu") == 0


def test_the_long_dead_are_forgotten(store: SqlStore, clock: ManualClock) -> None:
    for name in ("dead", "fresh", "alive"):
        store.workers.register(name, "here", "fetch", 1, 1)
    store.workers.mark("dead", "dead")
    clock.advance(100)
    store.workers.heartbeat("fresh")
    store.workers.mark("fresh", "dead")
    store.workers.forget_dead(50)
    assert [store.workers.heartbeat(name) for name in ("dead", "fresh", "alive")] == [None, "dead", "ready"]


def test_machines_with_workers_that_are_heard_of_and_how_many_of_a_pool_each_has(
    store: SqlStore, clock: ManualClock
) -> None:
    """G6: what is shared out among machines. A machine whose workers drain, are dead or are silent is not there."""
    for name, machine, pool in (("f1", "a", "fetch"), ("g1", "b", "gpu"), ("g2", "b", "gpu"), ("g3", "c", "gpu")):
        store.workers.register(name, machine, pool, 1, 1)
    clock.advance(1)
    store.workers.expect("g4", "b", "gpu", 2)
    for name, state in (("drains", "draining"), ("died", "dead")):
        store.workers.register(name, name, "gpu", 1, 1)
        store.workers.mark(name, state)
    assert store.workers.spread("gpu") == {"a": 0, "b": 3, "c": 1}
    store.workers.mark("g1", "draining")
    clock.advance(STALE_SECONDS - 1)
    store.workers.heartbeat("f1")
    assert store.workers.spread("gpu") == {"a": 0, "b": 2, "c": 1}
    clock.advance(1)
    assert store.workers.spread("gpu") == {"a": 0, "b": 1}


def test_a_long_worker_name_fits(store: SqlStore) -> None:
    name = "gpu-" + "pod-" * 50
    store.workers.register(name, "m" * 253, "gpu", 1, 1)
    assert store.workers.heartbeat(name) == "ready"


def test_desired_pools_are_kept(store: SqlStore) -> None:
    assert store.workers.desired() == {}
    store.workers.set_desired("fetch", 2)
    store.workers.set_desired("gpu", 0)
    store.workers.set_desired("fetch", 3)
    assert store.workers.desired() == {"fetch": 3, "gpu": 0}


def test_control_is_the_newest_word(store: SqlStore, another: Callable[[], SqlStore], clock: ManualClock) -> None:
    assert store.control.read() == Control()
    store.control.write(Control(Mode.PAUSED, gpu_frozen=True, economy=True, by="ann", at=1.0, why="tests"))
    assert another().control.read() == Control(Mode.PAUSED, True, True, "ann", clock.now(), "tests")
    store.control.write(Control(by="bob"))
    assert another().control.read() == Control(by="bob", at=clock.now())


def test_ticks_say_when_periodic_work_ran(store: SqlStore, clock: ManualClock) -> None:
    store.control.tick("poll_feeds")
    clock.advance(3)
    store.control.tick("reconcile")
    assert store.control.ticks() == {"poll_feeds": clock.now() - 3, "reconcile": clock.now()}
    store.control.tick("poll_feeds")
    assert store.control.ticks()["poll_feeds"] == clock.now()


def test_ping_and_close(store: SqlStore) -> None:
    store.ping()


def test_a_database_that_is_none_is_unavailable(clock: ManualClock, tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database at all, but long enough to be read as one\n" * 20)
    (tmp_path / "folder.db").mkdir()
    for url in (
        f"sqlite:///{tmp_path}/text.db",
        f"sqlite:///{tmp_path}/folder.db",
        "postgresql+psycopg://ann:secret@127.0.0.1:9/podinsight",
    ):
        with pytest.raises(Unavailable) as caught:
            open_store(url, clock, LIMITS, STALE_SECONDS)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["nonsense://ann:secret@host/db", "ann:secret", "postgresql+nodriver://ann:secret@h/d"])
def test_a_database_url_that_cannot_be_used_is_refused(clock: ManualClock, url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_store(url, clock, LIMITS, STALE_SECONDS)
    assert "secret" not in str(caught.value)


def test_lease_holders_and_since_when_the_newest_lease_is_held(rows: Rows) -> None:
    """G5: a chunk that was begun is progress, a lease that is renewed is none."""
    ids = rows.transcribes(2)
    assert rows.work.lease_holders() == {}
    began = rows.clock.now()
    first = rows.claim(ids[0], "transcribe", "g1")
    rows.clock.advance(9)
    rows.work.renew(first, LEASE_SECONDS)
    assert rows.work.lease_holders() == {"g1": LeaseHolder(1, began)}
    second = rows.claim(ids[1], "transcribe", "g1")
    assert rows.work.lease_holders() == {"g1": LeaseHolder(2, began + 9)}
    (other,) = rows.fetches(1, feed="b")
    rows.clock.advance(1)
    rows.claim(other)
    for lease in (first, second):
        rows.work.hand_back(lease)
    assert rows.work.lease_holders() == {"w1": LeaseHolder(1, began + 10)}
