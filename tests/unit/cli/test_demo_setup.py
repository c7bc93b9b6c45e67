"""What the demo runs in: nothing of the user's own, the same ports again, once at a time."""

import socket
from pathlib import Path

import pytest

from podinsight import settings as settings_module
from podinsight.cli import demo_setup
from podinsight.cli.exits import CommandError

PORTS = {"broker": 7001, "flower": 7002, "samples": 7003}


def test_nothing_of_the_user_leaks_into_the_demo(tmp_path: Path) -> None:
    theirs = {
        "PATH": "/bin",
        "PODINSIGHT_STATE_DIR": str(tmp_path),
        "PODINSIGHT_DATABASE_URL": "postgresql://u:p@db/prod",
        "PODINSIGHT_REDIS_URL": "redis://prod:6379/0",
        "PODINSIGHT_OBJECTS_URL": "s3://prod",
        "PODINSIGHT_RAW_URL": "s3://prod-raw",
        "PODINSIGHT_CONFIG": "/etc/prod.toml",
        "PODINSIGHT_NONSENSE": "1",
        "PODINSIGHT_DEVICE": "cpu",
        "podinsight_nonsense": "1",
        "DATABASE_URL": "mongodb://old",
        "REDIS_HOST": "prod",
        "REDIS_PORT": "6379",
        "USE_AWS": "true",
        "S3_SOURCE_BUCKET": "prod",
        "S3_ANYTHING": "prod",
        "CELERY_BROKER_URL": "redis://prod",
    }
    environ = demo_setup.demo_environ(theirs, demo_setup.demo_dir(theirs), PORTS)
    assert "prod" not in " ".join(environ.values())
    settings = settings_module.load(environ)
    folder = tmp_path / "demo"
    assert settings.state_dir == folder
    assert settings.database_url == f"sqlite:///{folder}/podinsight.db"
    assert settings.redis_url == "redis://127.0.0.1:7001/0"
    assert settings.objects_url == (folder / "objects").as_uri()
    assert (settings.model, settings.device, settings.flower_port) == ("tiny.en", "cpu", 7002)
    assert settings.allowed_hosts == ("127.0.0.1",)
    assert settings.model_cache_dir == tmp_path / "models"
    assert environ["PATH"] == "/bin"


def test_the_environment_comes_back() -> None:
    environ = {"A": "1", "B": "2"}
    with demo_setup.replaced(environ, {"A": "3", "C": "4"}):
        assert environ == {"A": "3", "C": "4"}
    assert environ == {"A": "1", "B": "2"}


def test_ports_are_remembered_unless_taken(tmp_path: Path) -> None:
    ports = demo_setup.Ports(tmp_path)
    assert ports.remembered() == {}
    first = ports.choose()
    assert first["samples"] == 0
    assert len({first["broker"], first["flower"]}) == 2
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports.remember({"broker": taken.getsockname()[1], "flower": first["flower"], "samples": 7003})
        again = demo_setup.Ports(tmp_path).choose()
        assert again["broker"] != taken.getsockname()[1]
    assert again["samples"] == 7003
    (tmp_path / "ports.json").write_text("broken")
    assert ports.remembered() == {}


def test_the_samples_move_when_their_port_is_taken(tmp_path: Path) -> None:
    (tmp_path / "feed.xml").write_text("<rss/>")
    said: list[str] = []
    with demo_setup.serve_samples(tmp_path, 0, said.append) as first:
        port = first.port
        assert said == []
        with demo_setup.serve_samples(tmp_path, port, said.append) as second:
            assert second.port != port
        assert len(said) == 1
        assert str(port) in said[0]
    with demo_setup.serve_samples(tmp_path, port, said.append) as third:
        assert third.port == port


def test_one_demo_at_a_time(tmp_path: Path) -> None:
    with (
        demo_setup.only_one(tmp_path),
        pytest.raises(CommandError, match="another demo"),
        demo_setup.only_one(tmp_path),
    ):
        raise AssertionError("two demos ran")
    with demo_setup.only_one(tmp_path):
        pass


def test_the_samples_are_in_the_checkout() -> None:
    assert (demo_setup.samples_dir() / "feed.xml").is_file()
