"""One long episode on two gpu workers against one, beside the same split of the bare engine.

    make bench-fanout AUDIO=DIR       (recordings; the samples when AUDIO is not given)

Recordings are strung together with pauses to one episode of 20 minutes. In a stack of its own it is transcribed by one
gpu worker of one thread, then by two, each time as a new episode; the time is that from the first chunk's claim to the
transcript's commit. The bare engine is `WhisperTranscriber` in processes of its own, one thread each, its model loaded
and warm, over the same chunks that the plan has cut: one process takes all, then two take what comes next. The four
take turns, so that a slow minute of the machine hits all. The last line is `{"speedup": …, "raw_speedup": …}`: medians
over the runs. The transcripts of all runs must be the same, byte by byte.
"""

import argparse
import hashlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, SimpleQueue
from subprocess import PIPE, Popen
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from benchmarks.pipeline import ROOT, feed_of, free_port
from tests.support.long_audio import strung

if TYPE_CHECKING:
    from podinsight.bootstrap import Container
    from podinsight.domain.episode import Episode

MODEL = "tiny.en"
FILES = ("segments/segments.json", "transcripts/transcript.vtt", "transcripts/transcript.srt")

ENGINE = """
import json, sys
from podinsight.adapters.faster_whisper_speech import WhisperOptions, WhisperTranscriber
from podinsight.ports import SpeechRequest
options = WhisperOptions(device="cpu", compute_type="auto", cpu_threads=1, model_dir=None, cache_dir=None)
engine = WhisperTranscriber(options)
for line in sys.stdin:
    job = json.loads(line)
    speech = tuple(tuple(each) for each in job["speech"])
    request = SpeechRequest(job["n"], job["start"], job["end"], sys.argv[1], None, offset=job["start"], speech=speech)
    with open(job["path"], "rb") as audio:
        part = engine.transcribe(audio, request, lambda done: None)
    print(len(part.segments), flush=True)
"""


class Engine:
    """The bare engine in a process of its own, with one thread."""

    def __init__(self) -> None:
        self._process = Popen([sys.executable, "-c", ENGINE, MODEL], cwd=ROOT, text=True, stdin=PIPE, stdout=PIPE)

    def run(self, job: dict[str, object]) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        if not self._process.stdout.readline():
            raise SystemExit(f"the engine ended with exit code {self._process.wait()}")

    def end(self) -> None:
        self._process.communicate("")


def run_engines(engines: Sequence[Engine], jobs: Sequence[dict[str, object]]) -> float:
    """Seconds until all jobs are done; each engine takes the next one when it is free."""
    left: SimpleQueue[dict[str, object]] = SimpleQueue()
    for job in jobs:
        left.put(job)

    def take_all(engine: Engine) -> None:
        while True:
            try:
                job = left.get_nowait()
            except Empty:
                return
            engine.run(job)

    started = time.monotonic()
    with ThreadPoolExecutor(len(engines)) as threads:
        list(threads.map(take_all, engines))
    return time.monotonic() - started


def plan_of(world: "Container", episode: "Episode", folder: Path) -> list[dict[str, object]]:
    """The chunks of an episode as jobs for the engine: their audio is cut anew, by the plan that was made."""
    from contextlib import AbstractContextManager
    from typing import BinaryIO

    from podinsight.domain.plan import plan_from_json

    plan = plan_from_json(world.objects.get(episode.plan_name))

    def sink(index: int) -> AbstractContextManager[BinaryIO]:
        return (folder / f"{index}.flac").open("wb")

    assert episode.audio_key is not None
    with world.objects.reader(episode.audio_key) as audio:
        world.cutter.cut(audio, [(span.start, span.end or 0.0) for span in plan.chunks], sink, lambda: None)
    return [
        {
            "n": span.n,
            "start": span.start,
            "end": span.end,
            "path": str(folder / f"{span.n}.flac"),
            "speech": plan.speech_in(span),
        }
        for span in plan.chunks
    ]


def set_workers(world: "Container", count: int) -> None:
    """Returns when there are so many ready gpu workers."""
    world.store.workers.set_desired("gpu", count)
    while world.store.workers.live_slots("gpu") != count:
        time.sleep(0.2)


def run_pipeline(world: "Container", feed_url: str) -> tuple[float, "Episode"]:
    """Transcribes the episodes of a new feed; seconds from the first chunk's claim to the transcript's commit of the
    first one, and that."""
    from podinsight.adapters.database import SqlStore
    from podinsight.adapters.database.models import stage_runs
    from podinsight.domain.work import OPEN_STATES, State
    from podinsight.services.dispatch import dispatch
    from podinsight.services.poll import PollPorts, poll_feed

    store = world.store
    assert isinstance(store, SqlStore)
    feed, _ = store.catalogue.add_feed(feed_url)
    poll_feed(PollPorts(store, world.fetcher, world.parser, world.clock), feed, 3600.0)
    episodes = store.catalogue.first_episodes(None, feed.id)
    ids = [episode.id for episode in episodes]
    store.work.enqueue_fetch(ids, 5, {"model": MODEL, "same_audio": False}, approved="benchmark")
    dispatch(store, world.queue)
    while any(state in OPEN_STATES for state, _reason in store.work.states("transcribe", ids).values()):
        time.sleep(0.1)
    if failed := [reason for state, reason in store.work.states("transcribe", ids).values() if state is not State.DONE]:
        raise SystemExit(f"not transcribed: {failed[0]}")
    episode = episodes[0]
    began = stage_runs.c.at - func.coalesce(stage_runs.c.wall_seconds, 0.0)
    mine = (stage_runs.c.episode_id == episode.id, stage_runs.c.stage == "transcribe", stage_runs.c.outcome == "done")
    with store.db.read() as connection:
        first = connection.execute(select(func.min(began)).where(*mine, stage_runs.c.n >= 0)).scalar_one()
        last = connection.execute(select(func.max(stage_runs.c.at)).where(*mine)).scalar_one()
    known = store.catalogue.episode(episode.id)
    assert known is not None
    return float(last - first), known


def digest(world: "Container", episode: "Episode") -> str:
    return hashlib.sha256(b"".join(world.objects.get(f"{episode.stage}/{name}") for name in FILES)).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, default=ROOT / "samples")
    parser.add_argument("--minutes", type=float, default=20.0, help="length of the episode (20)")
    parser.add_argument("--runs", type=int, default=3, help="how often it is done (3)")
    options = parser.parse_args()

    from podinsight import settings as settings_module
    from podinsight.bootstrap import build
    from podinsight.cli.serve_folder import FolderServer
    from podinsight.supervisor import stack

    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryDirectory() as served_name:
        served, cut = Path(served_name), Path(scratch, "cut")
        cut.mkdir()
        long = strung(options.minutes * 60, seed=7, folder=options.audio)[0]
        short = strung(20, seed=1, folder=options.audio)[0]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PODINSIGHT_")} | {
            "PODINSIGHT_STATE_DIR": str(Path(scratch, "state")),
            "PODINSIGHT_BROKER_PORT": str(free_port()),
            "PODINSIGHT_FLOWER_PORT": str(free_port()),
            "PODINSIGHT_ALLOWED_HOSTS": "127.0.0.1",
            "PODINSIGHT_CPU_THREADS": "1",
            "PODINSIGHT_GPU_WORKERS": "2",
            "PODINSIGHT_FLEET": "fixed",
        }
        settings = settings_module.load(environ)
        stack.up(settings, environ)
        world = build(settings)
        engines = [Engine(), Engine()]
        seen: set[str] = set()
        speedups: list[float] = []
        raw_speedups: list[float] = []
        try:
            with FolderServer(served) as web:
                _, warm = run_pipeline(world, feed_of(served, [long], web.url(""), "warm"))
                seen.add(digest(world, warm))
                jobs = plan_of(world, warm, cut)
                run_engines(engines, jobs[:2])
                print(f"{options.minutes:g} minutes of audio, {len(jobs)} chunks, model {MODEL}", flush=True)
                for run in range(options.runs):
                    took: dict[str, float] = {}
                    for count in (1, 2) if run % 2 == 0 else (2, 1):
                        took[f"raw {count}"] = run_engines(engines[:count], jobs)
                        set_workers(world, count)
                        # A new worker has no model yet: each gets something short to begin with.
                        warm_up = [short] * (2 * count)
                        run_pipeline(world, feed_of(served, warm_up, web.url(""), f"short-{run}-{count}"))
                        feed = feed_of(served, [long], web.url(""), f"{run}-{count}")
                        took[f"workers {count}"], episode = run_pipeline(world, feed)
                        seen.add(digest(world, episode))
                    speedups.append(took["workers 1"] / took["workers 2"])
                    raw_speedups.append(took["raw 1"] / took["raw 2"])
                    print(
                        f"run {run + 1}: {', '.join(f'{name} {took[name]:.1f} s' for name in sorted(took))}", flush=True
                    )
        finally:
            for engine in engines:
                engine.end()
            world.close()
            stack.down(settings, environ)
    if len(seen) != 1:
        raise SystemExit(f"{len(seen)} different transcripts of the same audio")
    print("bytes: equal in all runs")
    figures = {"speedup": statistics.median(speedups), "raw_speedup": statistics.median(raw_speedups)}
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
