"""What several threads or processes do at once to one database. Each returns what it got, for the test to add up."""

import random
from collections import Counter
from collections.abc import Sequence

from sqlalchemy import select

from podinsight.adapters.clock import SystemClock
from podinsight.adapters.database import SqlStore, open_store
from podinsight.adapters.database.migrate import HEAD, _version
from podinsight.adapters.database.models import lanes
from podinsight.domain.work import FREE_LOSSES, Lease
from tests.conftest import LIMITS, STALE_SECONDS
from tests.support.rows import APPROVED, FILES, PARAMS, TOOK, audio, in_flight


def opened(url: str) -> SqlStore:
    return open_store(url, SystemClock(), LIMITS, STALE_SECONDS)


def open_fresh(url: str, _racer: int) -> bool:
    """Opens a database that may not have a schema yet and uses it."""
    store = opened(url)
    try:
        store.control.tick("opened")
        with store.db.read() as conn:
            return _version(conn) == HEAD
    finally:
        store.close()


def fetch_all(url: str, racer: int, episode_ids: Sequence[str], store: SqlStore | None = None) -> list[str]:
    """Tries to claim and commit every other episode, in an order of its own; returns the ids that it did."""
    mine = store or opened(url)
    order = list(episode_ids[racer % 2 :: 2])
    random.Random(racer).shuffle(order)
    worker = f"w{racer}"
    mine.workers.register(worker, "here", "fetch", racer, 10)
    done: list[str] = []
    for episode_id in order:
        lease = mine.work.claim("fetch", episode_id, worker, 90)
        if lease is not None:
            mine.work.commit_fetch(lease, audio(), 1.0)
            done.append(episode_id)
    if store is None:
        mine.close()
    return done


def dispatch_all(url: str, racer: int, slots: int, store: SqlStore | None = None) -> tuple[list[str], int, int]:
    """Dispatches and finishes until nothing is left.

    Returns the ids dispatched here, the most units seen in flight, and the most seen in flight at one host.
    """
    mine = store or opened(url)
    worker = f"w{racer}"
    mine.workers.register(worker, "here", "fetch", racer, slots)
    got: list[str] = []
    most = most_at_host = idle = 0
    while idle < 3:
        tickets = mine.work.dispatch("fetch", slots)
        most = max(most, in_flight(mine, "fetch"))
        most_at_host = max(most_at_host, _busiest(mine))
        for ticket in tickets:
            lease = mine.work.claim("fetch", ticket.episode_id, worker, 90)
            assert lease is not None
            mine.work.commit_fetch(lease, audio(), 1.0)
        got += [ticket.episode_id for ticket in tickets]
        idle = 0 if tickets or in_flight(mine, "fetch") else idle + 1
    if store is None:
        mine.close()
    return got, most, most_at_host


def _busiest(store: SqlStore) -> int:
    query = select(lanes.c.host, lanes.c.n_dispatched + lanes.c.n_running).where(lanes.c.stage == "fetch")
    busy: Counter[str] = Counter()
    with store.db.read() as conn:
        for host, count in conn.execute(query):
            busy[host] += count
    return max(busy.values(), default=0)


def transcribe_all(url: str, racer: int, episode_ids: Sequence[str], store: SqlStore | None = None) -> list[str]:
    """Claims chunks of episodes until none is left, now and then losing or handing back one; returns whose transcript
    it committed."""
    mine = store or opened(url)
    worker, dice = f"g{racer}", random.Random(racer)
    mine.workers.register(worker, "here", "gpu", racer, 1)
    joined: list[str] = []
    idle = 0
    while idle < 3:
        idle += 1
        for ticket_or_id in {*episode_ids, *(t.episode_id for t in mine.work.dispatch("chunk", 4))}:
            lease = mine.work.claim("transcribe", ticket_or_id, worker, 90)
            if lease is None:
                continue
            idle = 0
            if dice.random() < 0.2:
                mine.work.hand_back(lease)
            elif dice.random() < 0.2 and lease.losses < FREE_LOSSES:  # one more, and it would wait for seconds
                mine.work.expire_worker(worker)
            else:
                joined += _finish(mine, lease)
        mine.work.reconcile(60)
    if store is None:
        mine.close()
    return joined


def _finish(store: SqlStore, lease: Lease) -> list[str]:
    assert lease.span is not None
    join: Lease | None = lease
    if not lease.span.is_join:
        join = store.work.commit_chunk(lease, f"part-{lease.span.n}", TOOK, 90)
    if join is None:
        return []
    store.work.commit_transcript(join, FILES)
    return [join.episode_id]


def enqueue_all(url: str, racer: int, episode_ids: Sequence[str], store: SqlStore | None = None) -> int:
    """Enqueues every episode, in an order of its own; returns how many rows it made."""
    mine = store or opened(url)
    order = list(episode_ids)
    random.Random(racer).shuffle(order)
    starts = range(0, len(order), 20)
    added = sum(mine.work.enqueue_fetch(order[at : at + 20], 5, PARAMS, APPROVED) for at in starts)
    if store is None:
        mine.close()
    return added
