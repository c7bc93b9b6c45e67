"""`make soak`: a hundred random kills with production values. What it prints goes into the change's note."""

import hashlib
import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from podinsight.domain.work import State
from tests.support.audio import unlike
from tests.support.feeds import rss
from tests.support.stack import QUICK, Stack, running_stack
from tests.support.strikes import strike
from tests.support.webserver import WebServer

SAMPLES = Path(__file__).parents[2] / "samples"
NAMES = ("episode-1.mp3", "episode-2.mp3", "episode-3.m4a")
ROLES = (
    *("fetch", "plan", "gpu", "gpu", "light", "guard"),
    *("beat", "supervisor", "keeper", "broker", "flower", "FLUSHALL"),
)
KILLS = int(os.environ.get("SOAK_KILLS", "100"))
EPISODES = int(os.environ.get("SOAK_EPISODES", "240"))


def sound(index: int, name: str) -> bytes:
    return unlike((SAMPLES / name).read_bytes(), str(index))


def serve_episodes(web: WebServer, count: int, feed: str) -> str:
    """A feed of `count` items made of the samples in turn; the GUID says which sample it is."""
    items = []
    for index in range(count):
        name = NAMES[index % 3]
        path = f"/{feed}/{index}-{name}"
        mime = "audio/mp4" if name.endswith("m4a") else "audio/mpeg"
        web.serve(path, sound(index, name), mime=mime, rate=150_000)
        items.append((f"{index}-{name}", web.url(path)))
    web.serve(f"/{feed}.xml", rss(feed, items), mime="application/rss+xml")
    return web.url(f"/{feed}.xml")


def results(stack: Stack, ids: list[str]) -> dict[str, set[tuple[str, ...]]]:
    """Sample name → the distinct (segments, captions) that its episodes ended with; the audio of each is as served."""
    found: dict[str, set[tuple[str, ...]]] = {}
    digests = stack.digests()
    for episode in stack.store.catalogue.episodes(ids):
        index, _, name = episode.guid.partition("-")
        assert digests[str(episode.audio_key)] == hashlib.sha256(sound(int(index), name)).hexdigest()
        keys = [f"{episode.stage}/segments/segments.json"]
        keys += [f"{episode.stage}/transcripts/transcript.{kind}" for kind in ("vtt", "srt")]
        found.setdefault(name, set()).add(tuple(digests[key] for key in keys))
    return found


@pytest.mark.soak
@pytest.mark.timeout(5400)
def test_a_hundred_random_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    seed = int(os.environ.get("SOAK_SEED", str(random.randrange(10**6))))
    dice = random.Random(seed)
    production = dict.fromkeys(QUICK, "")
    struck: Counter[str] = Counter()
    with WebServer() as web:
        with running_stack(tmp_path / "calm") as calm:
            ids = calm.add_feed(serve_episodes(web, 3, "calm"))
            calm.start(ids)
            calm.wait_ended("transcribe", ids, 120)
            expected = results(calm, ids)
        with running_stack(tmp_path / "soak", **production) as stack:
            assert stack.settings.lease_seconds == 90
            ids = stack.add_feed(serve_episodes(web, EPISODES, "soak"))
            stack.start(ids)
            started = time.monotonic()
            while struck.total() < KILLS:
                time.sleep(dice.uniform(0.5, 3.0))
                role = dice.choice(ROLES)
                struck[role] += strike(stack, role) > 0
            left = sum(state is not State.DONE for state in stack.states("transcribe", ids))
            print(
                f"\nseed {seed}: {struck.total()} strikes in {time.monotonic() - started:.0f} s: {dict(struck)}; ",
                end="",
            )
            print(f"{left} of {EPISODES} episodes still to do")
            stack.wait_ended("transcribe", ids, 3600)
            took = time.monotonic() - started
            states = Counter(stack.states("transcribe", ids))
            losses = sum(view.losses for view in stack.store.work.views(State.DONE, EPISODES * 2))
            print(f"ended after {took:.0f} s: {dict(states)}, losses left on rows {losses}")
            assert states == {State.DONE: EPISODES}
            assert set(stack.commits().values()) == {1}
            assert len(stack.commits()) == EPISODES * 3
            assert results(stack, ids) == expected
