"""What a command works with: settings, and the parts of the house, each opened at its first use."""

import sys
import time
from functools import cached_property
from typing import TYPE_CHECKING, Final

import click

from podinsight import settings as settings_module
from podinsight.errors import Unavailable
from podinsight.ports import StatusStore
from podinsight.settings import Settings
from podinsight.topology import GPU, SCALE_TICK

if TYPE_CHECKING:
    from podinsight.bootstrap import Container


class Session:
    """One run of podrun. Tests hand in settings or a container of their own."""

    def __init__(self, settings: Settings | None = None, container: "Container | None" = None) -> None:
        self._given = settings
        self._container = container
        self._owns = container is None
        self._store: StatusStore | None = None

    @cached_property
    def settings(self) -> Settings:
        """Raises ConfigError."""
        return self._given or settings_module.load()

    @property
    def container(self) -> "Container":
        """Everything; raises Unavailable when the database does not answer."""
        if self._container is None:
            from podinsight.bootstrap import build  # imports every adapter: `podrun --help` does without

            self._container = build(self.settings)
        return self._container

    @property
    def store(self) -> StatusStore:
        """The database alone, unless the container is there already."""
        if self._container is not None:
            return self._container.store
        if self._store is None:
            from podinsight.bootstrap import build_store

            self._store = build_store(self.settings)
        return self._store

    @property
    def at_terminal(self) -> bool:
        """Whether there is somebody to ask."""
        return sys.stdin.isatty() and sys.stderr.isatty()

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
        if self._container is not None and self._owns:
            self._container.close()

    def need_workers(self, *stages: str) -> None:
        """Raises Unavailable when one of the pools that these stages need has no live worker, and none that comes with
        work."""
        for pool in (pool for stage in stages for pool in POOLS[stage]):
            if self.store.workers.live_slots(pool) == 0 and not self.comes(pool):
                size = self.store.workers.pools().get(pool)
                if size is not None and size.kept is not None:
                    raise Unavailable(f"the {pool} workers are shut ({size.kept.reason}): `podrun fleet start` opens")
                raise Unavailable(f"no {pool} worker is up: start the stack with `make up` (or `podrun up`)")

    def comes(self, pool: str) -> bool:
        """Whether a worker of this pool comes when there is work: somebody has decided lately how many there are."""
        settings, store = self.settings, self.store
        if pool != GPU.name or not settings.fleet_scales or not settings.gpu_workers:
            return False
        size = store.workers.pools().get(pool)
        decided = store.control.ticks().get(SCALE_TICK, 0.0)
        return size is not None and size.kept is None and time.time() - decided < settings.decision_holds_seconds


pass_session = click.make_pass_decorator(Session)
POOLS: Final = {"fetch": ("fetch",), "transcribe": ("plan", "gpu")}  # by what a command asks for
COUNT: Final = click.IntRange(min=1, max=2**31 - 1)  # what every database and C library takes
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
