"""What `podrun demo` runs in: a state folder, an environment and ports of its own, once at a time."""

import fcntl
import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

from podinsight.cli import exits
from podinsight.cli.exits import CommandError
from podinsight.cli.serve_folder import FolderServer
from podinsight.settings import default_state_dir
from podinsight.settings_sources import OLD_NAMES, PREFIX, variable
from podinsight.state_dir import make_state_dir
from podinsight.supervisor.broker import port_taken
from podinsight.supervisor.commands import PROJECT_ROOT

MODEL: Final = "tiny.en"
HOST: Final = "127.0.0.1"
# Below the ports that systems hand out by themselves, so that a remembered one is rarely taken by chance.
_FIRST_PORTS: Final = {"broker": 6391, "flower": 5556, "samples": 8791}
# How this machine decodes and what is assumed of a GPU: as true in the demo as anywhere.
_KEPT: Final = tuple(
    variable(name)
    for name in (
        "compute_type",
        "cpu_threads",
        "device",
        "gpu_hour_usd",
        "gpu_speed",
        "log_level",
        "model_cache_dir",
        "model_dir",
    )
)
_FOREIGN: Final = ("S3_", "CELERY_", "FLOWER_")


def demo_dir(environ: Mapping[str, str]) -> Path:
    """`demo` in the state folder that podrun would use."""
    named = environ.get(variable("state_dir"), "").strip()
    return (Path(named).expanduser().absolute() if named else default_state_dir(environ)) / "demo"


def samples_dir() -> Path:
    """The sample feed of the checkout. Raises CommandError when podinsight is installed without one."""
    folder = PROJECT_ROOT / "samples"
    if not (folder / "feed.xml").is_file():
        raise CommandError(f"there is no sample feed in {folder}: run the demo from a checkout of podinsight")
    return folder


def demo_environ(environ: Mapping[str, str], folder: Path, ports: Mapping[str, int]) -> dict[str, str]:
    """An environment in which nothing of the user's own database, broker or buckets is left."""
    old = {name for name, _new in OLD_NAMES}
    clean = {
        name: value
        for name, value in environ.items()
        if name in _KEPT or not (name.upper().startswith((PREFIX, *_FOREIGN)) or name in old)
    }
    clean.setdefault(variable("model_cache_dir"), str(folder.parent / "models"))
    return clean | {
        variable("state_dir"): str(folder),
        variable("broker_port"): str(ports["broker"]),
        variable("flower_port"): str(ports["flower"]),
        variable("model"): MODEL,
        variable("allowed_hosts"): HOST,
        variable("fleet"): "fixed",  # its work comes at once: the gpu worker starts with the rest
    }


@contextmanager
def replaced(environ: MutableMapping[str, str], fresh: Mapping[str, str]) -> Iterator[None]:
    """`environ` is `fresh` inside the block."""
    before = dict(environ)
    _become(environ, fresh)
    try:
        yield
    finally:
        _become(environ, before)


def _become(environ: MutableMapping[str, str], fresh: Mapping[str, str]) -> None:
    for name in set(environ) - set(fresh):
        del environ[name]
    environ.update(fresh)


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Raises CommandError when another demo runs in this folder, ConfigError when it cannot be used."""
    make_state_dir(folder.parent)
    make_state_dir(folder)
    with (folder / "demo.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CommandError(f"another demo is running in {folder}", exits.FAILED) from error
        yield


class Ports:
    """The ports of the last run, so that a second run finds its feed under the same URL."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "ports.json"

    def remembered(self) -> dict[str, int]:
        """Empty when there was no run before, or its file is unreadable."""
        try:
            data: Any = json.loads(self._file.read_text("utf-8"))
            return {name: int(data[name]) for name in _FIRST_PORTS}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def choose(self) -> dict[str, int]:
        """The remembered ports, each that is taken replaced by a free one; the samples' is tried where it is bound."""
        before = self.remembered()
        chosen = {"samples": before.get("samples", 0)}
        for name in ("broker", "flower"):
            last = before.get(name, 0)
            chosen[name] = last if last and not port_taken(last) else free_port(_FIRST_PORTS[name])
        return chosen

    def remember(self, ports: Mapping[str, int]) -> None:
        fresh = self._file.with_suffix(".tmp")
        fresh.write_text(json.dumps(dict(ports)), "utf-8")
        fresh.replace(self._file)


def free_port(first: int) -> int:
    """The first port from `first` on that nobody listens on. Raises CommandError when there are 200 taken ones."""
    for port in range(first, first + 200):
        if not port_taken(port):
            return port
    raise CommandError(f"no port is free from {first} to {first + 199}", exits.NOT_UP)


@contextmanager
def serve_samples(folder: Path, last: int, say: Callable[[str], None]) -> Iterator[FolderServer]:
    """Serves the samples on the port of the last run, else on a new one (0: there was none), and says so."""
    with ExitStack() as stack:
        server = _served(stack, folder, last) if last else None
        if server is None:
            if last:
                say(f"port {last} of the last demo is taken: the samples move, count as a new feed, are fetched again")
            server = stack.enter_context(FolderServer(folder, HOST, free_port(_FIRST_PORTS["samples"])))
        yield server


def _served(stack: ExitStack, folder: Path, port: int) -> FolderServer | None:
    for _attempt in range(5):
        try:
            return stack.enter_context(FolderServer(folder, HOST, port))
        except OSError:
            time.sleep(0.2)
    return None


@contextmanager
def signals(handler: "Callable[[int, FrameType | None], Any] | signal.Handlers") -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP do this inside the block."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """A signal handler: whoever closes the terminal wants everything stopped as with Ctrl-C."""
    raise KeyboardInterrupt
