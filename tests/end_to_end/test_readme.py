"""The README's commands, run as they stand there (addresses that are examples replaced by real ones)."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.feeds import rss
from tests.support.stack import scratch_environ, wait_for
from tests.support.webserver import WebServer

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
MP3 = (ROOT / "samples" / "episode-1.mp3").read_bytes()
NOT_RUN_HERE = {
    "make test": "that is what runs this",
    "make demo": "has a test of its own below",
}


def commands() -> list[str]:
    """Every line of the README's shell blocks, comments cut off."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.S)
    lines = [re.sub(r"\s+#.*", "", line).strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("export ")]


def run(line: str, environ: dict[str, str], seconds: float = 120) -> subprocess.CompletedProcess[str]:
    here = str(Path(sys.executable).parent)
    line = line.replace(".venv/bin/", f"{here}/")
    line = re.sub(r"^make ", f"make -o {ROOT}/.venv/.installed BIN={here} ", line)
    return subprocess.run(
        line, shell=True, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False
    )


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    # Nobody reads between these commands: without it `costs check` would come before the first sweep.
    values = scratch_environ(tmp_path / "state", PODINSIGHT_SWEEP_EVERY_SECONDS="5")
    yield values
    run("make down", values)


def stand_ins(folder: Path, feed: str) -> dict[str, str]:
    """Names of files and places in the README → real ones."""
    (folder / "subscriptions.opml").write_text(
        f'<opml version="2.0"><body><outline text="News"><outline type="rss" xmlUrl="{feed}"/></outline></body></opml>'
    )
    audio = folder / "archive" / "old-show" / "episode-1" / "audio" / "20vc-episode.mp3"
    audio.parent.mkdir(parents=True)
    audio.write_bytes(MP3)
    names = {name: str(folder / name) for name in ("subscriptions.opml", "backup.opml", "episodes.csv")}
    return names | {"s3://old-archive": (folder / "archive").as_uri()}


def test_the_commands_of_the_readme_work_in_their_order(environ: dict[str, str], tmp_path: Path) -> None:
    with WebServer() as web:
        real = stand_ins(tmp_path, web.url("/feed.xml"))
        web.serve("/episode.mp3", MP3, mime="audio/mpeg")
        web.serve("/feed.xml", rss("Readme", [("one", web.url("/episode.mp3"))]), mime="application/rss+xml")
        ran = 0
        for line in commands():
            if line in NOT_RUN_HERE:
                continue
            line = line.replace("https://example.com", web.url("").rstrip("/"))
            for name, place in real.items():
                line = line.replace(name, place)
            done = run(line, environ)
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
            ran += 1
        assert ran >= 10
        wait_for(lambda: web.hits("/episode.mp3") == 2, 30, "one download for the feed, one for the bare URL")


def test_exports_of_the_readme_are_settings_that_exist(tmp_path: Path) -> None:
    from podinsight import settings

    exports = dict(re.findall(r"^export (\w+)=(\S+)", README, re.M))
    assert exports
    settings.load(exports | {"PODINSIGHT_STATE_DIR": str(tmp_path)})


def test_the_demo_ends_with_transcripts_and_a_second_run_finds_them(tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PODINSIGHT_")}
    environ["PODINSIGHT_STATE_DIR"] = str(tmp_path / "state")
    first = run("make demo", environ)
    assert first.returncode == 0, first.stdout + first.stderr
    for words in (
        "good manners on the internet. A program that",
        "Today we talk about searching",
        "Welcome to the show",
    ):
        assert words in first.stdout, first.stdout
    assert "on a rented GPU it would have cost" in first.stdout
    assert "2 decoded by Whisper, 1 taken from the publisher" in first.stdout, "F12, and two that were really heard"
    second = run("make demo", environ)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "0 of them made now" in second.stdout
    assert "Welcome to the show" in second.stdout
