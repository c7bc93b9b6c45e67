"""Bad input in one run with good: each has its message and state, and the good is unharmed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from podinsight.domain.work import State
from podinsight.errors import Permanent
from podinsight.topology import AREAS
from tests.support.feeds import rss
from tests.support.stack import Stack, running_stack
from tests.support.webserver import WebServer

SAMPLES = Path(__file__).parents[2] / "samples"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("inputs") / "state") as running:
        yield running


def test_each_fault_is_told_and_the_rest_of_the_run_goes_on(stack: Stack) -> None:
    mp3 = (SAMPLES / "episode-1.mp3").read_bytes()
    m4a = (SAMPLES / "episode-3.m4a").read_bytes()
    with WebServer() as web:
        web.serve("/good.mp3", mp3, mime="audio/mpeg")
        web.serve("/page.mp3", b"<!doctype html><title>Sign in</title>", mime="text/html")
        web.serve("/zero.mp3", b"", mime="audio/mpeg")
        web.serve("/truncated.mp3", mp3[: len(mp3) // 2], mime="audio/mpeg")
        web.serve("/corrupt.m4a", m4a[:200] + b"\0" * 5000, mime="audio/mp4")
        web.redirect("/loop.mp3", web.url("/loop.mp3"))
        expected = {
            "good": (State.DONE, ""),
            "missing": (State.FAILED, "404"),
            "loop": (State.FAILED, "redirect"),
            "page": (State.FAILED, "HTML"),
            "zero": (State.FAILED, "empty"),
            "truncated": (State.FAILED, "truncated"),
            "corrupt": (State.FAILED, "audio"),
            "../../etc/passwd": (State.DONE, ""),
            "private": (State.REFUSED, "10.0.0.1"),
        }
        names = {
            "corrupt": web.url("/corrupt.m4a"),
            "../../etc/passwd": web.url("/good.mp3") + "?again",
            "private": "http://10.0.0.1/a.mp3",
        }
        items = [(guid, names.get(guid, web.url(f"/{guid}.mp3"))) for guid in expected]
        web.serve("/feed.xml", rss("Faults", items), mime="application/rss+xml")
        web.serve("/twin.xml", rss("Faults", [("twin", web.url("/good.mp3"))]), mime="application/rss+xml")
        web.serve("/not-a-feed", b"just text", mime="text/plain")

        ids = stack.add_feed(web.url("/feed.xml")) + stack.add_feed(web.url("/twin.xml"))
        with pytest.raises(Permanent, match="not a feed"):
            stack.add_feed(web.url("/not-a-feed"))
        stack.start(ids)
        stack.wait_ended("transcribe", ids, 120)

        episodes = {episode.guid: episode for episode in stack.store.catalogue.episodes(ids)}
        states = stack.store.work.states("fetch", ids)
        for guid, (state, words) in expected.items():
            found = states[episodes[guid].id]
            assert found[0] is state, f"{guid}: {found}"
            assert words.lower() in found[1].lower(), f"{guid}: {found}"
        done = [guid for guid, episode in episodes.items() if episode.transcript_key]
        assert sorted(done) == ["../../etc/passwd", "good", "twin"]
        slugs = {episode.feed_slug for episode in episodes.values()}
        assert len(slugs) == 2, "two feeds of one title keep apart"

        root = stack.settings.state_dir / "objects"
        for area in ("raw", "stage"):
            for info in stack.world.objects.list(area):
                assert (root / info.key).resolve().is_relative_to(root.resolve())
                assert "/attempts/" not in info.key
        assert not (stack.settings.state_dir.parent / "etc").exists()
        assert {path.name for path in root.iterdir()} <= set(AREAS)


def test_a_feed_of_five_thousand_items_is_read_whole(stack: Stack) -> None:
    with WebServer() as web:
        mp3 = (SAMPLES / "episode-1.mp3").read_bytes()
        web.serve("/audio.mp3", mp3, mime="audio/mpeg")
        items = [(f"item-{index}", f"{web.url('/audio.mp3')}?n={index}") for index in range(5000)]
        web.serve("/big.xml", rss("Big", items), mime="application/rss+xml")
        ids = stack.add_feed(web.url("/big.xml"))
        assert len(ids) == 5000
        stack.start(ids[:2])
        stack.wait_ended("transcribe", ids[:2], 60)
        assert stack.states("transcribe", ids[:2]) == [State.DONE] * 2
