"""Planning an episode: claim, listen to it, choose where to cut, write the chunks and plan.json, commit, project."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, cast

from podinsight.domain.plan import SpeechPlan, make_plan, plan_to_json
from podinsight.errors import Permanent
from podinsight.ports import Cutter, ObjectStore, StatusStore
from podinsight.services.lease import LeaseTimes, kept
from podinsight.services.project import project_episode
from podinsight.services.settle import discard, settle


@dataclass(frozen=True)
class PlanPorts:
    """What planning needs. chunk_seconds: the length of chunks to aim at. `on_hang` ends the process when a native call
    hangs."""

    store: StatusStore
    objects: ObjectStore
    cutter: Cutter
    chunk_seconds: float
    on_hang: Callable[[], None] | None = None


def plan_episode(
    ports: PlanPorts, episode_id: str, worker: str, times: LeaseTimes, stopping: Callable[[], bool]
) -> str:
    """Plans one episode if its row is claimable; returns what happened, for the log.

    Raises:
        PodinsightError: why it did not succeed; the row says so already.
    """
    lease = ports.store.work.claim("plan", episode_id, worker, times.lease)
    if lease is None:
        return f"{episode_id}: nothing to claim"
    written: list[str] = []
    try:
        with kept(ports.store.work, lease, times, stopping, ports.on_hang) as heart:
            started = time.monotonic()
            episode = ports.store.catalogue.episode(episode_id)
            if episode is None or episode.audio_key is None:
                raise Permanent(f"episode {episode_id} has no audio to plan: fetch it first")
            folder = f"{episode.attempts('plan')}/{lease.token}"
            plan = _write(ports, episode.audio_key, folder, heart.beat, written)
            ports.store.work.commit_plan(lease, folder, plan.chunks, time.monotonic() - started)
    except Exception as error:
        discard(ports.objects, written, error)
        state = settle(ports.store.work, lease, error)
        error.add_note(f"the plan of episode {episode_id} is {state.value}")
        raise
    project_episode(ports.store, ports.objects, "plan", episode_id)
    spoken = sum(until - since for since, until in plan.speech)
    return f"{episode_id}: {len(plan.chunks)} chunks, {spoken:.0f} s of speech in {plan.seconds:.0f} s"


def _write(ports: PlanPorts, audio_key: str, folder: str, beat: Callable[[], None], written: list[str]) -> SpeechPlan:
    """Writes the chunks' audio, then plan.json. Where nobody speaks there is nothing to decode, and no chunk is cut."""

    @contextmanager
    def sink(n: int) -> Iterator[BinaryIO]:
        key = f"{folder}/{n}.flac"
        written.append(key)
        with ports.objects.writer(key) as out:
            yield cast(BinaryIO, out)  # a cutter only ever writes to it

    with ports.objects.reader(audio_key) as audio:
        heard = ports.cutter.listen(audio, beat)
        beat()
        try:
            plan = make_plan(heard.seconds, heard.speech, ports.chunk_seconds, ports.cutter.profile())
        except ValueError as error:
            raise Permanent(str(error)) from error
        if plan.speech:
            audio.seek(0)
            ports.cutter.cut(audio, [(span.start, span.end or 0.0) for span in plan.chunks], sink, beat)
    beat()
    written.append(f"{folder}/plan.json")
    ports.objects.put(written[-1], plan_to_json(plan))
    return plan
