"""Chunks of an episode, heard by any number of workers in any order: the same transcript (T3, T6)."""

import json
from collections.abc import Callable
from functools import cache
from random import Random
from typing import BinaryIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from podinsight.adapters.database import SqlStore, open_store
from podinsight.adapters.database.models import work
from podinsight.adapters.memory_audio import BYTES_PER_SECOND
from podinsight.adapters.memory_speech import ScriptedTranscriber
from podinsight.adapters.obstore_objects import S3Options, open_objects
from podinsight.domain.episode import Episode
from podinsight.domain.hosts import HostLimits
from podinsight.domain.parts import part_from_json
from podinsight.domain.plan import plan_from_json
from podinsight.domain.transcript import Part
from podinsight.domain.work import State
from podinsight.errors import Abandoned, Permanent
from podinsight.ports import ObjectStore, SpeechRequest, Transcriber
from podinsight.services.join import GpuPrice
from podinsight.services.lease import LeaseTimes
from podinsight.services.reconcile import reconcile
from podinsight.services.transcribe import TranscribePorts, transcribe_episode
from podinsight.topology import AREAS
from tests.support.clock import ManualClock
from tests.support.planning import plan
from tests.support.rows import Rows
from tests.unit.services.test_plan import SOUND, fetched

TIMES = LeaseTimes(90.0, 20.0, 600.0)
SILENT_START = bytes(BYTES_PER_SECOND) * 130 + SOUND * 170


class Listening(ScriptedTranscriber):
    """Notes what it was asked, and whether it heard a chunk's own audio."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[SpeechRequest] = []
        self.detected = 0

    def transcribe(self, audio: BinaryIO, request: SpeechRequest, beat: Callable[[float], None]) -> Part:
        self.asked.append(request)
        return super().transcribe(audio, request, beat)

    def detect(self, audio: BinaryIO, model: str, beat: Callable[[float], None]) -> tuple[str, float]:
        self.detected += 1
        language, _probability = super().detect(audio, model, beat)
        return language, 0.87654


def ports(rows: Rows, objects: ObjectStore, transcriber: Transcriber) -> TranscribePorts:
    return TranscribePorts(rows.store, objects, transcriber, None, GpuPrice(0.5, 12.0))


def planned(rows: Rows, objects: ObjectStore, sound: bytes = SOUND * 300, **params: object) -> Episode:
    """An episode of several chunks that wait; workers `g1`, `g2` and `g3` are there."""
    episode = fetched(rows, objects, sound)
    if params:
        set_params(rows.store, episode.id, **params)
    plan(rows.store, objects, episode.id, 60.0)
    for worker in ("g1", "g2", "g3"):
        rows.worker(worker, "gpu", 1)
    return episode


def set_params(store: SqlStore, episode_id: str, **params: object) -> None:
    this = (work.c.episode_id == episode_id) & (work.c.stage == "transcribe")
    with store.db.write() as conn:
        old = conn.execute(select(work.c.params).where(this)).scalar_one()
        conn.execute(update(work).where(this).values(params={**old, **params}))


def hear_all(rows: Rows, objects: ObjectStore, episode: Episode, transcriber: Transcriber | None = None) -> None:
    speaking = ports(rows, objects, transcriber or ScriptedTranscriber())
    while not transcribe_episode(speaking, episode.id, "g1", TIMES, lambda: False).endswith("nothing to claim"):
        pass


def outputs(objects: ObjectStore, episode: Episode) -> dict[str, bytes]:
    found = [info.key for info in objects.list(episode.stage)]
    return {key: objects.get(key) for key in found if "/kpis/" not in key}


def test_each_chunk_is_heard_from_its_own_audio_with_its_speech(rows: Rows, objects: ObjectStore) -> None:
    episode = planned(rows, objects, prompt="Ada Lovelace.", hotwords="Babbage", words=True, batch=4)
    listening = Listening()
    hear_all(rows, objects, episode, listening)
    made = plan_from_json(objects.get(episode.plan_name))
    assert len(made.chunks) == 5
    for span, request in zip(made.chunks, listening.asked, strict=True):
        assert (request.n, request.start, request.end, request.offset) == (span.n, span.start, span.end, span.start)
        assert request.speech == made.speech_in(span)
        assert (request.prompt, request.hotwords, request.words) == ("Ada Lovelace.", "Babbage", True)
        assert (request.language, request.batch) == ("en", 4)
    assert rows.state(episode.id, "transcribe") is State.DONE
    assert not {name for key in outputs(objects, episode) for name in key.split("/")} & {"chunks", "parts", "attempts"}


def test_the_language_is_found_once_and_in_speech(rows: Rows, objects: ObjectStore) -> None:
    """In the first chunk in which somebody speaks, whichever is decoded first; kept for all others."""
    episode = planned(rows, objects, SILENT_START)
    listening = Listening()
    last = [rows.claim(episode.id, "transcribe", "g2") for _ in range(4)][-1]
    rows.work.expire_worker("g2")
    assert last.span is not None
    transcribe_episode(ports(rows, objects, listening), episode.id, "g1", TIMES, lambda: False)
    folder = str(last.params["plan"])
    said = json.loads(objects.get(f"{folder}/language.json"))
    assert said == {"schema": "podinsight/language/1", "language": "en", "probability": 0.877}
    (key,) = [key for key in rows.store.work.parts(episode.id) if key != "None"]
    assert part_from_json(objects.get(key)).language_probability == 0.877
    hear_all(rows, objects, episode, listening)
    assert listening.detected == 1


def test_a_language_that_was_asked_for_is_not_looked_for(rows: Rows, objects: ObjectStore) -> None:
    episode = planned(rows, objects, language="de")
    listening = Listening()
    hear_all(rows, objects, episode, listening)
    assert {request.language for request in listening.asked} == {"de"}
    assert listening.detected == 0


def test_silence_is_heard_without_an_error(rows: Rows, objects: ObjectStore) -> None:
    """T8: a silent episode has an empty transcript."""
    episode = planned(rows, objects, bytes(BYTES_PER_SECOND) * 300)
    listening = Listening()
    hear_all(rows, objects, episode, listening)
    (request,) = listening.asked
    assert (request.speech, request.offset, listening.detected) == ((), 0.0, 0)
    assert rows.state(episode.id, "transcribe") is State.DONE
    document = json.loads(objects.get(f"{episode.stage}/transcripts/transcript.json"))
    assert document["segments"] == []


@pytest.mark.parametrize("gone", [".flac", "/plan.json", "/language.json", ""])
def test_what_is_gone_is_made_up_for(rows: Rows, objects: ObjectStore, gone: str) -> None:
    """A chunk whose audio is gone is heard from the episode's: the same words. The plan has another name by then."""
    undisturbed = planned(rows, objects)
    hear_all(rows, objects, undisturbed)
    calm = outputs(objects, undisturbed)
    clock = ManualClock()
    again = Rows(open_store("sqlite://", clock, HostLimits({}, 10), 30.0), clock)
    store = open_objects(dict.fromkeys(AREAS, "memory:///"), S3Options())
    episode = planned(again, store)
    transcribe_episode(ports(again, store, ScriptedTranscriber()), episode.id, "g1", TIMES, lambda: False)
    store.delete([info.key for info in store.list(episode.chunks) if info.key.endswith(gone)])
    hear_all(again, store, episode)
    assert outputs(store, episode) == calm
    again.store.close()


def test_a_plan_that_is_gone_altogether_costs_only_the_pauses(rows: Rows, objects: ObjectStore) -> None:
    episode = planned(rows, objects)
    objects.delete([info.key for info in objects.list(episode.chunks)])
    objects.delete([episode.plan_name])
    listening = Listening()
    hear_all(rows, objects, episode, listening)
    assert {request.speech for request in listening.asked} == {None}
    assert rows.state(episode.id, "transcribe") is State.DONE


@pytest.mark.parametrize("name", ["plan.json", "language.json"])
def test_what_is_garbage_counts_as_gone(rows: Rows, objects: ObjectStore, name: str) -> None:
    episode = planned(rows, objects)
    (folder,) = objects.folders(episode.chunks)
    objects.put(f"{episode.chunks}/{folder}/{name}", b"{")
    hear_all(rows, objects, episode)
    assert rows.state(episode.id, "transcribe") is State.DONE


def test_a_chunk_is_left_to_who_has_a_device(rows: Rows, objects: ObjectStore) -> None:
    episode = planned(rows, objects)
    without = TranscribePorts(rows.store, objects, None, None, GpuPrice(0.5, 12.0))
    with pytest.raises(Abandoned):
        transcribe_episode(without, episode.id, "g1", TIMES, lambda: False)
    assert rows.state(episode.id, "transcribe") is State.WAITING


def test_a_chunk_that_cannot_be_read_fails_its_episode(rows: Rows, objects: ObjectStore) -> None:
    episode = planned(rows, objects)
    (folder,) = objects.folders(episode.chunks)
    objects.put(f"{episode.chunks}/{folder}/0.flac", b"unreadable")
    with pytest.raises(Permanent, match="unreadable"):
        hear_all(rows, objects, episode)
    assert rows.state(episode.id, "transcribe") is State.FAILED


def walked(seed: int | None) -> dict[str, bytes]:
    """The outputs of an episode whose chunks were done by three workers in an order of its own, some of them twice;
    None: by one, in order."""
    clock = ManualClock()
    rows = Rows(open_store("sqlite://", clock, HostLimits({}, 10), 30.0), clock)
    objects = open_objects(dict.fromkeys(AREAS, "memory:///"), S3Options())
    episode = planned(rows, objects, SILENT_START)
    dice = Random(seed)
    while rows.state(episode.id, "transcribe") is not State.DONE:
        worker = "g1" if seed is None else dice.choice(["g1", "g2", "g3"])
        held = (
            []
            if seed is None
            else [rows.work.claim("transcribe", episode.id, "g3", 90) for _ in range(dice.randrange(4))]
        )
        if seed is not None and dice.random() < 0.3:
            rows.work.expire_worker("g3")
            held = []
        speaking = ports(rows, objects, ScriptedTranscriber())
        transcribe_episode(speaking, episode.id, worker, TIMES, lambda: False)
        for lease in held:
            if lease is not None:
                rows.work.hand_back(lease)
        reconcile(rows.store, objects, 60.0)
    found = outputs(objects, episode)
    rows.store.close()
    return found


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32))
def test_any_order_and_any_rerun_gives_the_same_bytes(seed: int) -> None:
    assert walked(seed) == _calm()


@cache
def _calm() -> dict[str, bytes]:
    return walked(None)
