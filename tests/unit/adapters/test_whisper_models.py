import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from podinsight.adapters import whisper_models
from podinsight.adapters.whisper_models import ModelInfo, WhisperOptions, available, fetch, find
from podinsight.errors import Permanent

PIECES = (b"first half, ", b"second half")
WHOLE = hashlib.sha256(b"".join(PIECES)).hexdigest()


def make_weights(folder: Path, data: bytes = b"weights") -> Path:
    folder.mkdir(parents=True)
    (folder / "model.bin").write_bytes(data)
    (folder / "config.json").write_text("{}")
    return folder


@pytest.fixture
def options(tmp_path: Path) -> WhisperOptions:
    return WhisperOptions(model_dir=tmp_path / "models", cache_dir=tmp_path / "cache")


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed packages of weights: tiny in one piece, base in two."""
    site = tmp_path / "site"
    make_weights(site / "weights_of_tiny" / "model", b"tiny")
    for number, piece in enumerate(PIECES, 1):
        data = site / f"weights_of_base_{number}" / "data"
        data.mkdir(parents=True)
        (data / f"model.bin.part{number}").write_bytes(piece)
    (site / "weights_of_base_1" / "data" / "config.json").write_text("{}")
    (site / "weights_of_base_1" / "data" / "tokenizer.json").write_text("[]")
    for folder in site.iterdir():
        (folder / "__init__.py").write_text("raise AssertionError('weights are found without importing them')")
    monkeypatch.syspath_prepend(str(site))
    package = whisper_models._Package
    two = ("weights_of_base_1", "weights_of_base_2")
    table = {"tiny": package(("weights_of_tiny",), "model", "tiny==1"), "base": package(two, "data", "base==1", WHOLE)}
    monkeypatch.setattr(whisper_models, "PACKAGES", table)


def test_a_folder_comes_first_then_a_package(options: WhisperOptions, packages: None, tmp_path: Path) -> None:
    assert find("tiny", options) == tmp_path / "site" / "weights_of_tiny" / "model"
    assert options.model_dir is not None
    here = make_weights(options.model_dir / "tiny")
    assert find("tiny", options) == fetch("tiny", options) == here


def test_a_model_of_ones_own_by_folder_name_and_by_path(options: WhisperOptions, tmp_path: Path) -> None:
    assert options.model_dir is not None
    mine = make_weights(options.model_dir / "my-model.v2")
    elsewhere = make_weights(tmp_path / "elsewhere")
    assert find("my-model.v2", options) == mine
    assert find(str(elsewhere), options) == elsewhere


def test_pieces_are_joined_once_with_their_hash(options: WhisperOptions, packages: None) -> None:
    home = find("base", options)
    assert (home / "model.bin").read_bytes() == b"".join(PIECES)
    assert {file.name for file in home.iterdir()} == {"model.bin", "config.json", "tokenizer.json", "SHA256SUMS"}
    assert (home / "SHA256SUMS").read_text() == f"{WHOLE}  model.bin\n"
    before = (home / "model.bin").stat()
    assert find("base", options) == home
    assert (home / "model.bin").stat() == before
    assert [each.name for each in home.parent.iterdir()] == [home.name]


def test_what_an_interrupted_join_left_is_replaced(options: WhisperOptions, packages: None) -> None:
    home = find("base", options)
    (home / "model.bin").unlink()
    assert (find("base", options) / "model.bin").read_bytes() == b"".join(PIECES)


def test_many_joins_at_once_give_one_folder(options: WhisperOptions, packages: None) -> None:
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(find("base", options))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert [each.name for each in found[0].parent.iterdir()] == [found[0].name]


def test_damaged_pieces_are_refused(options: WhisperOptions, packages: None, tmp_path: Path) -> None:
    (tmp_path / "site" / "weights_of_base_2" / "data" / "model.bin.part2").write_bytes(b"something else")
    with pytest.raises(Permanent, match="damaged"):
        find("base", options)
    assert options.cache_dir is not None
    assert list((options.cache_dir / "joined").iterdir()) == []


def test_available(options: WhisperOptions, packages: None, tmp_path: Path) -> None:
    assert options.model_dir is not None
    mine = make_weights(options.model_dir / "mine")
    (options.model_dir / "no weights").mkdir()
    site = tmp_path / "site"
    assert available(options) == [
        ModelInfo("base", site / "weights_of_base_1" / "data", "package"),
        ModelInfo("mine", mine, "folder"),
        ModelInfo("tiny", site / "weights_of_tiny" / "model", "package"),
    ]


@pytest.mark.parametrize(
    ("name", "hint"), [("tiny.eng", "did you mean tiny.en"), ("qqq", "known are base, "), ("", "")]
)
def test_an_unknown_name_gets_suggestions(options: WhisperOptions, name: str, hint: str) -> None:
    with pytest.raises(Permanent, match=rf"unknown speech model .*{hint}"):
        find(name, options)


@pytest.mark.parametrize("name", ["../elsewhere", "elsewhere/../elsewhere", ".", "/none"])
def test_a_name_does_not_leave_the_folder(options: WhisperOptions, tmp_path: Path, name: str) -> None:
    make_weights(tmp_path / "elsewhere")
    with pytest.raises(Permanent, match="unknown speech model"):
        find(name, options)


def test_without_a_download_it_says_so(options: WhisperOptions) -> None:
    with pytest.raises(Permanent, match=r"Three ways.*\(1\).*\(2\).*\(3\).*not allowed") as caught:
        find("large-v3", options, download=False)
    assert str(options.model_dir) in str(caught.value)
    here = ", ".join(info.name for info in available(options))
    assert here
    assert str(caught.value).endswith(f"Or ask for one that is here: {here}")


# ----------------------------------------------------------------------------------------------- the hub, in a process
# of its own: its client reads its address once, when it is imported


def ask(endpoint: str, cache: Path) -> "subprocess.CompletedProcess[str]":
    code = """
import pathlib, sys
from podinsight.adapters.whisper_models import WhisperOptions, available, find
options = WhisperOptions(cache_dir=pathlib.Path(sys.argv[1]))
print((find("small", options) / "model.bin").read_text())
print([(info.name, info.source) for info in available(options) if info.name == "small"])
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, "-c", code, str(cache)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_a_hub_that_never_answers_does_not_hang(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        end = ask(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path)
        assert time.monotonic() - began < 15 + 10, "and ten for a slow start"
    last = end.stderr.strip().splitlines()[-1]
    assert "Permanent" in last
    assert "(1)" in last
    assert "(2)" in last
    assert "(3)" in last


HUB_FILES = {"model.bin": b"from the hub", "config.json": b"{}", "README.md": b"not wanted"}


class _Hub(BaseHTTPRequestHandler):
    """As much of a hub as one download needs."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        body = HUB_FILES.get(name, b"")
        if "/tree/" in self.path:
            files = [
                {"type": "file", "path": each, "size": len(HUB_FILES[each]), "oid": "b" * 40} for each in HUB_FILES
            ]
            body = json.dumps(files).encode()
        elif self.path.startswith("/api/models/Systran/faster-whisper-small"):
            siblings = [{"rfilename": each} for each in HUB_FILES]
            body = json.dumps({"id": "Systran/faster-whisper-small", "sha": "a" * 40, "siblings": siblings}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json" if self.path.startswith("/api") else "text/plain")
        self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", "a" * 40)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_download_is_kept_and_used_when_the_hub_is_gone(hub: str, tmp_path: Path) -> None:
    expected = "from the hub\n[('small', 'cache')]\n"
    first = ask(hub, tmp_path)
    assert (first.stdout, first.stderr) == (expected, "")
    assert ask("http://127.0.0.1:9", tmp_path).stdout == expected
