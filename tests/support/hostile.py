"""A server that behaves as badly as the internet does, fast, and that counts what reaches it.

One port, any number of host names: they are told apart by the Host header. What a file does is said in its URL (see
hostile_files.Behaviour). In the same process: `with hostile() as server`. In one of its own: `with hostile_process()`,
or `python -m tests.support.hostile --port 8900`; it prints `{"port": …}`, and `/_hostile/stats`, `/_hostile/events`
and `/_hostile/reset` answer JSON.

A request is in flight from its complete header until its last byte is given to the kernel, or its client is gone.
"""

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.hostile_files import WaveFile, path_of
from tests.support.hostile_server import HOST, HostileServer

ROOT = Path(__file__).parents[2]
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Hostile:
    """A running hostile server, seen from outside."""

    def __init__(self, port: int) -> None:
        self.port = port

    def url(self, host: str, name: str, **behaviour: object) -> str:
        """The URL of a file, with Behaviour as keywords."""
        return f"http://{host}:{self.port}{path_of(name, **behaviour)}"

    def stats(self) -> dict[str, Any]:
        """By host: requests, in_flight, peak, bytes (sent), statuses, first and last (time of request); by path
        (`host/path`): requests and bytes."""
        return self._ask("stats")

    def events(self) -> list[list[Any]]:
        """[time, host, in flight since then, path, client port] at every change; times are time.time()."""
        events: list[list[Any]] = self._ask("events")["events"]
        return events

    def reset(self) -> None:
        """Forgets all counts but what is in flight."""
        self._ask("reset")

    def _ask(self, what: str) -> dict[str, Any]:
        with _OPENER.open(f"http://{HOST}:{self.port}/_hostile/{what}", timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


def expected(host: str, name: str, size: int, version: int = 0) -> WaveFile:
    """The file that a URL of `Hostile.url(host, name, size=size)` serves."""
    return WaveFile(f"{host}/{name}", size, version)


@contextmanager
def hostile() -> Iterator[Hostile]:
    """In this process, in a thread of its own."""
    server = HostileServer()
    loop = asyncio.new_event_loop()
    task: asyncio.Task[None] = loop.create_task(server.run())

    def run() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
        for each in asyncio.all_tasks(loop):
            each.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    thread = threading.Thread(target=run, name="hostile", daemon=True)
    thread.start()
    try:
        yield Hostile(server.listener.getsockname()[1])
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(5)
        server.listener.close()


@contextmanager
def hostile_process(address: str = HOST) -> Iterator[Hostile]:
    """In a process of its own: what it costs is not ours. address: 0.0.0.0 is all of 127.0.0.0/8, which are hosts that
    need no name server."""
    command = [sys.executable, "-m", "tests.support.hostile", "--address", address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield Hostile(int(json.loads(process.stdout.readline())["port"]))
        finally:
            process.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--address", default=HOST, help="to listen on")
    given = parser.parse_args()
    server = HostileServer(given.port, given.address)
    print(json.dumps({"port": server.listener.getsockname()[1]}), flush=True)
    asyncio.run(server.run())


if __name__ == "__main__":
    main()
