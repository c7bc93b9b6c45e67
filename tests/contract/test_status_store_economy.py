"""What the sweep asks of the database: meters, dear and held items, long episodes, smaller models (G1, G3, G8)."""

from collections.abc import Callable, Iterator
from dataclasses import asdict

import pytest
from sqlalchemy import select, update

from podinsight.adapters.database import SqlStore
from podinsight.adapters.database.catalogue_tables import episodes
from podinsight.adapters.database.models import work
from podinsight.domain.control import Control, Mode
from podinsight.domain.economy import ASKED, HELD_FOR_ECONOMY
from podinsight.domain.episode import PublisherTranscript
from podinsight.domain.held import WAITS_FOR_TWIN
from podinsight.domain.money import Unit, micros
from podinsight.domain.prices import CUDA
from podinsight.domain.work import Lease, State
from podinsight.errors import LeaseLost
from podinsight.ports import Bearer, Entry
from tests.conftest import LIMITS, STALE_SECONDS
from tests.support.clock import ManualClock
from tests.support.rows import LEASE_SECONDS, TOOK, Rows, snapshot
from tests.support.spending import SECOND, TERMS, Paying, recount_money

DAY = "2023-11-14"


@pytest.fixture
def paying(store: SqlStore, clock: ManualClock) -> Iterator[Paying]:
    yield Paying(SqlStore(store.db, clock, LIMITS, STALE_SECONDS, TERMS), clock)
    recount_money(store)


def idle(ms: int) -> Entry:
    return Entry("idle", "idle", ms, Unit.MILLISECONDS, 3600 * SECOND, CUDA)


# ------------------------------------------------------------------------------------------------------------ meters


def test_a_meter_says_what_a_worker_did_at_one_moment(paying: Paying) -> None:
    episode_id, started = paying.planned(2), paying.clock.now()
    paying.clock.advance(5)
    done = paying.claim(episode_id, "transcribe", "g1")
    paying.clock.advance(7)
    paying.work.commit_chunk(done, "key", TOOK, LEASE_SECONDS)
    paying.clock.advance(2)
    paying.claim(episode_id, "transcribe", "g1")
    paying.clock.advance(4)
    (meter,) = paying.store.workers.meters("gpu")
    assert (meter.worker, meter.device, meter.started, meter.since) == ("g1", CUDA, started, started)
    assert (meter.until, meter.busy_ms, meter.open_ms, meter.idle_ms) == (paying.clock.now(), 7000, 4000, 0)
    assert (meter.due_ms, meter.ended) == (7000, False)
    assert paying.store.workers.meters("plan")[0].worker == "p1"


def test_of_two_who_read_the_same_meter_one_writes(paying: Paying, another: Callable[[], SqlStore]) -> None:
    paying.device("g1")
    paying.clock.advance(3)
    (mine,) = paying.store.workers.meters("gpu")
    paying.clock.advance(1)
    (other,) = another().workers.meters("gpu")
    assert paying.store.workers.metered(mine, {DAY: idle(3000)})
    before = snapshot(paying.store)
    assert not another().workers.metered(other, {DAY: idle(4000)})
    assert not paying.store.workers.metered(mine, {DAY: idle(3000)})
    assert snapshot(paying.store) == before, "nothing of it is written"
    (after,) = paying.store.workers.meters("gpu")
    assert (after.idle_ms, after.since, after.due_ms) == (3000, mine.until, 1000)


def test_the_dead_are_metered_once_more_and_kept_until_then(paying: Paying) -> None:
    for name in ("g1", "g2"):
        paying.device(name)
    paying.clock.advance(3)
    paying.store.workers.heartbeat("g1")
    for name in ("g1", "g2"):
        paying.store.workers.mark(name, "dead")
    paying.clock.advance(1000)
    paying.store.workers.forget_dead(100)
    first, second = paying.store.workers.meters("gpu")
    assert [(each.ended, each.due_ms) for each in (first, second)] == [(True, 3000), (True, 0)]
    assert paying.store.workers.metered(first, {DAY: idle(3000)})
    assert paying.store.workers.metered(second, {})
    assert paying.store.workers.meters("gpu") == []
    paying.store.workers.forget_dead(100)
    paying.device("g1")
    assert [each.id for each in paying.store.workers.list()] == ["g1"], "it was forgotten, so it is new"


# ------------------------------------------------------------------------------------------------------------- items


def spend(paying: Paying, episode_id: str, usd: str) -> None:
    entry = Entry("transcribe", "gpu", micros(usd), Unit.EACH, 1, CUDA)
    paying.store.purse.charge(f"{episode_id} {usd}", Bearer(DAY, episode_id), [entry])


def test_dear_items_are_those_that_may_cost_more_and_those_that_changed_lately(paying: Paying) -> None:
    waiting, held, cheap = (paying.planned() for _ in range(3))
    for episode_id, usd in ((waiting, "2.50"), (held, "3.00"), (cheap, "2.49")):
        spend(paying, episode_id, usd)
    assert paying.store.work.claim("transcribe", held, "g1", LEASE_SECONDS) is None
    now = paying.clock.now()
    found = paying.store.work.dear_items(micros("2.50"), now)
    assert [(each.episode_id, each.micros, each.active) for each in found] == [
        (held, micros(3), False),
        (waiting, micros("2.50"), True),
    ]
    assert [each.episode_id for each in paying.store.work.dear_items(micros("2.50"), now + 1)] == [waiting]
    assert paying.store.work.held_items(now) == [held]
    assert paying.store.work.held_items(now + 1) == []


# ---------------------------------------------------------------------------------------------------- long episodes


def states(rows: Rows, *ids: str) -> list[tuple[State, str]]:
    return [rows.store.work.states("transcribe", [each])[each] for each in ids]


def test_long_episodes_that_nobody_has_begun_wait_and_go_on(rows: Rows) -> None:
    begun, waiting, sent = rows.transcribes(3, chunks=2)
    rows.claim(begun, "transcribe", "g1")
    rows.store.work.dispatch("chunk", 3)
    assert rows.work.hold_long(60.0, HELD_FOR_ECONOMY) == 0, "a minute is no longer than a minute"
    assert rows.work.hold_long(59.0, HELD_FOR_ECONOMY) == 2
    assert states(rows, waiting, sent) == [(State.HELD, HELD_FOR_ECONOMY)] * 2
    assert rows.state(begun, "transcribe") is State.RUNNING
    assert rows.work.claim("transcribe", waiting, "g1", LEASE_SECONDS) is None
    assert rows.work.hold_long(59.0, HELD_FOR_ECONOMY) == 0
    assert rows.work.release_long("another reason") == 0
    assert rows.work.release_long(HELD_FOR_ECONOMY) == 2
    assert [state for state, _why in states(rows, waiting, sent)] == [State.WAITING] * 2
    rows.transcribe(waiting)


def test_what_costs_nothing_is_not_held(rows: Rows) -> None:
    """G8: cache first."""
    (first,) = rows.transcribes(1)
    rows.transcribe(first)
    written, *_ = rows.transcribes(1, feed="b")
    spoken = PublisherTranscript("k", "https://x.test/t.vtt", "text/vtt", "en", accepted=True)
    publisher = [asdict(spoken)]
    with rows.store.db.write() as conn:
        sha = conn.execute(select(episodes.c.audio_sha256).where(episodes.c.id == first)).scalar_one()
        conn.execute(update(episodes).where(episodes.c.id == written).values(publisher=publisher))
    (twin,) = rows.fetches(1, feed="c", transcribe=True)
    rows.fetch(twin, sha)
    assert rows.work.takes_from(twin) == first
    assert rows.work.hold_long(1.0, HELD_FOR_ECONOMY) == 0


def test_who_waits_for_a_twin_goes_on_waiting_while_that_is_held(rows: Rows) -> None:
    """F10: economy mode makes nobody pay twice."""
    (first,) = rows.transcribes(1)
    with rows.store.db.read() as conn:
        sha = conn.execute(select(episodes.c.audio_sha256).where(episodes.c.id == first)).scalar_one()
    (twin,) = rows.fetches(1, feed="b", transcribe=True)
    rows.fetch(twin, sha)
    assert states(rows, twin) == [(State.HELD, WAITS_FOR_TWIN)]
    assert rows.work.hold_long(1.0, HELD_FOR_ECONOMY) == 1
    rows.clock.advance(100)
    rows.work.release_twins(60)
    assert states(rows, first, twin) == [(State.HELD, HELD_FOR_ECONOMY), (State.HELD, WAITS_FOR_TWIN)]
    (late,) = rows.fetches(1, feed="c", transcribe=True)
    rows.fetch(late, sha)
    assert states(rows, late) == [(State.HELD, WAITS_FOR_TWIN)]


# --------------------------------------------------------------------------------------------------- smaller models


def params(rows: Rows, episode_id: str) -> dict[str, object]:
    with rows.store.db.read() as conn:
        query = select(work.c.params).where(work.c.episode_id == episode_id, work.c.stage == "transcribe")
        return dict(conn.execute(query).scalar_one())


def test_an_episode_begins_with_a_smaller_model_and_its_other_chunks_follow(rows: Rows) -> None:
    (episode_id,) = rows.transcribes(1, chunks=2)
    lease = rows.claim(episode_id, "transcribe", "g1")
    assert rows.work.begin_smaller(lease, "smaller")
    assert params(rows, episode_id)["model"] == "smaller"
    assert params(rows, episode_id)[ASKED] == lease.params["model"]
    other = rows.claim(episode_id, "transcribe", "g1")
    assert other.params["model"] == "smaller"
    assert not rows.work.begin_smaller(other, "smallest"), "the first chunk runs"
    assert not rows.work.begin_smaller(lease, "smallest"), "its params have changed since its claim"


@pytest.mark.parametrize("way", ["runs", "is done"])
def test_an_episode_that_was_begun_keeps_its_model(rows: Rows, way: str) -> None:
    (episode_id,) = rows.transcribes(1, chunks=2)
    first = rows.claim(episode_id, "transcribe", "g1")
    if way == "is done":
        rows.work.commit_chunk(first, "key", TOOK, LEASE_SECONDS)
    lease = rows.claim(episode_id, "transcribe", "g1")
    before = params(rows, episode_id)
    assert not rows.work.begin_smaller(lease, "smaller")
    assert params(rows, episode_id) == before


def test_a_lease_that_was_lost_changes_no_model(rows: Rows) -> None:
    (episode_id,) = rows.transcribes(1)
    lease = rows.claim(episode_id, "transcribe", "g1")
    rows.expire()
    with pytest.raises(LeaseLost):
        rows.work.begin_smaller(lease, "smaller")


def test_tokens_of_units_that_run(rows: Rows) -> None:
    (episode_id,), (to_fetch,) = rows.transcribes(1), rows.fetches(1)
    leases: list[Lease] = [rows.claim(episode_id, "transcribe", "g1"), rows.claim(to_fetch)]
    tokens = {each.token for each in leases}
    assert rows.work.running([*tokens, "gone"]) == tokens
    rows.work.hand_back(leases[0])
    assert rows.work.running(tokens) == {leases[1].token}
    assert rows.work.running([]) == set()


def test_history_since_a_moment(store: SqlStore, clock: ManualClock) -> None:
    assert store.control.since(0.0) == []
    for control in (Control(Mode.PAUSED, by="a"), Control(by="b"), Control(by="c")):
        store.control.write(control)
        clock.advance(1)
    assert [each.by for each in store.control.since(clock.now() - 2)] == ["c", "b"]


def test_bytes_of_all_audio_that_is_in_place(rows: Rows) -> None:
    assert rows.store.catalogue.audio_bytes() == 0
    rows.transcribes(2)
    rows.fetches(1)
    assert rows.store.catalogue.audio_bytes() == 2000
    now = rows.clock.now()
    rows.clock.advance(9)
    rows.transcribes(1, feed="b")
    assert [rows.store.catalogue.audio_bytes(before=at) for at in (now, now + 1, now + 10)] == [0, 2000, 3000]
