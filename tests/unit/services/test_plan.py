"""Planning: where an episode is cut, what lies in the object store, and what is left when something goes wrong."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import BinaryIO, cast

import pytest

from podinsight.adapters.memory_audio import BYTES_PER_SECOND
from podinsight.adapters.memory_cutter import ScriptedCutter
from podinsight.domain.episode import Episode, FetchedAudio
from podinsight.domain.plan import plan_from_json
from podinsight.domain.work import Span, State
from podinsight.errors import Abandoned, LeaseLost, Permanent, Transient, Unavailable
from podinsight.ports import Heard, ObjectStore, StatusStore, Stretch
from podinsight.services.lease import LeaseTimes
from podinsight.services.plan import PlanPorts, plan_episode
from podinsight.services.reconcile import reconcile
from tests.support.rows import Rows

TIMES = LeaseTimes(90.0, 20.0, 600.0)
SOUND = bytes(range(1, 251)) * (BYTES_PER_SECOND // 250)  # a second


def fetched(rows: Rows, objects: ObjectStore, sound: bytes) -> Episode:
    """An episode with this audio, which waits for its plan; worker `p1` is there."""
    (episode_id,) = rows.fetches(1, transcribe=True)
    episode = rows.store.catalogue.episode(episode_id)
    assert episode is not None
    lease = rows.claim(episode_id, worker=rows.worker())
    key = f"{episode.attempts('fetch')}/{lease.token}"
    objects.put(key, sound)
    seconds = len(sound) / BYTES_PER_SECOND
    found = FetchedAudio(key, episode.audio_name("mp3"), len(sound), "ab" * 32, "audio/mpeg", seconds, "u", "h.test")
    rows.work.commit_fetch(lease, found, 1.0)
    assert reconcile(rows.store, objects, 60.0).projected == 1
    rows.worker("p1", "plan", 1)
    after = rows.store.catalogue.episode(episode_id)
    assert after is not None
    return after


def ports(rows: Rows, objects: ObjectStore) -> PlanPorts:
    return PlanPorts(rows.store, objects, ScriptedCutter(), 60.0)


def plan(given: PlanPorts, episode: Episode, stopping: Callable[[], bool] = lambda: False) -> str:
    return plan_episode(given, episode.id, "p1", TIMES, stopping)


def keys(objects: ObjectStore, folder: str) -> list[str]:
    return [info.key.removeprefix(f"{folder}/") for info in objects.list(folder)]


def test_an_episode_becomes_chunks(rows: Rows, objects: ObjectStore) -> None:
    episode = fetched(rows, objects, SOUND * 200)
    assert plan(ports(rows, objects), episode) == f"{episode.id}: 3 chunks, 194 s of speech in 200 s"
    written = plan_from_json(objects.get(episode.plan_name))
    assert (written.seconds, len(written.chunks)) == (200.0, 3)
    assert all(20 - 0.6 < span.start % 20 < 20 for span in written.chunks[1:]), "cut in the pauses"
    (folder,) = objects.folders(episode.chunks)
    assert keys(objects, f"{episode.chunks}/{folder}") == ["0.flac", "1.flac", "2.flac", "plan.json"]
    rows.worker("g1", "gpu")
    leases = [rows.claim(episode.id, "transcribe", "g1") for _ in range(3)]
    assert tuple(lease.span for lease in leases) == written.chunks
    assert {lease.params["plan"] for lease in leases} == {f"{episode.chunks}/{folder}"}
    assert plan(ports(rows, objects), episode) == f"{episode.id}: nothing to claim"


def test_silence_is_one_chunk_of_which_nothing_is_kept(rows: Rows, objects: ObjectStore) -> None:
    episode = fetched(rows, objects, bytes(BYTES_PER_SECOND) * 400)
    plan(ports(rows, objects), episode)
    assert plan_from_json(objects.get(episode.plan_name)).chunks == (Span(0, 0.0, 400.0),)
    assert [key.rsplit("/", 1)[-1] for key in keys(objects, episode.chunks)] == ["plan.json"]


def test_what_cannot_be_read_fails_with_its_transcription(rows: Rows, objects: ObjectStore) -> None:
    """T8: unreadable audio."""
    episode = fetched(rows, objects, b"unreadable")
    with pytest.raises(Permanent, match="unreadable"):
        plan(ports(rows, objects), episode)
    assert "unreadable" in rows.reason(episode.id, "plan")
    assert rows.state(episode.id, "transcribe") is State.FAILED
    assert keys(objects, episode.stage) == []


class Breaks(ScriptedCutter):
    """Goes wrong in the middle of its second chunk."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def cut(
        self,
        audio: BinaryIO,
        stretches: Sequence[Stretch],
        sink: Callable[[int], AbstractContextManager[BinaryIO]],
        beat: Callable[[], None],
    ) -> None:
        super().cut(audio, stretches[:1], sink, beat)
        with sink(1) as out:
            out.write(b"half of it")
            raise self._error


@pytest.mark.parametrize(
    ("error", "state", "attempts"),
    [
        (Transient("503"), State.DELAYED, 1),
        (Abandoned("stopping"), State.WAITING, 0),
        (Permanent("broken"), State.FAILED, 1),
        (LeaseLost("frozen"), State.RUNNING, 0),
    ],
)
def test_what_was_written_of_a_plan_that_fails_is_deleted(
    rows: Rows, objects: ObjectStore, error: Exception, state: State, attempts: int
) -> None:
    episode = fetched(rows, objects, SOUND * 200)
    with pytest.raises(type(error)):
        plan(replace(ports(rows, objects), cutter=Breaks(error)), episode)
    assert keys(objects, episode.stage) == []
    assert rows.state(episode.id, "plan") is state
    views = [view for view in rows.store.work.views(state, 5) if view.stage == "plan"]
    assert [view.attempts for view in views] == [attempts]


def test_a_fault_of_ours_is_tried_again_and_then_given_up(rows: Rows, objects: ObjectStore) -> None:
    episode = fetched(rows, objects, SOUND * 200)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            plan(replace(ports(rows, objects), cutter=Breaks(ZeroDivisionError("ours"))), episode)
        rows.clock.advance(60)
        rows.work.reconcile(60)
    assert rows.state(episode.id, "plan") is State.FAILED
    assert "ZeroDivisionError" in rows.reason(episode.id, "transcribe")


def test_a_stopping_process_hands_back(rows: Rows, objects: ObjectStore) -> None:
    episode = fetched(rows, objects, SOUND * 200)
    with pytest.raises(Abandoned):
        plan(ports(rows, objects), episode, lambda: True)
    assert rows.state(episode.id, "plan") is State.WAITING
    assert keys(objects, episode.stage) == []


class Dies:
    """The rows of a process that is killed at one of its calls, or whose database goes away there."""

    def __init__(self, store: StatusStore, where: str, error: BaseException) -> None:
        self._store, self._where, self._error = store, where, error

    @property
    def work(self) -> object:
        return self

    def __getattr__(self, name: str) -> object:
        if name == self._where:
            raise self._error
        return getattr(self._store.work, name, None) or getattr(self._store, name)


@pytest.mark.parametrize("where", ["commit_plan", "unprojected"])
@pytest.mark.parametrize("error", [SystemExit(137), Unavailable("away")])
def test_a_death_anywhere_changes_nothing_in_the_end(
    rows: Rows, objects: ObjectStore, where: str, error: BaseException
) -> None:
    episode = fetched(rows, objects, SOUND * 200)
    dying = replace(ports(rows, objects), store=cast(StatusStore, Dies(rows.store, where, error)))
    with pytest.raises(type(error)):
        plan(dying, episode)
    rows.expire()
    rows.worker("p1", "plan", 1)
    reconcile(rows.store, objects, 60.0)
    plan(ports(rows, objects), episode)
    assert rows.state(episode.id, "plan") is State.DONE
    assert len(plan_from_json(objects.get(episode.plan_name)).chunks) == 3
    left = {each.prefix for each in rows.work.leftovers(1e18, 9)}
    lost = {f"{episode.chunks}/{name}" for name in objects.folders(episode.chunks)} - {
        str(rows.claim(episode.id, "transcribe", rows.worker("g1", "gpu")).params["plan"])
    }
    assert lost <= left, "what the dead one wrote is swept"


def test_a_cutter_that_hears_no_length_fails(rows: Rows, objects: ObjectStore) -> None:
    class Deaf(ScriptedCutter):
        def listen(self, audio: BinaryIO, beat: Callable[[], None]) -> Heard:
            return Heard(0.0, ())

    episode = fetched(rows, objects, SOUND)
    with pytest.raises(Permanent, match="no plan"):
        plan(replace(ports(rows, objects), cutter=Deaf()), episode)
