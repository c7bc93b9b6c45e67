"""A door for tests: lets in, and writes down who was in when."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from podinsight.adapters.door import Permit
from podinsight.adapters.http_answers import Broken
from podinsight.errors import Busy, Transient


class _Noted:
    def __init__(self, door: "NotingDoor", host: str) -> None:
        self._door, self._host = door, host
        self.lost = False
        self.cut: Callable[[], None] = lambda: None

    def check(self) -> None:
        if self.lost:
            raise Transient("the lease is lost", ours=True)

    def on_lost(self, cut: Callable[[], None], /) -> None:
        self.cut = cut

    def answered(self, status: int, retry_after: float | None, /) -> None:
        self._door.log.append(f"{self._host} {status}" + (f" {retry_after:.0f}" if retry_after is not None else ""))

    def received(self, count: int, /) -> None:
        self._door.received += count


class NotingDoor:
    """log: `in HOST`, `HOST STATUS`, `HOST failed`, `out HOST`, in order. busy: how many of the next are turned away.

    `lose` takes the permit that is out, as a gate does whose holder was away for too long.
    """

    def __init__(self) -> None:
        self.log: list[str] = []
        self.received = 0
        self.busy: list[float] = []
        self._now: _Noted | None = None

    @contextmanager
    def permit(self, hostname: str, /) -> Iterator[Permit]:
        if self.busy:
            raise Busy(f"{hostname} is busy", self.busy.pop(0))
        assert self._now is None, "a permit is asked for while another is held"
        self.log.append(f"in {hostname}")
        self._now = _Noted(self, hostname)
        try:
            yield self._now
        except Broken:
            self.log.append(f"{hostname} failed")
            raise
        finally:
            self._now = None
            self.log.append(f"out {hostname}")

    def lose(self) -> None:
        assert self._now is not None
        self._now.lost = True
        self._now.cut()
