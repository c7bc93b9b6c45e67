"""Manifests and archives that lie on S3 (F2, F15)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from podinsight.adapters.obstore_objects import S3Options, open_objects
from podinsight.bootstrap import build
from podinsight.cli.main import cli
from podinsight.cli.session import Session
from podinsight.settings import Settings, load
from tests.support.audio import tone
from tests.support.seaweed import Seaweed


class Desk:
    """podrun with local objects and the credentials of an S3."""

    def __init__(self, settings: Settings, server: Seaweed, prefix: str) -> None:
        self.settings = settings
        self.world = build(settings)
        self.url = f"s3://{server.bucket}/{prefix}"
        options = S3Options(server.endpoint, server.region, server.access_key_id, server.secret_access_key)
        self.there = open_objects({"place": self.url}, options)

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(cli, list(words), prog_name="podrun", obj=Session(self.settings, self.world))

    def json(self, *words: str) -> Any:
        result = self.run(*words, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


@pytest.fixture
def desk(seaweed_server: Seaweed, tmp_path: Path) -> Iterator[Desk]:
    environ = {
        "PODINSIGHT_STATE_DIR": str(tmp_path / "state"),
        "PODINSIGHT_S3_ENDPOINT": seaweed_server.endpoint,
        "PODINSIGHT_S3_REGION": seaweed_server.region,
        "PODINSIGHT_S3_ACCESS_KEY_ID": seaweed_server.access_key_id,
        "PODINSIGHT_S3_SECRET_ACCESS_KEY": seaweed_server.secret_access_key,
    }
    opened = Desk(load(environ), seaweed_server, f"{tmp_path.name}/x")
    yield opened
    opened.world.store.close()


def test_a_manifest_is_written_to_s3_and_read_from_there(desk: Desk) -> None:
    url = f"{desk.url}/lists/one.csv"
    desk.there.put("place/lists/one.csv", b"url\nhttps://cdn.test/1.mp3\n")
    assert desk.json("fetch", "--dry-run", "--manifest-s3", url)["fetch"]["to_do"] == 1
    assert desk.json("fetch", "--no-wait", "--manifest", url)["fetch"] == 1
    assert desk.json("manifest", "make", "--output", f"{desk.url}/lists/two.csv")["episodes"] == 1
    assert desk.there.get("place/lists/two.csv").startswith(b"feed_url,")
    assert desk.run("manifest", "check", f"{desk.url}/lists/none.csv").exit_code == 2
    assert desk.run("manifest", "check", "s3://bucket").exit_code == 2


def test_an_archive_on_s3_is_adopted(desk: Desk) -> None:
    audio = tone("mp3", 1.0)
    for guid in ("g-1", "g-2"):
        desk.there.put(f"place/20vc/{guid}/audio/20vc-episode.mp3", audio)
        desk.there.put(f"place/20vc/{guid}/meta/meta.json", json.dumps({"guid": guid}).encode())
    desk.there.put("place/20vc/g-1/transcripts/transcript.json", b'{"segments": [1]}')
    assert desk.json("adopt", desk.url, "--dry-run")["adopted"] == 2
    said = desk.json("adopt", desk.url)
    assert (said["adopted"], said["fetch"], said["transcribe"], said["broken"]) == (2, 2, 1, 0)
    assert desk.json("adopt", desk.url)["known"] == 2
    first = desk.world.store.intake.page(0, 1)[0]
    assert first.audio_key == "raw/20vc/g-1/audio/episode.mp3"
    assert desk.world.objects.get(first.audio_key) == audio
    assert desk.run("gate", "fetch").exit_code == 0
