"""A real Valkey of a test's own."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from podinsight.supervisor import broker
from tests.support.stack import free_port


@dataclass(frozen=True)
class Valkey:
    url: str
    process: "subprocess.Popen[bytes]"

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, socket_timeout=5)


@contextmanager
def valkey(folder: Path, port: int | None = None) -> Iterator[Valkey]:
    """Starts it, waits until it answers, and kills it at the end."""
    port = port or free_port()
    command = broker.server_command(folder, port)
    with (folder / "valkey.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    server = Valkey(f"redis://127.0.0.1:{port}/0", process)
    try:
        deadline = time.monotonic() + 10
        while broker.answers(server.url, 1.0):
            assert process.poll() is None, (folder / "valkey.log").read_text()
            assert time.monotonic() < deadline, "Valkey does not answer"
            time.sleep(0.02)
        yield server
    finally:
        process.kill()
        process.wait()
