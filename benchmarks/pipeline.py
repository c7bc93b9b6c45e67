"""The whole pipeline against plain faster-whisper in a loop: same files, same settings, same cores, one run.

    make bench-pipeline AUDIO=DIR     (recordings of 20 s or more; the samples when AUDIO is not given)

The pipeline runs in a stack of its own, warm (one episode went through before), from the first claim to the last
commit. The peer is `faster_whisper.WhisperModel.transcribe` in a loop, its model loaded before. They take turns, and
the medians are compared. The last line is `{"ratio": …}`: pipeline time over loop time.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

from sqlalchemy import func, select

ROOT = Path(__file__).resolve().parent.parent
AUDIO_SUFFIXES = {".mp3", ".m4a", ".wav", ".flac", ".ogg", ".opus", ".aac"}
MODEL = "tiny.en"

PEER = """
import sys, time
from pathlib import Path
from podinsight.adapters import whisper_models
from podinsight.adapters.faster_whisper_speech import DECODING, WhisperOptions
from faster_whisper import WhisperModel
options = WhisperOptions(device="cpu", compute_type="auto", cpu_threads=0, model_dir=None, cache_dir=None)
import os
model = WhisperModel(str(whisper_models.find(sys.argv[1], options)), device="cpu", compute_type="int8",
                     cpu_threads=os.cpu_count() or 1)
files = sys.argv[2:]
list(model.transcribe(files[0], **DECODING)[0])
started = time.monotonic()
for file in files:
    segments, _info = model.transcribe(file, **DECODING)
    text = [segment.text for segment in segments]
print(time.monotonic() - started)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def duration(path: Path) -> float:
    import av

    with av.open(str(path)) as container:
        return float(container.duration or 0) / 1e6


def recordings(folder: Path, at_least: int) -> list[Path]:
    """Recordings of 20 s or more, repeated until there are enough."""
    found = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in AUDIO_SUFFIXES]
    long = [path for path in found if duration(path) >= 20.0]
    if not long:
        raise SystemExit(f"no recording of 20 s or more in {folder}: give AUDIO=DIR a folder that has some")
    return (long * (at_least // len(long) + 1))[: max(at_least, len(long))]


def run_peer(files: Sequence[Path]) -> float:
    command = [sys.executable, "-c", PEER, MODEL, *map(str, files)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return float(done.stdout.strip().splitlines()[-1])


def feed_of(folder: Path, files: Sequence[Path], url: str, run: int) -> str:
    """Writes a feed of `files`, each an item of its own; returns its name. The first item is for warming up."""
    items = []
    for index, path in enumerate([files[0], *files]):
        name = f"{run}-{index}{path.suffix}"
        shutil.copyfile(path, folder / name)
        items.append(
            f"<item><title>{name}</title><guid isPermaLink='false'>{name}</guid>"
            f"<enclosure url={quoteattr(f'{url}{name}')} type='audio/mpeg'/></item>"
        )
    text = f"<rss version='2.0'><channel><title>Bench {run}</title>{''.join(items)}</channel></rss>"
    (folder / f"{run}.xml").write_text(text)
    return f"{run}.xml"


def run_pipeline(files: Sequence[Path], run: int, environ: dict[str, str], served: Path, url: str) -> float:
    from podinsight import settings as settings_module
    from podinsight.adapters.database import SqlStore
    from podinsight.adapters.database.models import stage_runs
    from podinsight.bootstrap import build
    from podinsight.domain.work import OPEN_STATES, State
    from podinsight.services.dispatch import dispatch
    from podinsight.services.poll import PollPorts, poll_feed

    settings = settings_module.load(environ)
    world = build(settings)
    store = world.store
    assert isinstance(store, SqlStore)
    feed, _ = store.catalogue.add_feed(url + feed_of(served, files, url, run))
    poll_feed(PollPorts(store, world.fetcher, world.parser, world.clock), feed, 3600.0)
    ids = [episode.id for episode in store.catalogue.first_episodes(None, feed.id)]
    for batch in (ids[:1], ids[1:]):
        since = time.time()
        store.work.enqueue_fetch(batch, 5, {"model": MODEL})
        dispatch(store, world.queue)
        while True:
            states = [state for state, _reason in store.work.states("transcribe", batch).values()]
            if len(states) == len(batch) and not OPEN_STATES.intersection(states):
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
    store.close()
    return float(ended - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, default=ROOT / "samples")
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    files = recordings(options.audio, options.count)
    total = sum(duration(path) for path in files)
    print(f"{len(files)} recordings, {total / 60:.1f} minutes of audio, model {MODEL}, {os.cpu_count()} cores")

    from podinsight import settings as settings_module
    from podinsight.cli.serve_folder import FolderServer
    from podinsight.supervisor import stack

    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryDirectory() as served_name:
        served = Path(served_name)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PODINSIGHT_")} | {
            "PODINSIGHT_STATE_DIR": scratch,
            "PODINSIGHT_BROKER_PORT": str(free_port()),
            "PODINSIGHT_FLOWER_PORT": str(free_port()),
            "PODINSIGHT_ALLOWED_HOSTS": "127.0.0.1",
        }
        settings = settings_module.load(environ)
        loops: list[float] = []
        pipelines: list[float] = []
        for run in range(options.runs):
            loops.append(run_peer(files))
            stack.up(settings, environ)
            try:
                with FolderServer(served) as web:
                    pipelines.append(run_pipeline(files, run, environ, served, web.url("")))
            finally:
                stack.down(settings, environ)
            print(f"run {run + 1}: loop {loops[-1]:.2f} s, pipeline {pipelines[-1]:.2f} s", flush=True)
    loop, pipeline = statistics.median(loops), statistics.median(pipelines)
    print(f"medians: loop {loop:.2f} s ({total / loop:.1f} × real time), pipeline {pipeline:.2f} s")
    print(json.dumps({"ratio": round(pipeline / loop, 3)}))


if __name__ == "__main__":
    main()
