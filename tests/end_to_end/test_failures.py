"""What cannot be transcribed fails with a reason that helps; what hangs is ended and done again (T8)."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psutil
import pytest

from podinsight.domain.work import State
from tests.support.audio import unlike
from tests.support.feeds import rss
from tests.support.stack import ROOT, Stack, running_stack, wait_for
from tests.support.webserver import WebServer

MP3 = (ROOT / "samples" / "episode-1.mp3").read_bytes()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Who makes no progress for three seconds is ended. No loss of a lease by its length is waited for: it would take a
    minute. No model is downloaded."""
    times = {"PROGRESS_SECONDS": "3", "LEASE_SECONDS": "60", "RENEW_SECONDS": "1"}
    environ = {f"PODINSIGHT_{name}": value for name, value in times.items()}
    models = tmp_path_factory.mktemp("models")
    more = environ | {"PODINSIGHT_MODEL_DIR": str(models), "HF_HUB_OFFLINE": "1"}
    with running_stack(tmp_path_factory.mktemp("failures"), **more) as running:
        yield running


def begin(stack: Stack, web: WebServer, name: str, model: str = "") -> list[str]:
    web.serve(f"/{name}.mp3", unlike(MP3, name), mime="audio/mpeg")
    web.serve(f"/{name}.xml", rss(name, [(name, web.url(f"/{name}.mp3"))]), mime="application/rss+xml")
    ids = stack.add_feed(web.url(f"/{name}.xml"))
    stack.start(ids, model=model)
    return ids


def reason(stack: Stack, episode: str) -> str:
    return stack.store.work.states("transcribe", [episode])[episode][1]


@contextmanager
def hanging(files: list[Path]) -> Iterator[None]:
    """Whoever opens one of these files waits for ever, as on a file server that went away."""
    kept = {path: path.read_bytes() for path in files}
    for path in files:
        path.unlink()
        os.mkfifo(path)
    try:
        yield
    finally:
        for path, data in kept.items():
            path.unlink()
            path.write_bytes(data)


def audio_files(stack: Stack) -> list[Path]:
    """What a gpu worker may read: the episode's audio, and the audio of its chunks."""
    areas = [Path(unquote(urlsplit(stack.settings.area_urls()[area]).path)) for area in ("raw", "stage")]
    return [path for area in areas for path in area.rglob("*") if path.suffix in (".mp3", ".flac")]


def test_a_model_that_is_not_there_fails_the_row_and_names_three_ways_to_get_it(stack: Stack, web: WebServer) -> None:
    ids = begin(stack, web, "missing", model="small")
    stack.wait_ended("transcribe", ids, 60)
    assert stack.states("transcribe", ids) == [State.FAILED]
    text = reason(stack, ids[0])
    assert text.startswith("the speech model small is not on this machine")
    for way in (f"{stack.settings.model_dir}/small", "package of weights", "Hugging Face hub"):
        assert way in text


def test_a_chunk_that_makes_no_progress_is_ended_with_its_process_and_done_again(stack: Stack, web: WebServer) -> None:
    """The hang is in a system call of the work's own thread: leases are renewed meanwhile, so only the watchdog
    helps."""
    stack.store.workers.set_desired("gpu", 0)
    wait_for(lambda: not stack.pids("gpu"), 20, "no gpu worker")
    ids = begin(stack, web, "hung")
    wait_for(lambda: stack.states("transcribe", ids) == [State.WAITING], 60, "everything is ready to decode")
    with hanging(audio_files(stack)):
        stack.store.workers.set_desired("gpu", 1)
        wait_for(lambda: stack.running("transcribe"), 30, "the chunk is claimed")
        (main,) = stack.pids("gpu")
        (child,) = [each for each in psutil.Process(main).children() if "spawn_main" in " ".join(each.cmdline())]
        wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 20, "it is ended")
    stack.wait_ended("transcribe", ids, 40)
    assert stack.states("transcribe", ids) == [State.DONE]
    assert stack.pids("gpu") == [main], "the worker stays, its pool has a new child"
    assert set(stack.commits().values()) == {1}
    assert stack.store.work.leftovers(time.time() + 1, 10), "a loss was charged"
