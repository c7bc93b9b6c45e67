"""A podrun that works on a folder of the test's own: real adapters, a queue in memory, and workers played by hand."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from podinsight import settings as settings_module
from podinsight.adapters.clock import SystemClock
from podinsight.adapters.memory import MemoryQueue
from podinsight.adapters.memory_gate import MemoryGate
from podinsight.adapters.memory_speech import ScriptedTranscriber
from podinsight.bootstrap import Container, build
from podinsight.cli.main import cli
from podinsight.cli.session import Session
from podinsight.domain.episode import Episode
from podinsight.errors import PodinsightError
from podinsight.ports import StatusStore
from podinsight.services.fetch import FetchPorts, fetch_episode
from podinsight.services.lease import LeaseTimes
from tests.support.audio import tone, unlike
from tests.support.databases import prepare
from tests.support.feeds import rss
from tests.support.webserver import WebServer

TIMES = LeaseTimes(5.0, 1.0, 5.0)
WORKER = "fetch-1"


class AtTerminal(Session):
    """A session with somebody to ask."""

    @property
    def at_terminal(self) -> bool:
        return True


@dataclass
class Desk:
    """Runs podrun in this process on one container."""

    folder: Path
    world: Container
    queue: MemoryQueue
    web: WebServer

    @property
    def store(self) -> StatusStore:
        return self.world.store

    def run(self, *words: str, answer: str | None = None) -> Result:
        """`podrun WORDS`; with `answer`, at a terminal where somebody types that."""
        kind = Session if answer is None else AtTerminal
        session = kind(settings_module.load(), self.world)
        return CliRunner().invoke(cli, list(words), prog_name="podrun", obj=session, input=answer)

    def json(self, *words: str) -> Any:
        """What `podrun WORDS --json` prints, when it ends well."""
        result = self.run(*words, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def serve_feed(self, path: str, title: str, count: int, broken: int = 0) -> str:
        """A feed of `count` episodes, of which the last `broken` answer 404. Returns its URL."""
        for number in range(1, count - broken + 1):
            self.web.serve(f"{path}/{number}.mp3", unlike(tone("mp3", 1.0), f"{path}/{number}"), mime="audio/mpeg")
        for number in range(count - broken + 1, count + 1):
            self.web.fail(f"{path}/{number}.mp3", 404)
        items = [(f"guid-{number}", self.web.url(f"{path}/{number}.mp3")) for number in range(1, count + 1)]
        return self.web.serve(f"{path}.xml", rss(title, items), mime="application/rss+xml")

    def episodes(self) -> list[Episode]:
        return self.store.catalogue.first_episodes(None)

    def start_worker(self, pool: str = "fetch", device: str = "") -> None:
        """A worker that says it is ready; what it should do is done by `work`. device: `cpu` in the pool gpu."""
        device = device or ("cpu" if pool == "gpu" else "")
        self.store.workers.register(WORKER if pool == "fetch" else f"{pool}-1", "here", pool, 1, 10, device)

    def work(self) -> int:
        """Does the fetches that were published so far; returns how many."""
        taken = self.queue.take()
        ports = FetchPorts(self.world.store, self.world.objects, self.world.fetcher, self.world.probe)
        for _task, (episode_id,) in taken:
            try:
                fetch_episode(ports, episode_id, WORKER, TIMES, lambda: False)
            except PodinsightError:
                continue
        return len(taken)


def open_desk(folder: Path, web: WebServer) -> Desk:
    """The environment must name `folder` already."""
    settings = settings_module.load()
    prepare(settings.state_dir / "podinsight.db")
    queue = MemoryQueue()
    gate = MemoryGate(SystemClock(), 12.0, 60.0)
    gate.open()
    world = replace(build(settings, gate=gate), queue=queue, transcriber=ScriptedTranscriber())
    return Desk(folder, world, queue, web)
