"""F9: memory stays flat whatever the size, in a real process with the real adapters."""

import json
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import psutil
import pytest

from tests.support.hostile import expected, hostile_process

MIB = 2**20
GIB = 1024 * MIB
# A line in is a URL to fetch, a line out what came of it. The slots are threads, as in a fetch worker.
FETCHER = """
    import json, sys
    from concurrent.futures import ThreadPoolExecutor
    from podinsight.adapters.av_probe import AvProbe
    from podinsight.adapters.door import OpenDoor
    from podinsight.adapters.obstore_objects import S3Options, open_objects
    from podinsight.adapters.requests_fetcher import FetchPolicy, RequestsFetcher
    from podinsight.services.fetch import save

    hosts = frozenset({"a.test"})
    policy = FetchPolicy("x", hosts, 5, 30, 300, 10**6, 4 * 2**30, fixed={"a.test": "127.0.0.1"})
    fetcher = RequestsFetcher(policy, OpenDoor())
    objects = open_objects({"raw": sys.argv[1]}, S3Options())

    def fetch(n, url):
        with fetcher.audio(url) as body:
            size, sha256 = save(objects, f"raw/{n}", body.pieces, lambda: None)
        with objects.reader(f"raw/{n}") as stream:
            seconds = AvProbe().probe(stream).seconds
        objects.delete([f"raw/{n}"])
        return {"size": size, "sha256": sha256, "seconds": seconds}

    with ThreadPoolExecutor(1) as slot:
        for n, line in enumerate(sys.stdin):
            print(json.dumps(slot.submit(fetch, n, line.strip()).result()), flush=True)
"""


class Watched:
    """A fetch process whose resident memory is looked at all the time."""

    def __init__(self, area: str) -> None:
        command = [sys.executable, "-c", textwrap.dedent(FETCHER), area]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._look = psutil.Process(self.process.pid)

    def rss(self) -> int:
        return int(self._look.memory_info().rss)

    def fetch(self, url: str) -> tuple[dict[str, object], int]:
        """What came, and the most memory that was resident meanwhile."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        peak, done = self.rss(), threading.Event()

        def watch() -> None:
            nonlocal peak
            while not done.wait(0.005):
                peak = max(peak, self.rss())

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            self.process.stdin.write(f"{url}\n")
            self.process.stdin.flush()
            answer: dict[str, object] = json.loads(self.process.stdout.readline())
        finally:
            done.set()
            watcher.join()
        return answer, peak


@pytest.mark.skipif(not psutil.LINUX, reason="resident memory means something else elsewhere")
def test_a_gibibyte_needs_no_more_memory_than_ten_mebibytes(tmp_path: Path) -> None:
    watched = Watched(tmp_path.as_uri())
    try:
        with hostile_process() as server:
            watched.fetch(server.url("a.test", "warm", size=100_000))  # what is imported late is part of being idle
            idle = watched.rss()
            small, small_peak = watched.fetch(server.url("a.test", "small", size=10 * MIB))
            large, large_peak = watched.fetch(server.url("a.test", "large", size=GIB))
    finally:
        watched.process.kill()
        watched.process.communicate()
    assert (small["size"], small["sha256"]) == (10 * MIB, expected("a.test", "small", 10 * MIB).sha256())
    assert (large["size"], large["sha256"]) == (GIB, expected("a.test", "large", GIB).sha256())
    figures = {name: round(size / MIB, 1) for name, size in (("idle", idle), ("10", small_peak), ("1024", large_peak))}
    print(f"resident MiB: {figures}")
    assert large_peak - idle <= 30 * MIB, figures
    assert large_peak - small_peak <= 20 * MIB, figures
