"""A laptop's gpu workers come with work and go without it; an emergency shutdown ends them, and is taken back (G6, G9).

Real workers, the real scaler in beat, one stack.
"""

import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from podinsight.domain.work import State
from podinsight.supervisor import stack as supervised
from tests.support.audio import unlike
from tests.support.feeds import rss
from tests.support.long_audio import flac, strung
from tests.support.stack import QUICK_FLEET, ROOT, Stack, running_stack, wait_for
from tests.support.webserver import WebServer

MP3 = (ROOT / "samples" / "episode-1.mp3").read_bytes()
GRACE = 4.0
TWO_WORKERS = QUICK_FLEET | {
    "PODINSIGHT_GPU_WORKERS": "2",
    "PODINSIGHT_FLEET_DRAIN_SECONDS": "1",  # a few seconds of work want both
    "PODINSIGHT_FLEET_GRACE_SECONDS": str(GRACE),
    "PODINSIGHT_FLEET_SETTLE_SECONDS": "2",
    "PODINSIGHT_FLEET_START_SECONDS": "60",  # started late is what this takes three times: machines here are slow
    "PODINSIGHT_STOP_SECONDS": "10",  # to hand back
    "PODINSIGHT_LEASE_SECONDS": "30",
    "PODINSIGHT_CHUNK_SECONDS": "60",
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("local"), **TWO_WORKERS) as running:
        yield running


def flower(stack: Stack) -> dict[str, bool]:
    """gpu worker → whether it is there, as Flower's page of workers has it."""
    url = f"http://127.0.0.1:{stack.settings.flower_port}/workers?json=1"
    with urllib.request.urlopen(url, timeout=10) as answer:
        rows = json.loads(answer.read())["data"]
    return {str(row["hostname"]): bool(row["status"]) for row in rows if str(row["hostname"]).startswith("gpu-")}


def words(stack: Stack, episode_id: str) -> dict[str, bytes]:
    """The transcript without its title, by the end of its name."""
    (episode,) = stack.store.catalogue.episodes([episode_id])
    folder = f"{episode.stage}/transcripts/"
    keys = [info.key for info in stack.world.objects.list("stage") if info.key.startswith(folder)]
    return {key.rpartition(".")[2]: stack.world.objects.get(key) for key in keys if key.endswith((".srt", ".vtt"))}


def test_the_pool_grows_from_zero_with_work_and_is_at_zero_within_the_grace(stack: Stack, web: WebServer) -> None:
    assert stack.podrun("fleet", "status")["instances"] == []
    assert (stack.pids("gpu"), [each for each in supervised.health(stack.settings) if not each.ok]) == ([], [])
    items = []
    for n in range(6):
        web.serve(f"/{n}.mp3", unlike(MP3, f"zero {n}"), mime="audio/mpeg")
        items.append((f"e{n}", web.url(f"/{n}.mp3")))
    web.serve("/feed.xml", rss("feed", items), mime="application/rss+xml")
    ids = stack.add_feed(web.url("/feed.xml"))
    stack.start(ids)
    wait_for(lambda: len(stack.pids("gpu")) == 2, 60, "two workers for six episodes")
    grown = stack.podrun("fleet", "status")
    assert grown["desired"] == len(grown["instances"]) == 2
    wait_for(lambda: any(flower(stack).values()), 30, "Flower shows a gpu worker")
    stack.wait_ended("transcribe", ids, 120)
    ended = time.monotonic()
    wait_for(lambda: not stack.pids("gpu"), GRACE + 15, "no gpu worker is left")
    print(f"at zero {time.monotonic() - ended:.1f} s after the last transcript, with a grace of {GRACE:g} s")
    assert stack.states("transcribe", ids) == [State.DONE] * 6
    assert set(stack.commits().values()) == {1}, "nothing was lost or made twice by scale-in"
    wait_for(lambda: not stack.store.workers.live_slots("gpu"), 10, "the database knows")
    gone = stack.podrun("fleet", "status")
    assert (gone["desired"], gone["instances"], gone["burn_micros_per_hour"]) == (0, [], 0)
    assert gone["why"].startswith("no work for")
    wait_for(lambda: flower(stack) and not any(flower(stack).values()), 30, "Flower shows them as gone")
    assert stack.podrun("health")["ok"], "a pool at zero is well"


def test_an_emergency_shutdown_mid_transcript_is_proven_and_taken_back_without_a_loss(
    stack: Stack, web: WebServer
) -> None:
    """G9: the freeze holds over the proof of zero; one resume gives back what was, and the transcript is byte for byte
    that of an episode with the same sound that nobody interrupted."""
    sound = strung(120, seed=0)[0]
    items = []
    for name in ("calm", "hurt"):
        web.serve(f"/{name}.flac", flac(sound, title=name), mime="audio/flac")
        items.append((name, web.url(f"/{name}.flac")))
    web.serve("/calm.xml", rss("calm", items[:1]), mime="application/rss+xml")
    web.serve("/hurt.xml", rss("hurt", items[1:]), mime="application/rss+xml")
    calm = stack.add_feed(web.url("/calm.xml"))
    stack.start(calm)
    stack.wait_ended("transcribe", calm, 120)

    hurt = stack.add_feed(web.url("/hurt.xml"))
    stack.start(hurt)
    wait_for(lambda: stack.running("transcribe"), 60, "a chunk is decoded")
    done = stack.podrun("emergency-shutdown", "--local", "--by", "ada", "--why", "drill")
    assert (done["proven"], stack.pids("gpu")) == (True, [])
    print(f"zero was proven after {done['ended'] - done['began']:.1f} s")
    assert done["instances"]
    assert json.loads(Path(done["evidence"]).read_text())["proven"]
    assert stack.states("transcribe", hurt) == [State.WAITING]
    assert stack.store.control.read().gpu_frozen
    ticked = stack.store.control.ticks()["scale"]
    wait_for(lambda: stack.store.control.ticks()["scale"] > ticked + 2, 30, "the scaler comes again and again")
    assert (stack.pids("gpu"), stack.podrun("fleet", "status")["is_zero"]) == ([], True)

    resumed = stack.podrun("resume", "--by", "ada", "--why", "it was a drill")
    assert (resumed["gpu_frozen"], resumed["fleet_opened"]) == (False, True)
    stack.wait_ended("transcribe", hurt, 120)
    assert stack.states("transcribe", hurt) == [State.DONE]
    assert set(stack.commits().values()) == {1}
    assert words(stack, hurt[0]) == words(stack, calm[0])
    assert len(words(stack, calm[0])) == 2
    wait_for(lambda: not stack.pids("gpu"), GRACE + 15, "and at zero again")
