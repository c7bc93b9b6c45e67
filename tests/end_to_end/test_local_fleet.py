"""The local fleet with real gpu workers: from zero to two, back when the work is done, and shut (G5, G6)."""

from pathlib import Path

from sqlalchemy import select

from podinsight.adapters.database.models import stage_runs
from podinsight.adapters.local_fleet import LocalFleet
from podinsight.domain.work import State
from tests.support.feeds import rss
from tests.support.stack import running_stack, wait_for
from tests.support.webserver import WebServer

MP3 = (Path(__file__).parents[2] / "samples" / "episode-1.mp3").read_bytes()


def test_real_workers_come_with_demand_and_go_without_losing_what_they_do(tmp_path: Path) -> None:
    """G6: scale-in while an episode is decoded leaves its worker alone until the episode is done, then nobody is left;
    a fleet that is shut stays empty."""
    with WebServer() as web, running_stack(tmp_path, PODINSIGHT_GPU_WORKERS="0") as stack:
        fleet = LocalFleet(stack.store, stack.world.clock, 2, stack.settings.worker_stale_seconds)
        assert (stack.pids("gpu"), fleet.state().living) == ([], ())
        fleet.scale(2)
        wait_for(lambda: any(each.state == "starting" for each in fleet.state().living), 20, "one is seen to start")
        wait_for(lambda: [each.state for each in fleet.state().living] == ["ready"] * 2, 40, "two workers are ready")
        assert len(stack.pids("gpu")) == 2

        web.serve("/e.mp3", MP3, mime="audio/mpeg")
        web.serve("/feed.xml", rss("feed", [("e", web.url("/e.mp3"))]), mime="application/rss+xml")
        ids = stack.add_feed(web.url("/feed.xml"))
        stack.start(ids)
        wait_for(lambda: any(each.leased for each in fleet.state().living), 60, "a worker holds the episode")
        for each in fleet.state().living:
            if each.leased:
                stack.store.workers.mark(each.id, "draining")  # as the scaler does with one too many
        fleet.scale(0)
        stack.wait_ended("transcribe", ids, 60)
        wait_for(lambda: not fleet.state().living and not stack.pids("gpu"), 30, "no worker is left")
        assert stack.states("transcribe", ids) == [State.DONE]
        query = select(stage_runs.c.outcome).where(stage_runs.c.stage == "transcribe")
        with stack.store.db.read() as connection:
            assert set(connection.execute(query).scalars()) == {"done"}, "nothing was handed back or lost"

        fleet.scale(1)
        wait_for(lambda: stack.pids("gpu"), 20, "a worker starts")
        snapshot = fleet.zero("a drill").snapshot
        wait_for(lambda: fleet.state().is_zero and not stack.pids("gpu"), 20, "nobody is there, and it is proven")
        fleet.resume(snapshot)
        wait_for(lambda: stack.pids("gpu"), 20, "what was is there again")
