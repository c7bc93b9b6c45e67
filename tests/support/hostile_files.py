"""What the hostile server serves: files that are made up as they are sent, and how each behaves, said in its URL."""

import hashlib
import random
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any
from urllib.parse import urlencode

BUFFER_BYTES = 8 * 2**20
BYTES_PER_SECOND = 8000  # of audio: 8 bits, one channel


@dataclass(frozen=True)
class Behaviour:
    """How one file is served; seconds, bytes. Every field is a parameter of the file's URL.

    first_byte: before the header comes. rate: bytes a second of this connection (0: as fast as it goes).
    drip: seconds between single bytes. stall_at: nothing more after so many bytes.
    breaks: connection resets at so many random bytes (by `seed`), `breaks_at`: at these; each happens once.
    lie: added to Content-Length. ranges: whether Range is understood. etag: strong, weak or none; modified: whether
    Last-Modified is said. changes: the file is another one after each so many requests (0: never).
    chunked: no Content-Length. endless: chunked, and it never ends. bomb: MiB of zeros, in gzip.
    status, after, times, retry_after, form: answers this status instead, from the request number `after` on (0-based),
    `times` times (-1: always), with Retry-After in seconds or as a `date`.
    limit: 429 for what is more than so many requests in flight at the host. via: hosts to redirect over,
    `a.test,b.test`, with the status `code`.
    """

    size: int = 2**20
    first_byte: float = 0.0
    rate: float = 0.0
    drip: float = 0.0
    stall_at: int = -1
    breaks: int = 0
    breaks_at: str = ""
    seed: int = 0
    lie: int = 0
    ranges: bool = True
    etag: str = "strong"
    modified: bool = True
    changes: int = 0
    chunked: bool = False
    endless: bool = False
    bomb: int = 0
    status: int = 0
    after: int = 0
    times: int = -1
    retry_after: float = -1.0
    form: str = "seconds"
    limit: int = 0
    via: str = ""
    code: int = 302

    @staticmethod
    def read(query: Mapping[str, str]) -> "Behaviour":
        """From URL parameters; unknown ones (tokens) are nobody's business."""
        given: dict[str, Any] = {}
        for field in fields(Behaviour):
            if field.name in query:
                kind = type(getattr(Behaviour, field.name))
                given[field.name] = (
                    query[field.name] in ("1", "true", "True") if kind is bool else kind(query[field.name])
                )
        return Behaviour(**given)

    def break_points(self) -> list[int]:
        """Absolute offsets, in order."""
        named = [int(at) for at in self.breaks_at.split(",") if at]
        dice = random.Random(self.seed)
        return sorted([*named, *(dice.randrange(1, self.size) for _ in range(self.breaks))])


def path_of(name: str, **behaviour: object) -> str:
    """`/name?parameters`; a parameter that Behaviour does not know is a token."""
    return f"/{name}?{urlencode(behaviour)}" if behaviour else f"/{name}"


@cache
def _noise() -> bytes:
    return random.Random(1).randbytes(BUFFER_BYTES)


class WaveFile:
    """A WAV file of `size` bytes that is made up by its name and version: readable audio, noise all along."""

    def __init__(self, name: str, size: int, version: int = 0) -> None:
        self.size = size
        self.etag = hashlib.sha256(f"{name}\n{version}\n{size}".encode()).hexdigest()[:16]
        self._shift = int(self.etag, 16) % BUFFER_BYTES
        data = max(0, size - 44)
        form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, BYTES_PER_SECOND, BYTES_PER_SECOND, 1, 8)
        head = (
            struct.pack("<4sI4s", b"RIFF", (36 + data) % 2**32, b"WAVE")
            + form
            + struct.pack("<4sI", b"data", data % 2**32)
        )
        self._head = memoryview(head[:size])

    def views(self, start: int, end: int, most: int = 2**20) -> Iterator[memoryview]:
        """The bytes of [start, end) without copying them, `most` at a time."""
        noise = memoryview(_noise())
        at = start
        while at < end:
            if at < len(self._head):
                view = self._head[at : min(end, len(self._head), at + most)]
            else:
                begin = (at + self._shift) % BUFFER_BYTES
                view = noise[begin : begin + min(most, end - at)]
            yield view
            at += len(view)

    def sha256(self) -> str:
        digest = hashlib.sha256()
        for view in self.views(0, self.size):
            digest.update(view)
        return digest.hexdigest()


@cache
def gzip_bomb(mib: int) -> bytes:
    """So many MiB of zeros as gzip: a thousandth of them."""
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(mib)) + packer.flush()
