"""Quotes against what the runs then cost: real workers, a device with a price, money from the ledger.

    make bench-quotes     (ARGS="--runs 20 --audio DIR")

Each run is a feed of its own with a few episodes of seven to thirty minutes, strung together from recordings (the
samples when --audio is not given); twenty of them take three quarters of an hour. It is quoted as `podrun costs quote`
does before anything of it is downloaded, from the lengths that the feed declares and the speed that was measured so
far; then it is done, and the ledger says what its leases cost. The machine's CPU has a made-up price, and decodes on
one core, so that downloads and plans have another, as they have where workers do not share a machine. One feed goes
through before, so that a speed is known. The last line is `{"runs": …, "within_15_percent": …, "median_error": …,
"worst": …, "in_range": …, "all_together": …, "steady": {"within_15_percent": …, "median_error": …, "worst": …}}`: of
|cost ÷ likely figure − 1|; in_range: runs that cost between the low and the high figure; all_together: what all runs
cost ÷ what all were quoted. Run it on a machine that does nothing else.

A speed that changes after a quote is in no quote, and shared machines change by a quarter within a minute: over runs of
half a minute (--longest 480) that alone is more than what a quote may be off. So the machine itself is timed beside
them (benchmarks/machine.py): `steady` is the same error with each cost divided by how much slower the machine was
during the run than while the audio was decoded by which it was quoted.
"""

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import quoteattr

from benchmarks.machine import Machine
from benchmarks.pipeline import free_port
from tests.support.long_audio import RATE, Samples, flac, strung

if TYPE_CHECKING:
    from podinsight.bootstrap import Container
    from podinsight.domain.quote import Quote
    from podinsight.ports import StatusStore
    from podinsight.settings import Settings

ROOT: Final = Path(__file__).resolve().parent.parent
MODEL: Final = "tiny.en"
WARM_SECONDS: Final = (60.0, 300.0, 300.0)
CLOSE: Final = 0.15
PATIENCE: Final = 3600.0


def feed_of(folder: Path, sounds: Sequence[Samples], url: str, name: str) -> str:
    """Writes a feed of `sounds` that declares how long they are; returns its URL."""
    items = []
    for index, samples in enumerate(sounds):
        file = f"{name}-{index}.flac"
        data = flac(samples, title=file)
        (folder / file).write_bytes(data)
        items.append(
            f"<item><title>{file}</title><guid isPermaLink='false'>{file}</guid>"
            f"<itunes:duration>{round(len(samples) / RATE)}</itunes:duration>"
            f"<enclosure url={quoteattr(f'{url}{file}')} length='{len(data)}' type='audio/flac'/></item>"
        )
    head = "<rss version='2.0' xmlns:itunes='http://www.itunes.com/dtds/podcast-1.0.dtd'>"
    text = f"{head}<channel><title>Bench {name}</title>{''.join(items)}</channel></rss>"
    (folder / f"{name}.xml").write_text(text)
    return f"{url}{name}.xml"


def wall_seconds(store: "StatusStore", since: float) -> float:
    """What workers have measured of their work, claims and commits not included."""
    from podinsight.domain.days import day_of

    return sum(speed.wall_seconds for speed in store.speech.speeds(day_of(since), MODEL, "cpu"))


@dataclass(frozen=True)
class Run:
    """asked: the quote of a new feed. spent: micro-dollars that it then cost. wall: seconds that its workers measured.
    pace: mean seconds of a look at the machine meanwhile."""

    asked: "Quote"
    spent: int
    wall: float
    pace: float

    @property
    def ratio(self) -> float:
        return self.spent / self.asked.cost.likely


def slower(run: Run, before: Sequence[Run]) -> float:
    """How much slower the machine was during a run than during those before it by whose speed it was quoted: the last
    ones, up to as much audio as services.approve looks at."""
    from podinsight.services.approve import LEAST_WINDOW

    left = wanted = max(LEAST_WINDOW, run.asked.audio_seconds.likely)
    pace = 0.0
    for each in reversed(before):
        audio = min(left, each.asked.audio_seconds.likely)
        pace, left = pace + audio * each.pace, left - audio
    return run.pace * (wanted - left) / pace


def run_one(world: "Container", settings: "Settings", machine: Machine, feed_url: str, name: str) -> Run:
    """Quotes a new feed and has it done."""
    from podinsight.cli.approval import prices
    from podinsight.domain.budget import Scope
    from podinsight.domain.days import day_of
    from podinsight.domain.work import OPEN_STATES, State
    from podinsight.ports import By
    from podinsight.services.approve import quote_episodes
    from podinsight.services.dispatch import dispatch
    from podinsight.services.poll import PollPorts, poll_feed

    store = world.store
    feed, _ = store.catalogue.add_feed(feed_url)
    poll_feed(PollPorts(store, world.fetcher, world.parser, world.clock), feed, 3600.0)
    episodes = store.catalogue.first_episodes(None, feed.id)
    ids = [episode.id for episode in episodes]
    began = time.time()
    before = wall_seconds(store, began)
    asked = quote_episodes(store, {MODEL: episodes}, "cpu", prices(settings), began)
    store.work.enqueue_fetch(ids, 5, {"model": MODEL, "same_audio": False, "run": name}, "benchmark")
    dispatch(store, world.queue)
    while True:
        states = [state for state, _reason in store.work.states("transcribe", ids).values()]
        if len(states) == len(ids) and not OPEN_STATES.intersection(states) and not store.purse.open(Scope.RUN, name):
            break
        if time.time() - began > PATIENCE:
            raise SystemExit(f"{name} has not ended: {states}")
        time.sleep(0.2)
    if set(states) != {State.DONE}:
        raise SystemExit(f"not all transcribed: {store.work.states('transcribe', ids)}")
    totals = store.purse.totals(By.RUN, day_of(began), day_of(time.time()))
    spent = next((total.micros for total in totals if total.key == name), 0)
    if spent <= 0:
        raise SystemExit(f"the ledger has nothing of {name}: {totals}")
    wall = wall_seconds(store, began) - before
    return Run(asked, spent, wall, machine.pace(began, time.time()))


def errors(ratios: Sequence[float]) -> dict[str, object]:
    found = [abs(each - 1) for each in ratios]
    return {
        "within_15_percent": sum(each <= CLOSE for each in found),
        "median_error": round(statistics.median(found), 3),
        "worst": round(max(found), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, default=ROOT / "samples")
    parser.add_argument("--runs", type=int, default=20, help="runs that are quoted and done (20)")
    parser.add_argument("--longest", type=float, default=1800.0, help="seconds of audio, of an episode (1800)")
    parser.add_argument("--price", default="3.6", help="dollars of an hour of the CPU (3.6)")
    options = parser.parse_args()

    from podinsight import settings as settings_module
    from podinsight.bootstrap import build
    from podinsight.cli.serve_folder import FolderServer
    from podinsight.domain.money import usd
    from podinsight.supervisor import stack

    runs: list[Run] = []
    steady: list[float] = []
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryDirectory() as served_name:
        served = Path(served_name)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PODINSIGHT_")} | {
            "PODINSIGHT_STATE_DIR": scratch,
            "PODINSIGHT_BROKER_PORT": str(free_port()),
            "PODINSIGHT_FLOWER_PORT": str(free_port()),
            "PODINSIGHT_ALLOWED_HOSTS": "127.0.0.1",
            "PODINSIGHT_DEVICE": "cpu",
            "PODINSIGHT_CPU_THREADS": "1",
            "PODINSIGHT_CPU_HOUR_USD": options.price,
            "PODINSIGHT_FLEET": "fixed",
        }
        for scope in ("ITEM", "DAY", "GPU_DAY", "MONTH", "PROJECT"):
            environ[f"PODINSIGHT_STOP_{scope}_USD"] = "none"
        settings = settings_module.load(environ)
        stack.up(settings, environ)
        world = build(settings)
        try:
            with FolderServer(served) as web, Machine(MODEL) as machine:
                warm = [strung(seconds, seed, options.audio)[0] for seed, seconds in enumerate(WARM_SECONDS)]
                runs.append(run_one(world, settings, machine, feed_of(served, warm, web.url(""), "warm"), "warm"))
                for number in range(1, options.runs + 1):
                    dice = random.Random(number)
                    lengths = [dice.uniform(options.longest / 4, options.longest) for _ in range(dice.randint(3, 5))]
                    sounds = [
                        strung(seconds, 100 * number + index, options.audio)[0] for index, seconds in enumerate(lengths)
                    ]
                    url = feed_of(served, sounds, web.url(""), f"run-{number}")
                    run = run_one(world, settings, machine, url, f"run-{number}")
                    drift = slower(run, runs)
                    runs.append(run)
                    steady.append(run.ratio / drift)
                    cost = run.asked.cost
                    print(
                        f"run {number:2}: {len(sounds)} episodes, {sum(map(len, sounds)) / RATE / 60:4.1f} min; "
                        f"workers measured {run.wall:.2f} s; "
                        f"quoted {usd(cost.likely)} ({usd(cost.low)} to {usd(cost.high)}), cost {usd(run.spent)}: "
                        f"{run.ratio:.3f} of it; the machine took {drift:.3f} of its time, so {steady[-1]:.3f}",
                        flush=True,
                    )
                    for file in served.glob(f"run-{number}*"):
                        file.unlink()
        finally:
            world.store.close()
            stack.down(settings, environ)
    quoted = runs[1:]
    document = {
        "runs": len(quoted),
        **errors([each.ratio for each in quoted]),
        "in_range": sum(each.asked.cost.low <= each.spent <= each.asked.cost.high for each in quoted),
        "all_together": round(sum(each.spent for each in quoted) / sum(each.asked.cost.likely for each in quoted), 3),
        "steady": errors(steady),
    }
    print(json.dumps(document))


if __name__ == "__main__":
    main()
