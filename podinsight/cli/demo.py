"""podrun demo: sample episodes in, transcripts out, on this machine alone, and nothing left running."""

import json
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from podinsight import settings as settings_module
from podinsight.cli import demo_setup, exits
from podinsight.cli.choosing import standing
from podinsight.cli.console import Output, clock, complain, count, plain
from podinsight.cli.estimate import gpu_hour
from podinsight.cli.feeds import add_and_poll
from podinsight.cli.models import need_model
from podinsight.cli.pursue import pursue
from podinsight.cli.session import Session
from podinsight.cli.show import TRANSCRIPT_FILES, first_lines, words_of
from podinsight.cli.stack import places
from podinsight.domain.episode import Episode
from podinsight.domain.money import usd
from podinsight.domain.transcript import PUBLISHER
from podinsight.errors import PodinsightError
from podinsight.ports import ObjectStore
from podinsight.settings import Settings
from podinsight.supervisor import stack
from podinsight.topology import PRIORITIES

APPROVED: Final = "rule: the demo is not billed"


@click.command()
def demo() -> int:
    """Try it: transcribe three sample episodes.

    Starts the stack, fetches and transcribes the episodes, shows the transcripts and stops the stack again. It keeps
    its state in a folder of its own, so a second run finds the transcripts of the first. Your own settings, database
    and feeds are not touched.
    """
    out = Output()
    folder = demo_setup.demo_dir(os.environ)
    samples = demo_setup.samples_dir()
    with demo_setup.only_one(folder), demo_setup.signals(demo_setup.interrupt):
        remembered = demo_setup.Ports(folder)
        _stop_leftovers(out, folder, remembered.remembered())
        ports = remembered.choose()
        with demo_setup.serve_samples(samples, ports["samples"], out.line) as server:
            ports["samples"] = server.port
            remembered.remember(ports)
            with demo_setup.replaced(os.environ, demo_setup.demo_environ(os.environ, folder, ports)):
                return _run(out, settings_module.load(), server.url("feed.xml"))


def _stop_leftovers(out: Output, folder: Path, ports: dict[str, int]) -> None:
    """A demo that was killed could not stop its stack."""
    if not ports:
        return
    with demo_setup.replaced(os.environ, demo_setup.demo_environ(os.environ, folder, ports)):
        settings = settings_module.load()
        if any(stack.pids(settings).values()):
            out.line(f"an earlier demo was cut off: {stack.down(settings).message}")


def _run(out: Output, settings: Settings, feed_url: str) -> int:
    session = Session(settings)
    need_model(session, settings.model)
    with _stack(out, settings):
        try:
            return _pipeline(out, session, feed_url)
        finally:
            session.close()


@contextmanager
def _stack(out: Output, settings: Settings) -> Iterator[None]:
    """The stack runs inside the block and nothing of it afterwards, however the block ends."""
    out.title("Starting broker, workers, beat and Flower")
    try:
        with out.waiting("starting"):
            result = stack.up(settings)
        out.line(f"  {result.message}")
        for name, place in places(settings).items():
            out.line(f"  {name:<10}{place}")
        yield
    except BaseException:
        try:
            _tell_stop(out, settings)
        except PodinsightError as error:  # the first error says more
            complain(str(error))
        raise
    _tell_stop(out, settings)


def _tell_stop(out: Output, settings: Settings) -> None:
    """Stops first and foremost: whoever reads the output may have gone, also with their terminal."""
    with demo_setup.signals(signal.SIG_IGN):
        with suppress(OSError):
            out.line()
            out.title("Stopping")
        said = _stop(settings)
        with suppress(OSError):
            out.line(f"  {said}")


def _stop(settings: Settings) -> str:
    """Twice, if need be: a keeper that was started an instant ago may not have been there to be stopped."""
    result = stack.down(settings)
    deadline = time.monotonic() + 1.5 if not result.stopped else 0.0
    while time.monotonic() < deadline:
        if any(stack.pids(settings).values()):
            return stack.down(settings).message
        time.sleep(0.1)
    return result.message


def _pipeline(out: Output, session: Session, feed_url: str) -> int:
    store = session.container.store
    out.line()
    out.title(f"Feed {feed_url}")
    feed = add_and_poll(session, feed_url).feed
    episodes = store.catalogue.first_episodes(None, feed.id)
    out.line(f"  {plain(feed.title or '')}: {count(len(episodes), 'episode')}")
    out.line()
    store.work.retry_failed(None, None)
    before = {stage: standing(store, stage, episodes) for stage in ("fetch", "transcribe")}
    began = time.monotonic()
    if any(each.to_do for each in before.values()):
        out.title(f"Fetching and transcribing with {session.settings.model}")
    else:
        out.title(f"All {len(episodes)} episodes were there already: nothing is fetched or transcribed again")
    params = {"model": session.settings.model, "language": session.settings.language}
    # Nothing is billed on the machine that somebody tries it on, whatever it decodes with.
    store.work.enqueue_fetch([episode.id for episode in episodes], PRIORITIES["medium"], params, APPROVED)
    outcomes = pursue(session, out, before, when_cut_off="the next demo goes on from here")
    wall = time.monotonic() - began
    fresh = len(outcomes["transcribe"].done)
    results = _results(session.container.objects, store.catalogue.episodes([episode.id for episode in episodes]))
    for result in results:
        _tell_result(out, session.container.objects, result)
    _tell_summary(out, session.settings, results, fresh, wall)
    return exits.OK if len(results) == len(episodes) else exits.FAILED


@dataclass(frozen=True)
class Result:
    """A transcribed episode and its kpis.json."""

    episode: Episode
    kpis: dict[str, Any]

    @property
    def decoded(self) -> bool:
        return self.episode.model != PUBLISHER


def _results(objects: ObjectStore, episodes: list[Episode]) -> list[Result]:
    return [
        Result(episode, json.loads(objects.get(f"{episode.stage}/kpis/kpis.json")))
        for episode in episodes
        if episode.transcript_key
    ]


def _tell_result(out: Output, objects: ObjectStore, result: Result) -> None:
    episode = result.episode
    out.line()
    out.title(f"{plain(episode.title)} ({clock(episode.audio_seconds or 0)})")
    out.line(f"  {words_of(episode)}")
    for line in first_lines(objects, episode, 3, 96):
        out.line(f"  {line}")
    for name in TRANSCRIPT_FILES:
        out.line(click.style(f"  {objects.where(f'{episode.stage}/{name}')}", dim=True))


def _tell_summary(out: Output, settings: Settings, results: list[Result], fresh: int, wall: float) -> None:
    decoded = [result for result in results if result.decoded]
    audio = _total(decoded, "audio_seconds")
    device = _total(decoded, "device_seconds")
    devices = ", ".join(sorted({f"{result.kpis['device']} {result.kpis['compute_type']}" for result in decoded}))
    length = clock(_total(results, "audio_seconds"))
    out.line()
    out.title("Summary")
    out.line(f"  {count(len(results), 'transcript')}, {fresh} of them made now; {length} of audio")
    if len(decoded) < len(results):
        out.line(f"  {len(decoded)} decoded by Whisper, {len(results) - len(decoded)} taken from the publisher")
    decoding = f"decoding took {device:.1f} s{_then(fresh)} on {devices or 'nothing'}"
    out.line(f"  wall time {wall:.1f} s; {decoding}{_times(audio, device)}")
    out.line(
        f"  on a rented GPU it would have cost about ${_total(decoded, 'gpu_estimate_usd'):.5f} "
        f"({usd(gpu_hour(settings))} an hour, {settings.gpu_speed:g} × real time); here it cost nothing"
    )


def _total(results: Sequence[Result], figure: str) -> float:
    return float(sum(result.kpis[figure] for result in results))


def _then(fresh: int) -> str:
    return "" if fresh else " when they were made"


def _times(audio: float, device: float) -> str:
    return f", {audio / device:.1f} × real time" if device > 0 else ""
