"""The same processes on PostgreSQL and S3, with prices: a run whose workers are killed, and its bill (G1, G2)."""

import os
import signal
from pathlib import Path

from podinsight.domain.work import State
from podinsight.ports import By
from tests.support.audio import unlike
from tests.support.feeds import rss
from tests.support.seaweed import Seaweed
from tests.support.spending import paid_to_the_end
from tests.support.stack import running_stack, wait_for
from tests.support.webserver import WebServer

SAMPLES = Path(__file__).parents[2] / "samples"
PRICES = """
[devices]
cpu = { usd = 3.6, source = "made up" }
[services]
cpu = { usd = 0.36, source = "made up" }
nat = { usd = 0.045, source = "made up" }
"""


def test_postgresql_and_s3_carry_a_run_with_kills(tmp_path: Path, postgres_url: str, seaweed_server: Seaweed) -> None:
    bucket = seaweed_server.bucket
    prices = tmp_path / "prices.toml"
    prices.write_text(PRICES)
    more = {
        "PODINSIGHT_PRICES_FILE": str(prices),
        "PODINSIGHT_DATABASE_URL": postgres_url,
        "PODINSIGHT_OBJECTS_URL": f"s3://{bucket}/pod",
        "PODINSIGHT_S3_ENDPOINT": seaweed_server.endpoint,
        "PODINSIGHT_S3_REGION": "us-east-1",
        "PODINSIGHT_S3_ACCESS_KEY_ID": seaweed_server.access_key_id,
        "PODINSIGHT_S3_SECRET_ACCESS_KEY": seaweed_server.secret_access_key,
    }
    with WebServer() as web, running_stack(tmp_path / "state", **more) as stack:
        items = []
        for index in range(4):
            name = ("episode-1.mp3", "episode-3.m4a")[index % 2]
            sound = unlike((SAMPLES / name).read_bytes(), str(index))
            web.serve(f"/{index}-{name}", sound, mime="audio/mpeg", rate=150_000)
            items.append((f"{index}", web.url(f"/{index}-{name}")))
        web.serve("/feed.xml", rss("Production", items), mime="application/rss+xml")
        ids = stack.add_feed(web.url("/feed.xml"))
        stack.start(ids)
        wait_for(lambda: stack.running("fetch"), 20, "a download runs")
        os.kill(stack.pids("fetch")[0], signal.SIGKILL)
        wait_for(lambda: stack.running("transcribe"), 40, "a transcription runs")
        os.kill(stack.pids("gpu")[0], signal.SIGKILL)
        stack.wait_ended("transcribe", ids, 120)

        assert stack.states("transcribe", ids) == [State.DONE] * 4
        assert set(stack.commits().values()) == {1}
        paid_to_the_end(stack.store)
        told = {total.key: total.micros for total in stack.store.purse.totals(By.STAGE, "0000-01-01", "9999-12-31")}
        assert min(told[stage] for stage in ("fetch", "plan", "transcribe")) > 0
        digests = stack.digests()
        for episode in stack.store.catalogue.episodes(ids):
            assert digests[str(episode.audio_key)] == episode.audio_sha256
            text = stack.world.objects.get(f"{episode.stage}/transcripts/transcript.txt").decode()
            assert len(text.split()) > 40
            assert stack.world.objects.where(str(episode.transcript_key)).startswith(f"s3://{bucket}/pod/stage/")
        assert not [key for key in digests if "/attempts/" in key or "/parts/" in key]
