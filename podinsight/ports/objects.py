"""Objects: whole or not at all."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, Protocol


class ObjectWriter(Protocol):
    """A streaming write in bounded memory. The object appears whole at `close`, or never.

    Leaving the `with` block by an exception aborts: no object, no visible leftover.
    """

    def write(self, data: bytes) -> None: ...
    def __enter__(self) -> "ObjectWriter": ...
    def __exit__(self, *exc: object) -> None: ...


@dataclass(frozen=True)
class ObjectInfo:
    key: str
    size: int
    modified: float


class ObjectStore(Protocol):
    """Whole objects under keys like `raw/<slug>/<guid>/audio/episode.mp3`; the first component is the area.

    - a reader never sees half an object; `put` and a closed `writer` replace atomically;
    - `get`, `reader`, `size` and `copy` of a missing key raise `Permanent` with the key in its text;
    - `delete` of a missing key is fine;
    - a key that is empty, absolute, has an empty, `.` or `..` component, a backslash or a control character,
      or an unknown area, raises `Refused`;
    - the store being unreachable raises `Transient` with `ours`.
    """

    def put(self, key: str, data: bytes) -> None: ...
    def get(self, key: str) -> bytes: ...
    def exists(self, key: str) -> bool: ...
    def size(self, key: str) -> int: ...
    def writer(self, key: str) -> ObjectWriter: ...
    def reader(self, key: str) -> AbstractContextManager[BinaryIO]:
        """A seekable binary reader that fetches ranges; it never loads the object whole."""
        ...

    def copy(self, source: str, target: str) -> None:
        """Server-side where the store can; replaces `target` atomically."""
        ...

    def delete(self, keys: Iterable[str]) -> None: ...
    def sweep(self, prefix: str) -> int:
        """Deletes every object whose key begins with `prefix` (any text, not whole components) and ends unfinished
        writes of such keys: temporary files, multipart uploads. Returns how many it found. A folder's worth of keys."""
        ...

    def folders(self, prefix: str) -> Sequence[str]:
        """The names of the folders directly under the folder (or area) `prefix`, sorted; none when it is not there."""
        ...

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Objects under the folder `prefix` (whole components), sorted by key."""
        ...

    def where(self, key: str) -> str:
        """How a person finds the object: a path, or an `s3://` URL."""
        ...
