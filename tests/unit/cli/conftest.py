"""podrun on a temporary state folder, with a web server to fetch from."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from podinsight.settings_sources import OLD_NAMES
from tests.support.webserver import WebServer
from tests.unit.cli.desk import Desk, open_desk


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The environment of a user who has set nothing but the state folder."""
    for name in os.environ:
        if name.upper().startswith("PODINSIGHT_") or name in {old for old, _new in OLD_NAMES}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("PODINSIGHT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("PODINSIGHT_ALLOWED_HOSTS", "127.0.0.1")
    return tmp_path / "state"


@pytest.fixture
def desk(state: Path) -> Iterator[Desk]:
    with WebServer() as web:
        opened = open_desk(state, web)
        yield opened
        opened.store.close()


@pytest.fixture
def free_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker and a Flower of the machine that runs the tests are none of the test's business."""
    for name in ("BROKER", "FLOWER"):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            monkeypatch.setenv(f"PODINSIGHT_{name}_PORT", str(probe.getsockname()[1]))
