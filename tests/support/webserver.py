"""A small web server on loopback that answers as it is told, misbehaviour included.

with WebServer() as web:
    web.serve("/a.mp3", data, mime="audio/mpeg", rate=20_000)
    fetch(web.url("/a.mp3"))
    assert web.hits("/a.mp3") == 1
"""

import gzip
import ssl
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from types import TracebackType
from typing import Self

TICK = 0.02


@dataclass(frozen=True)
class Reply:
    """One answer.

    declared: a Content-Length that may lie about the body (None: the truth).
    rate: bytes a second (None: as fast as it goes).
    chunked: sent with chunked transfer encoding, without a Content-Length.
    gate: the answer waits for this event.
    header_drip: seconds between the bytes of a header line that never ends.
    """

    body: bytes = b""
    status: int = 200
    mime: str | None = "application/octet-stream"
    headers: Mapping[str, str] = field(default_factory=dict)
    declared: int | None = None
    rate: float | None = None
    chunked: bool = False
    gate: threading.Event | None = None
    header_drip: float | None = None


@dataclass(frozen=True)
class Request:
    """One request as it came in; header names are lower-case."""

    path: str
    host: str
    headers: Mapping[str, str]
    body: bytes = b""


class WebServer:
    """Serves from a thread per connection. Thread-safe; routes may change while it runs."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._lock = threading.Lock()
        self._routes: dict[str, list[Reply]] = {}
        self._requests: list[Request] = []
        self._busy: Counter[str] = Counter()
        self._peaks: Counter[str] = Counter()
        self.stopping = threading.Event()
        self._server = _Server(self)
        self._scheme = "https" if tls else "http"
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """The URL of a path; `host` for tests whose resolver maps names to loopback."""
        return f"{self._scheme}://{host}:{self.port}{path}"

    def serve(
        self,
        path: str,
        body: bytes,
        mime: str | None = "application/octet-stream",
        *,
        headers: Mapping[str, str] | None = None,
        etag: str | None = None,
        rate: float | None = None,
    ) -> str:
        """Registers bytes under a path; with `etag` a conditional request gets 304. Returns the URL."""
        extra = dict(headers or {}) | ({"ETag": etag} if etag else {})
        return self.answer(path, Reply(body, mime=mime, headers=extra, rate=rate))

    def answer(self, path: str, *replies: Reply) -> str:
        """Registers answers that are given one after the other; the last one stays. Returns the URL."""
        with self._lock:
            self._routes[path] = list(replies)
        return self.url(path)

    def fail(self, path: str, status: int, headers: Mapping[str, str] | None = None) -> str:
        """A path that always answers with this status."""
        return self.answer(path, Reply(b"no", status, "text/plain", headers or {}))

    def redirect(self, path: str, location: str, status: int = 302) -> str:
        """A path that sends the client elsewhere."""
        return self.answer(path, Reply(status=status, mime=None, headers={"Location": location}))

    def chain(self, path: str, hops: int, target: str) -> str:
        """`hops` relative redirects, of which the last one leads to `target`."""
        steps = [path, *(f"{path}-{n}" for n in range(1, hops)), target]
        for here, there in pairwise(steps):
            self.redirect(here, there)
        return self.url(path)

    def serve_gzip(self, path: str, body: bytes, mime: str) -> str:
        """Registers bytes that travel compressed."""
        return self.serve(path, gzip.compress(body), mime, headers={"Content-Encoding": "gzip"})

    def requests(self, path: str | None = None) -> list[Request]:
        """The requests so far, in order."""
        with self._lock:
            return [request for request in self._requests if path in (None, request.path)]

    def hits(self, path: str) -> int:
        """How often a path was asked for."""
        return len(self.requests(path))

    def in_flight(self, host: str | None = None) -> int:
        """Requests that are being answered now, of all hosts or of one (the name in the Host header)."""
        with self._lock:
            return self._busy.total() if host is None else self._busy[host]

    def peak(self, host: str) -> int:
        """The most requests that were ever in flight at once at a host."""
        with self._lock:
            return self._peaks[host]

    def take(self, request: Request) -> Reply:
        """The answer to a request, which is written down."""
        with self._lock:
            self._requests.append(request)
            replies = self._routes.get(request.path)
            if not replies:
                return Reply(b"not found", 404, "text/plain")
            return replies.pop(0) if len(replies) > 1 else replies[0]

    @contextmanager
    def busy(self, host: str) -> Iterator[None]:
        with self._lock:
            self._busy[host] += 1
            self._peaks[host] = max(self._peaks[host], self._busy[host])
        try:
            yield
        finally:
            with self._lock:
                self._busy[host] -= 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, web: WebServer) -> None:
        self.web = web
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are what tests do."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        host = (self.headers.get("Host") or "").rpartition(":")[0]
        headers = {name.lower(): value for name, value in self.headers.items()}
        web = self.server.web
        with web.busy(host):
            body = self.rfile.read(int(headers.get("content-length", 0)))
            reply = web.take(Request(self.path.partition("?")[0], host, headers, body))
            self._answer(reply)

    do_HEAD = do_POST = do_GET

    def _answer(self, reply: Reply) -> None:
        while reply.gate and not reply.gate.wait(TICK):
            if self.server.web.stopping.is_set():
                return
        if reply.header_drip is not None:
            self._drip(reply.header_drip)
            return
        status, body, headers = self._conditional(reply)
        self.send_response(status)
        if reply.mime:
            self.send_header("Content-Type", reply.mime)
        for name, value in headers.items():
            self.send_header(name, value)
        has_body = status != 304
        if has_body:
            self._send_length(reply, body)
        self.end_headers()
        if has_body and self.command != "HEAD":
            self._send(reply, body)

    def _send_length(self, reply: Reply, body: bytes) -> None:
        if reply.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            return
        declared = len(body) if reply.declared is None else reply.declared
        self.send_header("Content-Length", str(declared))
        if declared > len(body):
            self.close_connection = True
            self.send_header("Connection", "close")

    def _conditional(self, reply: Reply) -> tuple[int, bytes, dict[str, str]]:
        """304 for the ETag that the client has, 206 for a range, else the reply as it is."""
        headers = dict(reply.headers)
        etag = headers.get("ETag")
        if reply.status != 200:
            return reply.status, reply.body, headers
        if etag and self.headers.get("If-None-Match") == etag:
            return 304, b"", headers
        wanted = self.headers.get("Range", "")
        if not wanted.startswith("bytes="):
            return 200, reply.body, headers
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        size = len(reply.body)
        start = int(first) if first else max(0, size - int(last))
        end = min(size, int(last) + 1) if first and last else size
        if start >= size:
            return 416, b"", headers | {"Content-Range": f"bytes */{size}"}
        return 206, reply.body[start:end], headers | {"Content-Range": f"bytes {start}-{end - 1}/{size}"}

    def _send(self, reply: Reply, body: bytes) -> None:
        step = max(1, int(reply.rate * TICK)) if reply.rate else 1 << 16
        for at in range(0, len(body), step):
            piece = body[at : at + step]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if reply.chunked else piece)
            if reply.rate and self.server.web.stopping.wait(len(piece) / reply.rate):
                self.close_connection = True
                return
        if reply.chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _drip(self, pause: float) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Endless: ")
        self.close_connection = True
        while not self.server.web.stopping.wait(pause):
            self.wfile.write(b"x")

    def log_message(self, format: str, *args: object) -> None:
        """Tests are quiet."""
