"""Chunks of an episode, heard by any number of workers in any order: the same transcript (T3, T6)."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from random import Random
from typing import Any, BinaryIO, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from podinsight.adapters.database import SqlStore
from podinsight.adapters.database.models import speech_days, work
from podinsight.adapters.memory_audio import BYTES_PER_SECOND
from podinsight.adapters.memory_speech import ScriptedTranscriber
from podinsight.adapters.obstore_objects import S3Options, open_objects
from podinsight.domain.episode import Episode
from podinsight.domain.hosts import HostLimits
from podinsight.domain.parts import part_from_json
from podinsight.domain.plan import plan_from_json
from podinsight.domain.transcript import Part
from podinsight.domain.work import Span, State
from podinsight.errors import Abandoned, LeaseLost, Permanent
from podinsight.ports import ObjectStore, SpeechRequest, Transcriber
from podinsight.services.lease import LeaseTimes
from podinsight.services.reconcile import reconcile
from podinsight.services.transcribe import TranscribePorts, transcribe_episode
from podinsight.topology import AREAS
from tests.support.clock import ManualClock
from tests.support.databases import open_migrated
from tests.support.planning import plan
from tests.support.rows import Rows
from tests.support.transcripts import PRICES
from tests.unit.services.test_plan import SOUND, fetched

TIMES = LeaseTimes(90.0, 20.0, 600.0)
SILENT_START = bytes(BYTES_PER_SECOND) * 130 + SOUND * 170


class Listening(ScriptedTranscriber):
    """Notes what it was asked, and whether it heard a chunk's own audio."""

    def __init__(self, model: str | None = None) -> None:
        super().__init__()
        self._stands_in = model
        self.asked: list[SpeechRequest] = []
        self.detected = 0

    def transcribe(self, audio: BinaryIO, request: SpeechRequest, beat: Callable[[float], None]) -> Part:
        self.asked.append(request)
        part = super().transcribe(audio, request, beat)
        return replace(part, model=self._stands_in) if self._stands_in else part

    def detect(self, audio: BinaryIO, model: str, beat: Callable[[float], None]) -> tuple[str, float]:
        self.detected += 1
        language, _probability = super().detect(audio, model, beat)
        return language, 0.87654


def ports(rows: Rows, objects: ObjectStore, transcriber: Transcriber) -> TranscribePorts:
    return TranscribePorts(rows.store, objects, transcriber, None, PRICES)


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
    transcribe_episode(ports(rows, objects, listening), episode.id, "g1", TIMES, lambda: False)
    folder = str(last.params["plan"])
    said = json.loads(objects.get(f"{folder}/language.json"))
    assert said == {"schema": "podinsight/language/1", "language": "en", "probability": 0.877}
    (key,) = [key for key in rows.store.work.parts(episode.id) if key != "None"]
    assert part_from_json(objects.get(key)).language_probability == 0.877
    rows.work.expire_worker("g2")
    rows.worker("g2", "gpu", 1)
    hear_all(rows, objects, episode, listening)
    assert listening.detected == 1


def test_a_language_that_was_asked_for_is_not_looked_for(rows: Rows, objects: ObjectStore) -> None:
    episode = planned(rows, objects, language="de")
    listening = Listening()
    hear_all(rows, objects, episode, listening)
    assert {request.language for request in listening.asked} == {"de"}
    assert listening.detected == 0


def test_silence_is_heard_without_an_error(rows: Rows, objects: ObjectStore) -> None:
    """T8: a silent episode has an empty transcript, and costs no device however long it is."""
    episode = planned(rows, objects, bytes(BYTES_PER_SECOND) * 300)
    listening = Listening()
    hear_all(rows, objects, episode, listening)
    assert (listening.asked, listening.detected) == ([], 0)
    assert rows.state(episode.id, "transcribe") is State.DONE
    document = json.loads(objects.get(f"{episode.stage}/transcripts/transcript.json"))
    assert (document["segments"], document["language"], document["duration"]) == ([], "und", 300.0)
    with rows.store.db.read() as conn:
        assert conn.execute(select(speech_days)).all() == []


def test_a_chunk_in_which_nobody_speaks_is_nobodys_work(rows: Rows, objects: ObjectStore) -> None:
    """Neither model nor device of the episode look mixed for it."""
    episode = planned(rows, objects, SILENT_START, model="large-v3")
    listening = Listening("small")
    hear_all(rows, objects, episode, listening)
    made = plan_from_json(objects.get(episode.plan_name))
    assert 0 < len(listening.asked) == sum(bool(made.speech_in(span)) for span in made.chunks) < len(made.chunks)
    assert all(request.speech for request in listening.asked)
    transcript = json.loads(objects.get(f"{episode.stage}/transcripts/transcript.json"))
    kpis = json.loads(objects.get(f"{episode.stage}/kpis/kpis.json"))
    assert (transcript["model"], transcript["language"]) == ("small", "en")
    assert (kpis["models"], kpis["device"]) == ({"small": len(listening.asked)}, "cpu")


class Racing:
    """An object store in which another worker writes a key between this one's `get` and its `exists`."""

    def __init__(self, real: ObjectStore, name: str, data: bytes) -> None:
        self._real, self._name, self._data = real, name, data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def get(self, key: str) -> bytes:
        if not key.endswith(self._name) or self._real.exists(key):
            return self._real.get(key)
        try:
            return self._real.get(key)
        finally:
            self._real.put(key, self._data)


def test_a_language_that_another_worker_just_wrote_is_taken(rows: Rows, objects: ObjectStore) -> None:
    episode = planned(rows, objects)
    said = {"schema": "podinsight/language/1", "language": "de", "probability": 0.9}
    racing = cast(ObjectStore, Racing(objects, "/language.json", json.dumps(said).encode()))
    listening = Listening()
    hear_all(rows, racing, episode, listening)
    assert ({request.language for request in listening.asked}, listening.detected) == ({"de"}, 0)
    assert rows.state(episode.id, "transcribe") is State.DONE


def beat_for_ever(beat: Callable[[float], None]) -> None:
    while True:
        beat(0.0)


def test_who_has_lost_its_lease_writes_no_language(rows: Rows, objects: ObjectStore) -> None:
    """Frozen while it listened: the episode is done and its folder swept."""
    episode = planned(rows, objects)

    class Frozen(Listening):
        def detect(self, audio: BinaryIO, model: str, beat: Callable[[float], None]) -> tuple[str, float]:
            rows.expire()
            for worker in ("g1", "g2", "g3"):
                rows.worker(worker, "gpu", 1)
            hear_all(rows, objects, episode)
            with pytest.raises(LeaseLost):
                beat_for_ever(beat)
            return super().detect(audio, model, lambda _done: None)

    often = replace(TIMES, renew=0.01)
    with pytest.raises(LeaseLost):
        transcribe_episode(ports(rows, objects, Frozen()), episode.id, "g2", often, lambda: False)
    assert rows.state(episode.id, "transcribe") is State.DONE
    assert not list(objects.list(episode.chunks))


def test_what_nobody_approved_is_held_instead_of_decoded(rows: Rows, objects: ObjectStore) -> None:
    """T2: rows that an older podinsight left waiting, with one chunk of all and nobody's approval."""
    episode = fetched(rows, objects, SOUND * 300)
    rows.worker("g1", "gpu", 1)
    with rows.store.work._transition() as (conn, moves):
        row = rows.store.work._transcribe_row(conn, episode.id)
        assert row is not None
        rows.store.work._add_chunks(conn, moves, episode, row.priority, [Span(0, 0.0, None)])
        rows.store.work._move(conn, moves, work, row, State.WAITING, "", params={"model": "tiny.en"})
    listening = Listening()
    transcribe_episode(ports(rows, objects, listening), episode.id, "g1", TIMES, lambda: False)
    assert listening.asked == []
    assert rows.store.work.states("transcribe", [episode.id])[episode.id] == (State.HELD, "waits for approval")
    assert rows.store.work.approve("ada") == 1
    plan(rows.store, objects, episode.id, 60.0)
    hear_all(rows, objects, episode, listening)
    assert rows.state(episode.id, "transcribe") is State.DONE


@pytest.mark.parametrize("harm", ["gone", "garbage", "another's"])
def test_parts_that_are_lost_are_made_again_and_only_they(rows: Rows, objects: ObjectStore, harm: str) -> None:
    episode = planned(rows, objects)
    listening = Listening()
    speaking = ports(rows, objects, listening)
    for _ in range(4):
        transcribe_episode(speaking, episode.id, "g1", TIMES, lambda: False)
    keys = rows.store.work.parts(episode.id)
    if harm == "gone":
        objects.delete([keys[1]])
    else:
        objects.put(keys[1], b"{" if harm == "garbage" else objects.get(keys[2]))
    hear_all(rows, objects, episode, listening)
    assert [request.n for request in listening.asked] == [0, 1, 2, 3, 4, 1]
    assert rows.state(episode.id, "transcribe") is State.DONE


@pytest.mark.parametrize("gone", [".flac", "/plan.json", "/language.json", ""])
def test_what_is_gone_is_made_up_for(rows: Rows, objects: ObjectStore, gone: str) -> None:
    """A chunk whose audio is gone is heard from the episode's: the same words. The plan has another name by then."""
    undisturbed = planned(rows, objects)
    hear_all(rows, objects, undisturbed)
    calm = outputs(objects, undisturbed)
    clock = ManualClock()
    again = Rows(open_migrated("sqlite://", clock, HostLimits({}, 10), 30.0), clock)
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
    without = TranscribePorts(rows.store, objects, None, None, PRICES)
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
    rows = Rows(open_migrated("sqlite://", clock, HostLimits({}, 10), 30.0), clock)
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
        rows.wait_out()
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
