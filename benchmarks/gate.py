"""The host gate under load: how many places are taken and given back a second, and how long taking one lasts.

    make bench-gate            (ARGS="--processes 4 --threads 4 --hosts 300 --seconds 5")

Starts a Valkey of its own. Every thread of every process takes a place at one of the hosts and gives it back, as fast
as it can: two round trips. The last line is JSON: places taken and given back a second over all, and the 99th
percentile of one acquire in ms.
"""

import argparse
import json
import multiprocessing
import random
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

from podinsight.adapters.redis_gate import RedisGate
from podinsight.domain.hosts import HostRule
from podinsight.supervisor import broker

RULE = HostRule(limit=10, rate=1_000_000.0)


def client(gate: RedisGate, hosts: int, ends_at: float, times: list[float]) -> None:
    """One thread; appends the seconds of every acquire that was granted."""
    number = 0
    while time.monotonic() < ends_at:
        host, lease = f"h{random.randrange(hosts)}.test", f"{threading.get_ident()}-{number}"
        number += 1
        began = time.perf_counter()
        answer = gate.acquire(host, lease, RULE)
        took = time.perf_counter() - began
        if answer.granted_at is not None:
            gate.release(host, lease, RULE, answer.granted_at)
            times.append(took)


def process(url: str, options: argparse.Namespace, start: Barrier, results: "Queue[list[float]]") -> None:
    """One process of several threads, which begins when all are there; puts the times of all of them."""
    gate = RedisGate(url, 12.0, 60.0)
    times: list[list[float]] = [[] for _ in range(options.threads)]
    start.wait()
    ends_at = time.monotonic() + options.seconds
    threads = [threading.Thread(target=client, args=(gate, options.hosts, ends_at, each)) for each in times]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put([took for each in times for took in each])


def run(url: str, options: argparse.Namespace) -> list[float]:
    """Seconds of each acquire, over all processes."""
    context = multiprocessing.get_context("spawn")
    results: Queue[list[float]] = context.Queue()
    start = context.Barrier(options.processes)
    processes = [context.Process(target=process, args=(url, options, start, results)) for _ in range(options.processes)]
    for each in processes:
        each.start()
    times = [took for _ in processes for took in results.get()]
    for each in processes:
        each.join()
    return times


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--hosts", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
        probe.close()
        url = f"redis://127.0.0.1:{port}/0"
        server = subprocess.Popen(broker.server_command(Path(folder), port), stdout=subprocess.DEVNULL)
        try:
            why = broker.wait_until_answers(url, lambda: server.poll() is not None)
            if why:
                raise SystemExit(f"Valkey does not answer: {why}")
            RedisGate(url, 12.0, 60.0).open()
            times = run(url, options)
        finally:
            server.kill()
            server.wait()
    rate, p99 = len(times) / options.seconds, statistics.quantiles(times, n=100)[98] * 1000
    print(
        f"{options.processes} processes of {options.threads} threads took and gave back {len(times)} places at "
        f"{options.hosts} hosts in {options.seconds:g} s, beside a Valkey that writes its append-only file"
    )
    print(json.dumps({"acquires_per_second": round(rate), "p99_ms": round(p99, 2)}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
