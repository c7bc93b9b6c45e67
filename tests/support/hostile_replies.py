"""What the hostile server answers to a request: header, body, and how it ends."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from email.utils import formatdate
from urllib.parse import urlencode

from tests.support.hostile_files import Behaviour, WaveFile, gzip_bomb

TICK = 0.02
LAST_MODIFIED = 1_700_000_000


@dataclass(frozen=True)
class Turn:
    """One request: its number at its path (0-based), how many of the path's breaks are used up, and how many requests
    are in flight at its host, itself included."""

    host: str
    port: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    number: int
    broken: int
    in_flight: int


@dataclass(frozen=True)
class Reply:
    """A header and what follows it. then: keep, close, reset or hang. broken: the breaks that are used up now."""

    head: bytes
    body: Iterable[memoryview] = ()
    then: str = "keep"
    broken: int = 0


def _head(status: int, headers: dict[str, object]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode("latin-1")


def make_reply(behaviour: Behaviour, turn: Turn) -> Reply:
    """What the file's Behaviour says for this request."""
    reply = _instead(behaviour, turn)
    return replace(reply, broken=turn.broken) if reply else _file(behaviour, turn)


def _instead(behaviour: Behaviour, turn: Turn) -> Reply | None:
    late = turn.number - behaviour.after
    if behaviour.via:
        there, _, rest = behaviour.via.partition(",")
        location = f"http://{there}:{turn.port}{turn.path}?{urlencode({**turn.query, 'via': rest})}"
        return Reply(_head(behaviour.code, {"Location": location, "Content-Length": 0}))
    if behaviour.status and late >= 0 and (behaviour.times < 0 or late < behaviour.times):
        return Reply(_head(behaviour.status, {**_retry_after(behaviour), "Content-Length": 0}))
    if behaviour.limit and turn.in_flight > behaviour.limit:
        return Reply(_head(429, {**_retry_after(behaviour), "Content-Length": 0}))
    if behaviour.bomb:
        bomb = gzip_bomb(behaviour.bomb)
        kind = {"Content-Type": "text/xml", "Content-Encoding": "gzip"}
        return Reply(_head(200, {**kind, "Content-Length": len(bomb)}), [memoryview(bomb)])
    return None


def _retry_after(behaviour: Behaviour) -> dict[str, object]:
    if behaviour.retry_after < 0:
        return {}
    date = formatdate(time.time() + behaviour.retry_after, usegmt=True)
    return {"Retry-After": date if behaviour.form == "date" else f"{behaviour.retry_after:.0f}"}


def _file(behaviour: Behaviour, turn: Turn) -> Reply:
    version = turn.number // behaviour.changes if behaviour.changes else 0
    file = WaveFile(f"{turn.host}{turn.path}", behaviour.size, version)
    said: dict[str, object] = {"Content-Type": "audio/wav"}
    if behaviour.etag != "none":
        said["ETag"] = f'W/"{file.etag}"' if behaviour.etag == "weak" else f'"{file.etag}"'
    if behaviour.modified:
        said["Last-Modified"] = formatdate(LAST_MODIFIED + version, usegmt=True)
    start, end, status = 0, file.size, 200
    wanted = turn.headers.get("range", "")
    if behaviour.ranges and wanted.startswith("bytes=") and _unchanged(turn.headers.get("if-range"), said):
        start = int(wanted.removeprefix("bytes=").partition("-")[0])
        if start >= file.size:
            return Reply(_head(416, {"Content-Range": f"bytes */{file.size}", "Content-Length": 0}))
        status, said["Content-Range"] = 206, f"bytes {start}-{file.size - 1}/{file.size}"
    if behaviour.endless or behaviour.chunked:
        said["Transfer-Encoding"] = "chunked"
        return Reply(_head(status, said), _chunks(file, start, behaviour))
    said["Content-Length"] = end - start + behaviour.lie
    end, then, broken = _stop(behaviour, turn.broken, start, end)
    most = 1 if behaviour.drip else max(1, int(behaviour.rate * TICK)) if behaviour.rate else 2**20
    return Reply(_head(status, said), file.views(start, end, most), then, broken)


def _unchanged(condition: str | None, said: dict[str, object]) -> bool:
    strong = str(said.get("ETag", "W/")).startswith('"')
    return condition is None or condition in ((said.get("ETag") if strong else None), said.get("Last-Modified"))


def _stop(behaviour: Behaviour, broken: int, start: int, end: int) -> tuple[int, str, int]:
    """Where this response ends, what happens then, and how many breaks are used up."""
    points = behaviour.break_points()[broken:]
    due = next((at for at in points if start < at < end), None)
    if due is not None:
        return due, "reset", broken + 1 + points.index(due)
    if 0 <= behaviour.stall_at < end:
        return max(start + 1, behaviour.stall_at), "hang", broken
    return end, "close" if behaviour.lie else "keep", broken


def _chunks(file: WaveFile, start: int, behaviour: Behaviour) -> Iterator[memoryview]:
    """Chunked encoding; of a rate or a drip, at the chunk's own size."""
    most = max(1, int(behaviour.rate * TICK)) if behaviour.rate else 2**18
    while True:
        for view in file.views(start, file.size, most):
            yield memoryview(b"%x\r\n%s\r\n" % (len(view), bytes(view)))
        if not behaviour.endless:
            break
    yield memoryview(b"0\r\n\r\n")
