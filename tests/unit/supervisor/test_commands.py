from pathlib import Path

import pytest

from podinsight.settings import load
from podinsight.supervisor.broker import is_embedded
from podinsight.supervisor.commands import StackCommands, child_environ, worker_environ


def test_worker_command_follows_topology_and_settings() -> None:
    commands = StackCommands(load({"PODINSIGHT_FETCH_SLOTS": "7", "PODINSIGHT_LOG_LEVEL": "WARNING"}))
    fetch = " ".join(commands.worker("fetch", "fetch-abc123")[1:])
    assert fetch == (
        "-m celery -A workers worker -Q fetch -P threads -c 7 -n fetch-abc123@%h"
        " --without-gossip --without-mingle --loglevel WARNING"
    )
    assert "-Q gpu -P prefork -c 1 -n gpu-1@%h" in " ".join(commands.worker("gpu", "gpu-1"))


def test_broker_command_keeps_to_this_machine_and_to_its_folder(tmp_path: Path) -> None:
    command = StackCommands(load({"PODINSIGHT_STATE_DIR": str(tmp_path), "PODINSIGHT_BROKER_PORT": "6500"})).broker()
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options == {
        "--bind": "127.0.0.1",
        "--port": "6500",
        "--dir": str(tmp_path / "broker"),
        "--appendonly": "yes",
        "--maxmemory-policy": "noeviction",
        "--daemonize": "no",
        "--save": "",
    }


def test_children_load_the_same_settings_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLOWER_UNAUTHENTICATED_API", "1")
    (tmp_path / "mine.toml").write_text('stop_seconds = 7\nmodel_dir = "models"\n')
    given = {"PODINSIGHT_STATE_DIR": "here", "PODINSIGHT_CONFIG": "mine.toml", "PODINSIGHT_GPU_WORKERS": "2"}
    settings = load(given)
    env = child_environ(settings, given)
    monkeypatch.chdir("/")
    assert load(env).model_dump() == settings.model_dump()
    assert env["PODINSIGHT_STATE_DIR"] == str(tmp_path / "here")
    assert "FLOWER_UNAUTHENTICATED_API" not in env


def test_a_worker_learns_who_it_is_without_an_unknown_setting() -> None:
    env = worker_environ({"PATH": "/bin"}, "gpu", "gpu-1")
    assert env == {"PATH": "/bin", "PODWORKER_ID": "gpu-1", "PODWORKER_POOL": "gpu"}
    load(env)


@pytest.mark.parametrize(
    ("url", "embedded"),
    [
        ("redis://127.0.0.1:6390/0", True),
        ("redis://localhost:6390/1", True),
        ("redis://127.0.0.1:6379/0", False),
        ("redis://redis.example:6390/0", False),
        ("redis://127.0.0.1/0", False),
    ],
)
def test_only_our_own_port_on_this_machine_is_our_broker(url: str, embedded: bool) -> None:
    assert is_embedded(url, 6390) is embedded
