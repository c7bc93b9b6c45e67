"""Small programs that behave like the processes of Celery, as far as the supervisor can tell."""

import http.server
import os
import signal
import socket
import subprocess
import sys
import time
from typing import NoReturn

STUBBORN = "STAND_IN_STUBBORN"  # set: workers ignore SIGTERM
BROKEN = "STAND_IN_BROKEN"  # the role that dies at its start


def worker(pool: str, instance: str) -> NoReturn:
    """Registers and says that it lives; has a child in its process group, as prefork pools have."""
    from podinsight.settings import load
    from tests.support.stand_in_stack import open_database

    if (os.environ["PODWORKER_ID"], os.environ["PODWORKER_POOL"]) != (instance, pool):
        raise SystemExit("the environment does not say who this worker is")
    signal.signal(signal.SIGTERM, signal.SIG_IGN if os.environ.get(STUBBORN) else lambda *_: os._exit(0))
    subprocess.Popen(["sleep", "600"])
    settings = load()
    store = open_database(settings)
    store.workers.register(instance, socket.gethostname(), pool, os.getpid(), 1)
    while True:
        store.workers.heartbeat(instance)
        time.sleep(settings.heartbeat_seconds)


def beat() -> NoReturn:
    from podinsight.settings import load
    from tests.support.stand_in_stack import open_database

    store = open_database(load())
    while True:
        store.control.tick("reconcile")
        time.sleep(0.5)


def flower(port: str) -> None:
    http.server.HTTPServer(("127.0.0.1", int(port)), http.server.BaseHTTPRequestHandler).serve_forever()


def main(role: str, *rest: str) -> None:
    if os.environ.get(BROKEN) == role:
        raise SystemExit(f"{role} is broken on purpose")
    if role == "worker":
        worker(*rest)
    if role == "beat":
        beat()
    flower(*rest)


if __name__ == "__main__":
    main(*sys.argv[1:])
