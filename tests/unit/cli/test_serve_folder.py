import http.client
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from podinsight.cli.serve_folder import FolderServer

DATA = bytes(range(256)) * 1000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FolderServer]:
    (tmp_path / "outside.txt").write_text("secret")
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "e p.mp3").write_bytes(DATA)
    (folder / "sub" / "feed.xml").write_text("<rss/>")
    (folder / "empty.vtt").touch()
    (folder / ".hidden").write_text("secret")
    os.symlink(tmp_path / "outside.txt", folder / "link.txt")
    with FolderServer(folder) as running:
        yield running


def ask(
    server: FolderServer, target: str, method: str = "GET", **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request(method, target, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, answer.headers, body


def test_a_file_with_its_type_and_length(server: FolderServer) -> None:
    status, headers, body = ask(server, "/e%20p.mp3?token=1")
    assert (status, headers["Content-Type"], headers["Content-Length"]) == (200, "audio/mpeg", str(len(DATA)))
    assert body == DATA
    assert ask(server, "/sub/feed.xml")[1]["Content-Type"].startswith("application/rss+xml")
    assert ask(server, "/empty.vtt")[::2] == (200, b"")
    assert server.requests == ["GET /e%20p.mp3?token=1", "GET /sub/feed.xml", "GET /empty.vtt"]
    assert server.url("e p.mp3") == f"http://127.0.0.1:{server.port}/e%20p.mp3"


def test_head_has_no_body(server: FolderServer) -> None:
    status, headers, body = ask(server, "/e%20p.mp3", "HEAD")
    assert (status, headers["Content-Length"], body) == (200, str(len(DATA)), b"")


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("0-0", 0, 0), ("5-9", 5, 9), ("255990-", 255990, 255999), ("-10", 255990, 255999), ("-999999", 0, 255999),
     ("0-", 0, 255999), ("255999-999999", 255999, 255999)],
)  # fmt: skip
def test_a_range(server: FolderServer, asked: str, first: int, last: int) -> None:
    status, headers, body = ask(server, "/e%20p.mp3", Range=f"bytes={asked}")
    assert (status, headers["Content-Range"]) == (206, f"bytes {first}-{last}/256000")
    assert body == DATA[first : last + 1]


@pytest.mark.parametrize("asked", ["256000-", "999999-1000000", "-0"])
def test_a_range_beyond_the_end(server: FolderServer, asked: str) -> None:
    status, headers, body = ask(server, "/e%20p.mp3", Range=f"bytes={asked}")
    assert (status, headers["Content-Range"], body) == (416, "bytes */256000", b"")


@pytest.mark.parametrize("asked", ["bytes=9-5", "bytes=-", "bytes=a-b", "bytes=0-1,3-4", "items=0-1", "bytes=٣-٤"])
def test_what_is_no_single_range_is_ignored(server: FolderServer, asked: str) -> None:
    status, _, body = ask(server, "/e%20p.mp3", Range=asked.encode().decode("latin-1"))
    assert (status, body) == (200, DATA)


def test_a_range_of_an_empty_file(server: FolderServer) -> None:
    assert ask(server, "/empty.vtt", Range="bytes=0-")[0] == 416


def test_conditional_requests(server: FolderServer) -> None:
    _, headers, _ = ask(server, "/sub/feed.xml")
    assert ask(server, "/sub/feed.xml", If_None_Match=headers["ETag"])[::2] == (304, b"")
    assert ask(server, "/sub/feed.xml", If_Modified_Since=headers["Last-Modified"])[0] == 304
    assert ask(server, "/sub/feed.xml", If_None_Match='"other"', If_Modified_Since=headers["Last-Modified"])[0] == 200
    old = ask(server, "/e%20p.mp3", Range="bytes=0-4", If_Range='"other"')
    assert (old[0], len(old[2])) == (200, len(DATA))


@pytest.mark.parametrize(
    "target",
    ["/", "/sub", "/sub/", "/none.mp3", "/../outside.txt", "/%2e%2e/outside.txt", "/sub/../../outside.txt",
     "/..%2foutside.txt", "/link.txt", "/.hidden", "/a%00b", "/..%5coutside.txt", "//etc/passwd", "/" + "n" * 5000],
)  # fmt: skip
def test_nothing_else_is_there(server: FolderServer, target: str) -> None:
    status, _, body = ask(server, target)
    assert (status, body) == (404, b"")


def test_it_is_read_only(server: FolderServer) -> None:
    for method in ("PUT", "POST", "DELETE"):
        assert ask(server, "/e%20p.mp3", method)[0] == 501


def test_it_listens_on_loopback_and_stops(server: FolderServer) -> None:
    port = server.port
    assert ask(server, "/sub/feed.xml")[0] == 200
    server.__exit__(None, None, None)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    with pytest.raises(RuntimeError, match="with"):
        server.url("x")


def test_it_is_quiet(server: FolderServer, capfd: pytest.CaptureFixture[str]) -> None:
    ask(server, "/none")
    ask(server, "/sub/feed.xml")
    assert capfd.readouterr() == ("", "")
