"""Projections: two at once, one whose object is gone, and many that are stuck."""

import json
from typing import cast

import pytest

from podinsight.adapters.database import SqlStore
from podinsight.domain.episode import Episode, FetchedAudio, TranscriptFiles
from podinsight.domain.work import State
from podinsight.errors import Transient
from podinsight.ports import ObjectStore
from podinsight.services.project import project, project_episode
from podinsight.services.reconcile import reconcile
from tests.support.rows import TOOK, Rows


class Before:
    """The objects; `what` happens just before the first write of a meta.json."""

    def __init__(self, objects: ObjectStore, what: object) -> None:
        self._objects, self._what = objects, what

    def put(self, key: str, data: bytes) -> None:
        if key.endswith("meta.json") and callable(self._what):
            what, self._what = self._what, None
            what()
        self._objects.put(key, data)

    def __getattr__(self, name: str) -> object:
        return getattr(self._objects, name)


def known(store: SqlStore, episode_id: str) -> Episode:
    episode = store.catalogue.episode(episode_id)
    assert episode is not None
    return episode


def commit_fetch(rows: Rows, objects: ObjectStore, episode_id: str) -> None:
    episode = known(rows.store, episode_id)
    lease = rows.claim(episode_id, worker=rows.worker())
    key = f"{episode.attempts('fetch')}/{lease.token}"
    objects.put(key, b"audio")
    audio = FetchedAudio(key, episode.audio_name("mp3"), 5, "ab" * 32, "audio/mpeg", 60.0, episode.url, "h.test")
    rows.work.commit_fetch(lease, audio, 1.0)


def commit_transcript(rows: Rows, objects: ObjectStore, episode_id: str) -> None:
    episode = known(rows.store, episode_id)
    if rows.state(episode_id, "transcribe") is State.HELD:
        rows.plan(episode_id)
    lease = rows.claim(episode_id, "transcribe", rows.worker("g1", "gpu"))
    join = rows.work.commit_chunk(lease, f"{episode.parts}/0.json", TOOK, 90.0)
    assert join is not None
    key, fixed = f"{episode.attempts('transcribe')}/t", f"{episode.stage}/transcripts/transcript.json"
    objects.put(key, b"{}")
    rows.work.commit_transcript(join, TranscriptFiles(((key, fixed),), fixed, "tiny", 1, 60.0, 1.0, 1.0))


def transcript_of(objects: ObjectStore, episode: Episode) -> object:
    return json.loads(objects.get(episode.meta_key))["transcript_key"]


def test_a_projector_that_comes_late_leaves_the_newer_meta(rows: Rows, objects: ObjectStore) -> None:
    (episode_id,) = rows.fetches(1, transcribe=True)
    commit_fetch(rows, objects, episode_id)
    (late,) = rows.store.work.unprojected(1)

    def the_others_go_on() -> None:
        assert reconcile(rows.store, objects, 60.0).projected == 1
        commit_transcript(rows, objects, episode_id)
        project_episode(rows.store, objects, "transcribe", episode_id)

    assert project(rows.store, cast(ObjectStore, Before(objects, the_others_go_on)), late) is False
    episode = known(rows.store, episode_id)
    assert transcript_of(objects, episode) == episode.transcript_key
    assert episode.transcript_key is not None


def test_a_late_meta_between_the_newer_one_and_its_row_is_put_right_too(rows: Rows, objects: ObjectStore) -> None:
    (episode_id,) = rows.fetches(1, transcribe=True)
    commit_fetch(rows, objects, episode_id)
    reconcile(rows.store, objects, 60.0)
    old = objects.get(known(rows.store, episode_id).meta_key)
    commit_transcript(rows, objects, episode_id)
    (projection,) = rows.store.work.unprojected(1)

    class LateMeta(Before):
        def put(self, key: str, data: bytes) -> None:
            super().put(key, data)
            if self._what is not None:
                self._what = None
                objects.put(key, old)

    assert project(rows.store, cast(ObjectStore, LateMeta(objects, "once")), projection) is True
    episode = known(rows.store, episode_id)
    assert transcript_of(objects, episode) == episode.transcript_key


def test_work_whose_objects_are_gone_is_done_again(rows: Rows, objects: ObjectStore) -> None:
    (episode_id,) = rows.fetches(1, transcribe=True)
    episode = known(rows.store, episode_id)
    commit_fetch(rows, objects, episode_id)
    objects.delete([info.key for info in objects.list(episode.attempts("fetch"))])
    report = reconcile(rows.store, objects, 60.0)
    assert (report.projected, len(report.faults)) == (0, 1)
    assert "starts over" in report.faults[0]
    assert rows.state(episode_id) is State.WAITING
    commit_fetch(rows, objects, episode_id)
    assert reconcile(rows.store, objects, 60.0).projected == 1

    commit_transcript(rows, objects, episode_id)
    objects.delete([info.key for info in objects.list(episode.attempts("transcribe"))])
    assert reconcile(rows.store, objects, 60.0).projected == 0
    assert rows.state(episode_id, "transcribe") is State.WAITING
    commit_transcript(rows, objects, episode_id)
    assert reconcile(rows.store, objects, 60.0).projected == 1
    assert rows.state(episode_id, "transcribe") is State.DONE


@pytest.mark.parametrize("error", [Transient("503"), ZeroDivisionError("ours")])
def test_projections_that_are_stuck_do_not_keep_others_from_theirs(
    rows: Rows, objects: ObjectStore, error: Exception
) -> None:
    *stuck, good = rows.fetches(102)
    for episode_id in (*stuck, good):
        commit_fetch(rows, objects, episode_id)
        rows.clock.advance(0.01)
    names = {known(rows.store, episode_id).raw for episode_id in stuck}

    class Partly(Before):
        def copy(self, source: str, target: str) -> None:
            if any(target.startswith(f"{name}/") for name in names):
                raise error
            self._objects.copy(source, target)

    partly = cast(ObjectStore, Partly(objects, None))
    assert len(reconcile(rows.store, partly, 60.0).faults) == 100
    rows.clock.advance(1)
    report = reconcile(rows.store, partly, 60.0)
    assert report.projected == 1
    assert str(error) in report.faults[0]
    assert rows.state(good) is State.DONE


def test_a_projector_deletes_nothing_of_what_is_done_over(rows: Rows, objects: ObjectStore) -> None:
    """It is done over between its last word to the rows and its tidying up: the new chunks are another's."""
    (episode_id,) = rows.fetches(1, transcribe=True)
    commit_fetch(rows, objects, episode_id)
    reconcile(rows.store, objects, 60.0)
    commit_transcript(rows, objects, episode_id)
    (projection,) = rows.store.work.unprojected(1)
    old, new = (f"{known(rows.store, episode_id).chunks}/{name}/0.flac" for name in ("old", "new"))
    objects.put(old, b"old")

    class DoneOver(Before):
        def get(self, key: str) -> bytes:
            if rows.state(episode_id, "transcribe") is State.DONE:
                assert rows.work.transcribe_again([episode_id], 5, {"model": "base"}, "test") == 1
                objects.put(new, b"new")
            return objects.get(key)

    assert project(rows.store, cast(ObjectStore, DoneOver(objects, None)), projection)
    assert (objects.exists(old), objects.exists(new)) == (False, True)
