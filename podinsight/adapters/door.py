"""The fetcher's side of the host gate: a door at which every single request is let in."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Permit(Protocol):
    """The right to one request at a host, for as long as its `with` block lasts and its lease is not lost. A request
    that got no answer leaves the block by its exception."""

    def check(self) -> None:
        """Raises Transient with `ours` when the lease is lost."""
        ...

    def on_lost(self, cut: Callable[[], None], /) -> None:
        """`cut` is called, from another thread, as soon as the lease is lost: the request must end at once."""
        ...

    def answered(self, status: int, retry_after: float | None, /) -> None:
        """The host answered; `retry_after`: the seconds it asked to wait."""
        ...

    def received(self, count: int, /) -> None:
        """So many bytes of a body came."""
        ...


class Door(Protocol):
    """Lets requests in, one by one."""

    def permit(self, hostname: str, /) -> AbstractContextManager[Permit]:
        """Raises Busy when it would have to wait for longer than its patience, Abandoned when the process stops."""
        ...


class _Free:
    """A permit that is never lost and tells nobody."""

    def check(self) -> None: ...
    def on_lost(self, cut: Callable[[], None], /) -> None: ...
    def answered(self, status: int, retry_after: float | None, /) -> None: ...
    def received(self, count: int, /) -> None: ...


class OpenDoor:
    """A door that lets everybody in at any time: for tests of the fetcher alone."""

    @contextmanager
    def permit(self, hostname: str, /) -> Iterator[Permit]:
        yield _Free()
