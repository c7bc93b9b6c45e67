"""Fetching against curl and podcast-archiver, politeness and slot use of a crowd of workers, memory of a huge file.

    make bench-fetch     (ARGS="--runs 5", ARGS="--only crowd")

- peers: 300 files of 0.2 to 20 MB over 12 hosts, from a server shaped like the internet (40 ms to the first byte, 4
  MB/s a connection): podinsight's warm stack, from the first message to the last commit, against `curl --parallel`
  and podcast-archiver with the same number of connections. They take turns; the median of the runs' ratios counts.
  Then unshaped, once, for information: files a second and CPU seconds a gigabyte.
- crowd: 600 episodes over 12 hosts with limits of 3 to 10, fetched by 80 slots in 8 processes. Undisturbed: the least
  used host's share of slots in use while it has work, and time over the best possible schedule. Disturbed (workers
  killed and frozen at random, Redis flushed once): requests over a limit, by the server's own count.
- memory: a file of 1 GiB, and what the fetch worker's resident memory grows by.

The last line is one JSON object. The peer is installed into a virtual environment of its own.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import tempfile
import threading
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from sqlalchemy import func, select

from podinsight.adapters.database.models import stage_runs
from tests.support.crowd import even_crowd, invite, run_disturbed, run_undisturbed
from tests.support.feeds import rss
from tests.support.hostile import Hostile, hostile_process
from tests.support.stack import Stack, running_stack
from tests.support.webserver import WebServer

PEER = "podcast-archiver==2.3.5"
FILES = 300
HOSTS = [f"127.0.0.{number}" for number in range(2, 14)]
PROCESSES, SLOTS = 2, 12
CONNECTIONS = PROCESSES * SLOTS
INTERNET: dict[str, object] = {"first_byte": 0.04, "rate": 4_000_000}
LIMITS = dict(zip([f"host-{n}.test" for n in range(1, 13)], [3, 4, 5, 6, 7, 8, 9, 10, 3, 5, 8, 10], strict=True))
CROWD = even_crowd(LIMITS, per_slot=8, seconds=4.0, slow="host-5.test")
MIB = 2**20
# Production times, where tests scale them down.
QUIET = {
    "PODINSIGHT_LEASE_SECONDS": "90",
    "PODINSIGHT_RENEW_SECONDS": "20",
    "PODINSIGHT_HEARTBEAT_SECONDS": "5",
    "PODINSIGHT_WORKER_STALE_SECONDS": "30",
}


@dataclass(frozen=True)
class Round:
    """One pass over all files: wall seconds, CPU seconds of who fetched."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Load:
    """The files of one pass: URL by name, and the feed that lists them."""

    urls: dict[str, str]
    feed: str

    @staticmethod
    def make(web: Hostile, feeds: WebServer, name: str, shape: dict[str, object]) -> "Load":
        dice = random.Random(7)
        urls = {}
        for n in range(FILES):
            size = round(200_000 * 100 ** dice.random())
            urls[f"{name}-{n}"] = web.url(HOSTS[n % len(HOSTS)], f"{name}-{n}.wav", size=size, **shape)
        path = f"/{name}.xml"
        feeds.serve(path, rss(name, list(urls.items()), mime="audio/wav"), mime="application/rss+xml")
        return Load(urls, feeds.url(path))


def sizes() -> int:
    """Bytes of all files together."""
    dice = random.Random(7)
    return sum(round(200_000 * 100 ** dice.random()) for _ in range(FILES))


def timed(command: list[str], folder: Path) -> Round:
    before = os.times()
    began = time.monotonic()
    subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = os.times()
    cpu = after.children_user - before.children_user + after.children_system - before.children_system
    return Round(time.monotonic() - began, cpu)


def with_curl(load: Load) -> Round:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = "".join(f'url = "{url}"\noutput = "{file}.wav"\n' for file, url in load.urls.items())
        (folder / "files").write_text(config)
        done = timed(["curl", "-sS", "--parallel", "--parallel-max", str(CONNECTIONS), "--config", "files"], folder)
        check(folder, load)
        return done


def with_peer(binary: Path, load: Load) -> Round:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.yaml").write_text("feeds: []\n")
        (folder / "audio").mkdir()
        command = [str(binary), "--feed", load.feed, "--dir", "audio", "--config", "config.yaml"]
        done = timed([*command, "--concurrency", str(CONNECTIONS), "--quiet", "-F", "{episode.title}.{ext}"], folder)
        check(folder / "audio", load)
        return done


def check(folder: Path, load: Load) -> None:
    found = sum(1 for each in folder.rglob("*") if each.is_file() and each.suffix in (".wav", ".mp3"))
    if found < len(load.urls):
        raise SystemExit(f"only {found} of {len(load.urls)} files came")


def with_podinsight(stack: Stack, load: Load) -> Round:
    ids = stack.add_feed(load.feed)
    workers = [psutil.Process(pid) for pid in stack.pids("fetch")]
    before = sum(sum(each.cpu_times()[:2]) for each in workers)
    began = time.time()
    stack.start(ids, transcribe=False)
    while sum(each.count for each in stack.store.work.counts() if each.state.value == "done") < stack_total(stack):
        time.sleep(0.2)
    stack.wait_ended("fetch", ids, 60)
    with stack.store.db.read() as connection:
        query = select(func.max(stage_runs.c.at)).where(stage_runs.c.outcome == "done")
        ended = float(connection.execute(query).scalar_one())
    cpu = sum(sum(each.cpu_times()[:2]) for each in workers) - before
    for episode in stack.store.catalogue.episodes(ids):
        assert episode.audio_key is not None, episode
        stack.world.objects.delete([episode.audio_key])
    return Round(ended - began, cpu)


def stack_total(stack: Stack) -> int:
    return sum(each.count for each in stack.store.work.counts())


@contextmanager
def peer_installed() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        venv.create(name, with_pip=True)
        pip = [f"{name}/bin/python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet", PEER]
        subprocess.run(pip, check=True)
        yield Path(name) / "bin" / "podcast-archiver"


def bench_peers(runs: int) -> dict[str, float]:
    gigabytes = sizes() / 1e9
    print(f"{FILES} files, {gigabytes:.2f} GB, {len(HOSTS)} hosts, {CONNECTIONS} connections")
    environ = {
        "PODINSIGHT_ALLOWED_HOSTS": ",".join(["127.0.0.1", *HOSTS]),
        "PODINSIGHT_DEFAULT_HOST_RATE": "1000",
        "PODINSIGHT_FETCH_WORKERS": str(PROCESSES),
        "PODINSIGHT_FETCH_SLOTS": str(SLOTS),
        "PODINSIGHT_GPU_WORKERS": "0",
        **QUIET,
    }
    rounds: dict[str, list[Round]] = {"curl": [], "peer": [], "podinsight": []}
    with (
        peer_installed() as binary,
        hostile_process("0.0.0.0") as web,  # noqa: S104
        WebServer() as feeds,
        tempfile.TemporaryDirectory() as state,
        running_stack(Path(state), **environ) as stack,
    ):
        fetchers: dict[str, Callable[[Load], Round]] = {
            "curl": with_curl,
            "peer": lambda load: with_peer(binary, load),
            "podinsight": lambda load: with_podinsight(stack, load),
        }
        for run in range(runs):
            for name, fetch in fetchers.items():
                rounds[name].append(fetch(Load.make(web, feeds, f"{name}-{run}", INTERNET)))
            print(f"run {run + 1}: " + ", ".join(f"{name} {each[-1].wall:.2f} s" for name, each in rounds.items()))
        for name, fetch in fetchers.items():
            done = fetch(Load.make(web, feeds, f"{name}-unshaped", {}))
            print(
                f"unshaped: {name} {FILES / done.wall:.0f} files a second, {gigabytes / done.wall:.2f} GB/s, "
                f"{done.cpu / gigabytes:.2f} CPU s/GB"
            )
    walls = {name: [each.wall for each in done] for name, done in rounds.items()}
    return {f"ratio_{name}": _median_ratio(walls["podinsight"], walls[name]) for name in ("curl", "peer")}


def _median_ratio(ours: list[float], theirs: list[float]) -> float:
    return round(statistics.median(one / other for one, other in zip(ours, theirs, strict=True)), 3)


def bench_crowd(seed: int) -> dict[str, float]:
    print(f"{CROWD.episodes} episodes over {len(LIMITS)} hosts, {CROWD.workers} processes of {CROWD.slots} slots")
    with hostile_process() as web, WebServer() as feeds, tempfile.TemporaryDirectory() as state:
        with running_stack(Path(state) / "calm", **CROWD.environ()) as stack:
            calm = run_undisturbed(CROWD, web, stack, invite(CROWD, web, stack, feeds))
        print(f"undisturbed: {calm.seconds:.1f} s, best possible {CROWD.best:.1f} s, slots used {calm.slot_use:.3f}")
        print(f"over a limit: {calm.over_limit}")
        # What a frozen process held comes back after its lease: no need to wait 90 s for it.
        wild_crowd = replace(CROWD, lease_seconds=20)
        with running_stack(Path(state) / "wild", **wild_crowd.environ()) as stack:
            ids = invite(wild_crowd, web, stack, feeds)
            wild = run_disturbed(wild_crowd, web, stack, ids, random.Random(seed), strikes=20)
        print(f"disturbed (seed {seed}): {wild.seconds:.1f} s, every episode fetched once")
        print(f"over a limit: {wild.over_limit}; by frozen processes past their lease: {wild.frozen_overlap}")
    return {
        "over_limit": calm.over_limit + wild.over_limit,
        "slot_use": round(calm.slot_use, 3),
        "schedule_ratio": round(calm.schedule_ratio, 3),
    }


def bench_memory() -> dict[str, float]:
    environ = {"PODINSIGHT_ALLOWED_HOSTS": "127.0.0.1", "PODINSIGHT_GPU_WORKERS": "0", **QUIET}
    with (
        hostile_process() as web,
        tempfile.TemporaryDirectory() as state,
        running_stack(Path(state), **environ) as stack,
    ):
        peaks = {}
        for name, size in (("idle", MIB // 10), ("10 MiB", 10 * MIB), ("1 GiB", 1024 * MIB)):
            peaks[name] = _peak_of(stack, web.url("127.0.0.1", f"{name[0]}.wav", size=size), name == "idle")
    print("resident MiB: " + ", ".join(f"{name} {peak / MIB:.1f}" for name, peak in peaks.items()))
    return {"rss_over_idle_mib": round((peaks["1 GiB"] - peaks["idle"]) / MIB, 1)}


def _peak_of(stack: Stack, url: str, settled: bool) -> int:
    """Most resident memory of the fetch worker while it fetches one file, or after it."""
    from podinsight.services.fetch import find_or_add

    (pid,) = stack.pids("fetch")
    worker, done, peak = psutil.Process(pid), threading.Event(), 0

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.01):
            peak = max(peak, worker.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    episode = find_or_add(stack.store, url)
    stack.start([episode.id], transcribe=False)
    stack.wait_ended("fetch", [episode.id], 120)
    done.set()
    watcher.join()
    return int(worker.memory_info().rss) if settled else peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="rounds against the peers (3)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="of the faults")
    parser.add_argument("--only", choices=["peers", "crowd", "memory"], help="one part alone")
    given = parser.parse_args()
    figures: dict[str, float] = {}
    if given.only in (None, "peers"):
        figures |= bench_peers(given.runs)
    if given.only in (None, "crowd"):
        figures |= bench_crowd(given.seed)
    if given.only in (None, "memory"):
        figures |= bench_memory()
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
