"""Random kills while episodes of several chunks run: at most a chunk is redone for each (T4), and paid for (G1, G2).

`make test` has the small one, `make soak` sixty kills over twenty episodes. What is printed goes into a change's note.
"""

import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import select

from podinsight.adapters.database.models import chunks, leftovers
from podinsight.domain.work import OPEN_STATES, State
from tests.support.feeds import rss
from tests.support.long_audio import flac, strung
from tests.support.spending import paid_to_the_end
from tests.support.stack import Stack, running_stack, wait_for
from tests.support.strikes import strike
from tests.support.webserver import WebServer

ROLES = ("gpu", "gpu", "gpu", "plan", "light", "guard", "supervisor", "FLUSHALL")
VARIETIES = 2
PAID = {  # a micro-dollar a millisecond; no level is near
    "PODINSIGHT_CPU_HOUR_USD": "3.6",
    "PODINSIGHT_STOP_ITEM_USD": "none",
    "PODINSIGHT_STOP_GPU_DAY_USD": "none",
    "PODINSIGHT_STOP_MONTH_USD": "none",
    "PODINSIGHT_SWEEP_EVERY_SECONDS": "5",
}


def serve(web: WebServer, name: str, episodes: int, seconds: float) -> str:
    """A feed whose items have one of two recordings; the GUID says which."""
    items = []
    for index in range(episodes):
        variety = index % VARIETIES
        path = f"/{name}/{index}.flac"
        web.serve(path, flac(strung(seconds, seed=variety)[0], title=path), mime="audio/flac")
        items.append((f"{index}-{variety}", web.url(path)))
    web.serve(f"/{name}.xml", rss(name, items), mime="application/rss+xml")
    return web.url(f"/{name}.xml")


def results(stack: Stack, ids: list[str]) -> dict[str, set[tuple[str, ...]]]:
    """Recording → the distinct results of its episodes."""
    found: dict[str, set[tuple[str, ...]]] = {}
    digests = stack.digests()
    for episode in stack.store.catalogue.episodes(ids):
        names = ("segments/segments.json", "transcripts/transcript.vtt", "transcripts/transcript.srt")
        found.setdefault(episode.guid.split("-")[1], set()).add(
            tuple(digests[f"{episode.stage}/{name}"] for name in names)
        )
    return found


def redone(stack: Stack) -> dict[str, float]:
    """Token of each lease that was lost → length in seconds of its chunk: the most that had to be decoded again."""
    with stack.store.db.read() as connection:
        lost = (
            connection.execute(select(leftovers.c.prefix).where(leftovers.c.prefix.contains("/parts/"))).scalars().all()
        )
        lengths = {
            (row.episode_id, row.n): row.end - row.start
            for row in connection.execute(select(chunks).where(chunks.c.n >= 0))
        }
    parts = {episode.parts: episode.id for episode in stack.store.catalogue.first_episodes(None)}
    found = {}
    for prefix in lost:
        folder, _, name = prefix.rpartition("/")
        n, _, token = name.partition(".")
        found[token] = lengths[parts[folder], int(n)]
    return found


def check_the_bill(stack: Stack, ids: list[str], before: set[str], lost: set[str], seconds: float) -> None:
    """Everything is paid for once, and no lease longer than its worker can have had it. before: leases of others."""
    everything = paid_to_the_end(stack.store)
    paid = {token: ms for token, ms in everything.items() if token not in before}
    assert lost <= set(paid), "who was killed has spent too"
    assert len(paid) >= len(spans(stack, ids)) + len(lost)
    dead = 1000 * stack.settings.lease_seconds * len(lost)
    assert sum(paid.values()) <= 1000 * stack.settings.gpu_workers * seconds + dead
    print(f"paid for {sum(paid.values()) / 1000:.1f} s, {sum(paid[token] for token in lost) / 1000:.1f} s of them lost")


def hit_and_check(
    tmp_path: Path, episodes: int, kills: int, seconds: float, chunk: int, pause: tuple[float, float]
) -> None:
    seed = int(os.environ.get("SOAK_SEED", str(random.randrange(10**6))))
    dice = random.Random(seed)
    struck: Counter[str] = Counter()
    processes: Counter[str] = Counter()
    small = {
        "PODINSIGHT_CHUNK_SECONDS": str(chunk),
        "PODINSIGHT_GPU_WORKERS": "2",
        "PODINSIGHT_CPU_THREADS": "1",
    }
    with WebServer() as web, running_stack(tmp_path, **small, **PAID) as stack:
        calm = stack.add_feed(serve(web, "calm", VARIETIES, seconds))
        stack.start(calm)
        stack.wait_ended("transcribe", calm, 120)
        expected = results(stack, calm)
        a_chunk = max(end - start for start, end in spans(stack, calm))
        before = set(paid_to_the_end(stack.store))

        ids = stack.add_feed(serve(web, "struck", episodes, seconds))
        stack.start(ids)
        started = time.monotonic()
        while struck.total() < kills:
            time.sleep(dice.uniform(*pause))
            role = dice.choice(ROLES)
            if role == "gpu" and not all_ended(stack, ids):
                wait_for(lambda: stack.running("transcribe") or all_ended(stack, ids), 60, "a chunk runs")
            hit = strike(stack, role)
            struck[role] += hit > 0
            processes[role] += hit
        left = sum(state is not State.DONE for state in stack.states("transcribe", ids))
        print(f"\nseed {seed}: {dict(struck)} in {time.monotonic() - started:.0f} s; {left} of {episodes} still to do")
        stack.wait_ended("transcribe", ids, 900)
        again = redone(stack)
        took = time.monotonic() - started
        print(f"ended after {took:.0f} s; {len(again)} chunks, {sum(again.values()):.0f} s of audio redone at most")
        assert Counter(stack.states("transcribe", ids)) == {State.DONE: episodes}
        assert set(stack.commits().values()) == {1}
        assert results(stack, ids) == expected
        assert len(again) <= processes["gpu"]
        assert sum(again.values()) <= len(again) * a_chunk
        check_the_bill(stack, ids, before, set(again), took)


def all_ended(stack: Stack, ids: list[str]) -> bool:
    return not OPEN_STATES.intersection(stack.states("transcribe", ids))


def spans(stack: Stack, ids: list[str]) -> list[tuple[float, float]]:
    with stack.store.db.read() as connection:
        query = select(chunks.c.start, chunks.c.end).where(chunks.c.episode_id.in_(ids), chunks.c.n >= 0)
        return [(row.start, row.end) for row in connection.execute(query)]


@pytest.mark.timeout(300)  # the undisturbed run before it is counted too
def test_a_dozen_random_kills_redo_at_most_a_chunk_each(tmp_path: Path) -> None:
    hit_and_check(tmp_path, episodes=4, kills=12, seconds=60, chunk=20, pause=(0.2, 1.0))


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_sixty_random_kills_over_twenty_episodes(tmp_path: Path) -> None:
    hit_and_check(tmp_path, episodes=20, kills=60, seconds=600, chunk=120, pause=(0.5, 3.0))
