"""The whole pipeline against plain faster-whisper in a loop: same files, same model, same cores, one run.

    make bench-pipeline AUDIO=DIR     (a folder of recordings; the samples when AUDIO is not given)

Episodes are the recordings strung together with pauses, in another order each, all queued at once. The pipeline runs
in a stack of its own, warm (one episode went through before), from the first claim to the last commit. The peer is
`faster_whisper.WhisperModel.transcribe` with its default settings in a loop in a process of its own, its model loaded
before and one file transcribed. The two take turns in who begins. A run is all episodes once, the same sound in new
files, so that none is known from the run before; the last line is `{"ratio": …, "device_share": …}`: medians over the
runs of pipeline seconds over loop seconds, and of the seconds in which the speech model computed over those from the
gpu worker's first claim to its last commit.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

from sqlalchemy import func, select

from tests.support.long_audio import RATE, Samples, flac, strung

if TYPE_CHECKING:
    from podinsight.bootstrap import Container

ROOT = Path(__file__).resolve().parent.parent
MODEL = "tiny.en"

PEER = """
import os, sys, time
from faster_whisper import WhisperModel
from podinsight.adapters import whisper_models
from podinsight.adapters.whisper_models import WhisperOptions
options = WhisperOptions(device="cpu", compute_type="auto", cpu_threads=0, model_dir=None, cache_dir=None)
model = WhisperModel(str(whisper_models.find(sys.argv[1], options)), device="cpu", compute_type="int8",
                     cpu_threads=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
for line in sys.stdin:
    started = time.monotonic()
    for file in line.rstrip("\\n").split("\\t"):
        segments, _info = model.transcribe(file)
        text = [segment.text for segment in segments]
    print(time.monotonic() - started, flush=True)
"""


class Peer:
    """Plain faster-whisper, its model loaded and warm, in a process of its own."""

    def __init__(self, first: Path) -> None:
        command = [sys.executable, "-c", PEER, MODEL]
        self._process = subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.run([first])

    def run(self, files: Sequence[Path]) -> float:
        """Seconds that it takes to transcribe `files`, one after the other."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\t".join(map(str, files)) + "\n")
        self._process.stdin.flush()
        said = self._process.stdout.readline()
        if not said:
            raise SystemExit(f"faster-whisper ended with exit code {self._process.wait()}")
        return float(said)

    def end(self) -> None:
        self._process.communicate("")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def feed_of(folder: Path, sounds: Sequence[Samples], url: str, name: str) -> str:
    """Writes a feed of `sounds`, each an item with a file of its own, `<name>-<n>.flac`; returns its URL."""
    items = []
    for index, samples in enumerate(sounds):
        file = f"{name}-{index}.flac"
        (folder / file).write_bytes(flac(samples, title=file))
        items.append(
            f"<item><title>{file}</title><guid isPermaLink='false'>{file}</guid>"
            f"<enclosure url={quoteattr(f'{url}{file}')} type='audio/flac'/></item>"
        )
    text = f"<rss version='2.0'><channel><title>Bench {name}</title>{''.join(items)}</channel></rss>"
    (folder / f"{name}.xml").write_text(text)
    return f"{url}{name}.xml"


def run_pipeline(world: "Container", feed_url: str) -> tuple[float, float, float]:
    """Seconds from the first claim to the last commit of a new feed's episodes, by the stack that is up; those from
    the first chunk's claim to the last one's commit; and those in which the speech model computed."""
    from podinsight.adapters.database import SqlStore
    from podinsight.adapters.database.models import speech_days, stage_runs
    from podinsight.domain.work import OPEN_STATES, State
    from podinsight.services.dispatch import dispatch
    from podinsight.services.poll import PollPorts, poll_feed

    store = world.store
    assert isinstance(store, SqlStore)
    feed, _ = store.catalogue.add_feed(feed_url)
    poll_feed(PollPorts(store, world.fetcher, world.parser, world.clock), feed, 3600.0)
    ids = [episode.id for episode in store.catalogue.first_episodes(None, feed.id)]
    since = time.time()
    computed = select(func.coalesce(func.sum(speech_days.c.device_seconds), 0.0))
    with store.db.read() as connection:
        before = connection.execute(computed).scalar_one()
    store.work.enqueue_fetch(ids, 5, {"model": MODEL, "same_audio": False}, "benchmark")
    dispatch(store, world.queue)
    while True:
        states = [state for state, _reason in store.work.states("transcribe", ids).values()]
        if len(states) == len(ids) and not OPEN_STATES.intersection(states):
            break
        time.sleep(0.2)
    if set(states) != {State.DONE}:
        raise SystemExit(f"not all transcribed: {store.work.views(State.FAILED, 3)}")
    with store.db.read() as connection:
        first = stage_runs.c.at - func.coalesce(stage_runs.c.wall_seconds, 0.0)
        query = select(func.min(first), func.max(stage_runs.c.at)).where(
            stage_runs.c.outcome == "done", stage_runs.c.at >= since
        )
        began, ended = connection.execute(query).one()
        chunks = query.where(stage_runs.c.stage == "transcribe", stage_runs.c.n >= 0)
        claimed, committed = connection.execute(chunks).one()
        device = connection.execute(computed).scalar_one() - before
    return float(ended - began), float(committed - claimed), float(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, default=ROOT / "samples")
    parser.add_argument("--count", type=int, default=20, help="episodes (20)")
    parser.add_argument("--minutes", type=float, default=5.0, help="length of an episode (5)")
    parser.add_argument("--runs", type=int, default=3, help="how often all of them are done (3)")
    options = parser.parse_args()
    sounds = [strung(options.minutes * 60, seed, options.audio)[0] for seed in range(options.count)]
    total = sum(len(samples) for samples in sounds) / RATE
    print(
        f"{len(sounds)} episodes, {total / 60:.1f} minutes of audio, model {MODEL}, {os.cpu_count()} cores", flush=True
    )

    from podinsight import settings as settings_module
    from podinsight.bootstrap import build
    from podinsight.cli.serve_folder import FolderServer
    from podinsight.supervisor import stack

    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryDirectory() as served_name:
        served = Path(served_name)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PODINSIGHT_")} | {
            "PODINSIGHT_STATE_DIR": scratch,
            "PODINSIGHT_FLEET": "fixed",
            "PODINSIGHT_BROKER_PORT": str(free_port()),
            "PODINSIGHT_FLOWER_PORT": str(free_port()),
            "PODINSIGHT_ALLOWED_HOSTS": "127.0.0.1",
        }
        settings = settings_module.load(environ)
        stack.up(settings, environ)
        world = build(settings)
        loops: list[float] = []
        pipelines: list[float] = []
        shares: list[float] = []
        peer: Peer | None = None
        try:
            with FolderServer(served) as web:
                run_pipeline(world, feed_of(served, [strung(30, 0, options.audio)[0]], web.url(""), "warm"))
                peer = Peer(served / "warm-0.flac")
                for run in range(options.runs):
                    feed = feed_of(served, sounds, web.url(""), str(run))
                    files = [served / f"{run}-{index}.flac" for index in range(len(sounds))]
                    loop = peer.run(files) if run % 2 else 0.0
                    pipeline, worker, device = run_pipeline(world, feed)
                    loop = loop or peer.run(files)
                    loops.append(loop)
                    pipelines.append(pipeline)
                    shares.append(device / worker)
                    print(
                        f"run {run + 1}: loop {loop:.2f} s, pipeline {pipeline:.2f} s, "
                        f"of the gpu worker's {worker:.2f} s the model computed {device:.2f} s",
                        flush=True,
                    )
        finally:
            if peer is not None:
                peer.end()
            world.store.close()
            stack.down(settings, environ)
    ratio = statistics.median(pipeline / loop for loop, pipeline in zip(loops, pipelines, strict=True))
    print(
        f"medians: loop {statistics.median(loops):.2f} s ({total / statistics.median(loops):.1f} × real time), "
        f"pipeline {statistics.median(pipelines):.2f} s"
    )
    print(json.dumps({"ratio": round(ratio, 3), "device_share": round(statistics.median(shares), 3)}))


if __name__ == "__main__":
    main()
