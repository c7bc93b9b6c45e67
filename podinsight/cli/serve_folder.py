"""Serves one folder on loopback, read-only: the sample feed of `podrun demo`, and feeds in tests."""

import re
import threading
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self
from urllib.parse import quote, unquote, urlsplit

COPY_BYTES: Final = 64 * 1024
MIME: Final = {
    ".aac": "audio/aac",
    ".flac": "audio/flac",
    ".html": "text/html; charset=utf-8",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".m4a": "audio/mp4",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".png": "image/png",
    ".srt": "application/x-subrip",
    ".txt": "text/plain; charset=utf-8",
    ".vtt": "text/vtt; charset=utf-8",
    ".wav": "audio/wav",
    ".xml": "application/rss+xml; charset=utf-8",
}


class FolderServer:
    """A context manager: the server runs in a daemon thread inside the `with` block.

    Files alone are served, with ranges and conditional requests; no listings, no hidden files, nothing outside the
    folder, also not through a link. `requests` is what was asked so far, e.g. `GET /feed.xml`.
    """

    def __init__(self, folder: Path, host: str = "127.0.0.1", port: int = 0) -> None:
        """Args:
        folder: what is served.
        host: the address to listen on.
        port: 0 takes a free one.

        Raises:
            OSError: the port is taken (at `__enter__`).
        """
        self.folder = folder.resolve()
        self.requests: list[str] = []
        self._address = (host, port)
        self._server: ThreadingHTTPServer | None = None

    @property
    def port(self) -> int:
        if self._server is None:
            raise RuntimeError("the server runs inside its `with` block")
        return self._server.server_port

    def url(self, name: str = "") -> str:
        """The URL of a file of the folder."""
        host = self._address[0]
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/{quote(name)}"

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"folder": self.folder, "requests": self.requests})
        self._server = ThreadingHTTPServer(self._address, handler)
        # Short, because leaving the block waits for one turn of this loop.
        run = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="folder-server", daemon=True)
        run.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class _Handler(BaseHTTPRequestHandler):
    folder: Path
    requests: list[str]
    protocol_version = "HTTP/1.1"
    server_version = "podinsight"
    sys_version = ""
    timeout = 30

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: `requests` tells what was asked."""

    def _answer(self, with_body: bool) -> None:
        self.requests.append(f"{self.command} {self.path}")
        path = _inside(self.folder, self.path)
        if path is None:
            self._head(HTTPStatus.NOT_FOUND, {"Content-Length": "0"})
            return
        try:
            stream = path.open("rb")
        except OSError:
            self._head(HTTPStatus.NOT_FOUND, {"Content-Length": "0"})
            return
        with stream:
            self._send(path, stream, with_body)

    def _send(self, path: Path, stream: BinaryIO, with_body: bool) -> None:
        stat = path.stat()
        etag = f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"'
        headers = {
            "Content-Type": MIME.get(path.suffix.lower(), "application/octet-stream"),
            "ETag": etag,
            "Last-Modified": formatdate(stat.st_mtime, usegmt=True),
            "Accept-Ranges": "bytes",
            "X-Content-Type-Options": "nosniff",
        }
        if self._unchanged(etag, headers["Last-Modified"]):
            self._head(HTTPStatus.NOT_MODIFIED, headers)
            return
        asked = self.headers.get("Range") if self.headers.get("If-Range") in (None, etag) else None
        span = _span(asked, stat.st_size)
        if span is None:
            headers["Content-Length"] = str(stat.st_size)
            self._head(HTTPStatus.OK, headers)
        elif span[0] > span[1]:
            headers |= {"Content-Range": f"bytes */{stat.st_size}", "Content-Length": "0"}
            self._head(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers)
            return
        else:
            headers["Content-Range"] = f"bytes {span[0]}-{span[1]}/{stat.st_size}"
            headers["Content-Length"] = str(span[1] - span[0] + 1)
            self._head(HTTPStatus.PARTIAL_CONTENT, headers)
        first, last = span or (0, stat.st_size - 1)
        if with_body:
            self._copy(stream, first, last - first + 1)

    def _unchanged(self, etag: str, modified: str) -> bool:
        known = self.headers.get("If-None-Match")
        if known is not None:
            return etag in known or known.strip() == "*"
        return self.headers.get("If-Modified-Since") == modified

    def _head(self, status: HTTPStatus, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _copy(self, stream: BinaryIO, first: int, count: int) -> None:
        stream.seek(first)
        try:
            while count > 0 and (data := stream.read(min(count, COPY_BYTES))):
                self.wfile.write(data)
                count -= len(data)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        if count > 0:  # the file became shorter: only a closed connection tells the client
            self.close_connection = True


def _inside(folder: Path, target: str) -> Path | None:
    """The file of `folder` that a request target names, or None."""
    name = unquote(urlsplit(target).path).lstrip("/")
    if not name or "\0" in name or "\\" in name or any(part.startswith(".") for part in name.split("/")):
        return None
    try:
        path = (folder / name).resolve()
        return path if path.is_relative_to(folder) and path.is_file() else None
    except OSError:
        return None


def _span(header: str | None, size: int) -> tuple[int, int] | None:
    """First and last byte that a Range header asks for; first > last when there is no such byte.

    None for no header, and for one that is no single range of bytes: HTTP has it ignored.
    """
    found = re.fullmatch(r"bytes=([0-9]*)-([0-9]*)", header.strip()) if header else None
    if found is None or not (found[1] or found[2]):
        return None
    first, last = found[1], found[2]
    if not first:
        return max(size - int(last), 0) if int(last) else size, size - 1
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last), size - 1) if last else size - 1
