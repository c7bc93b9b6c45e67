"""F10: another episode's transcript of the same audio is taken, byte by byte, and costs nothing."""

import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from podinsight.adapters.database.models import work
from podinsight.domain.episode import Episode
from podinsight.domain.transcript import Part, Segment
from podinsight.domain.work import State
from podinsight.errors import Transient
from podinsight.ports import ObjectStore
from podinsight.services.lease import LeaseTimes
from podinsight.services.reconcile import reconcile
from podinsight.services.transcribe import TranscribePorts, take_same_audio
from tests.support.rows import APPROVED, PARAMS, Rows
from tests.support.transcripts import PRICES, SEGMENTS, conforms, document, known, part, transcribe

SAME = "aa" * 32
TIMES = LeaseTimes(90.0, 20.0, 600.0)
SAID = (*SEGMENTS, Segment(7.0, 7.0004, "– «Ende»\u2028 & --> so.", -0.25004, None, None, speaker="Ann"))
LATER = tuple(replace(each, start=each.start + 60, end=each.end + 60) for each in SEGMENTS)


def transcribed(rows: Rows, objects: ObjectStore, parts: tuple[Part, ...]) -> Episode:
    (episode_id,) = rows.fetches(1, transcribe=True)
    rows.fetch(episode_id, SAME)
    rows.worker("g1", "gpu", 1)
    rows.plan(episode_id, len(parts))
    return transcribe(rows, objects, episode_id, parts)


def same(rows: Rows, approved: str = APPROVED) -> str:
    """An episode of another feed with that audio, its transcription asked for."""
    (episode_id,) = rows.fetches(1, feed="b", transcribe=True, approved=approved)
    rows.fetch(episode_id, SAME)
    return episode_id


def take(rows: Rows, objects: ObjectStore, episode_id: str) -> str | None:
    """What the fetch worker does after its fetch: it has no device."""
    ports = TranscribePorts(rows.store, objects, None, None, PRICES)
    return take_same_audio(ports, episode_id, rows.worker("cpu"), TIMES, lambda: False)


def files(objects: ObjectStore, episode: Episode) -> dict[str, bytes]:
    found = {info.key.removeprefix(f"{episode.stage}/"): objects.get(info.key) for info in objects.list(episode.stage)}
    return {name: data for name, data in found.items() if not name.startswith("kpis/")}


def unnamed(found: dict[str, bytes], episode: Episode) -> dict[str, bytes]:
    """Without what says which episode it is."""
    document: dict[str, Any] = json.loads(found["transcripts/transcript.json"])
    assert document["episode"] == {
        "id": episode.id, "guid": episode.guid, "feed_slug": episode.feed_slug, "title": episode.title,
    }  # fmt: skip
    whose = json.dumps(document["episode"], indent=1, ensure_ascii=False).replace("\n", "\n ").encode()
    text = found["transcripts/transcript.json"]
    assert text.count(whose) == 1
    title = f"{episode.title}\n".encode()
    assert found["transcripts/transcript.txt"].startswith(title)
    return found | {
        "transcripts/transcript.json": text.replace(whose, b"{}"),
        "transcripts/transcript.txt": found["transcripts/transcript.txt"].removeprefix(title),
    }


@pytest.mark.parametrize(
    "parts",
    [
        (part(segments=SAID),),
        (part(0, segments=()), part(1, LATER, "tiny")),
        (part(segments=(), covered=0.0),),
    ],
    ids=["words, doubts and a speaker", "two models", "nobody speaks"],
)
def test_the_files_are_the_same_bytes_but_for_whose_they_are(
    rows: Rows, objects: ObjectStore, parts: tuple[Part, ...]
) -> None:
    one = transcribed(rows, objects, parts)
    two = known(rows, same(rows, approved=""))
    assert take(rows, objects, two.id) == f"{two.id}: transcribed"
    two = known(rows, two.id)
    assert (two.model, two.transcript_key) == (one.model, f"{two.stage}/transcripts/transcript.json")
    assert unnamed(files(objects, two), two) == unnamed(files(objects, one), one)
    assert "same_as" not in document(objects, two.meta_key)
    conforms("transcript-2", document(objects, str(two.transcript_key)))


def test_what_it_took_is_told_as_it_is(rows: Rows, objects: ObjectStore) -> None:
    """T5: no device, no dollar, and whose work it was; how good it is, it is as good as that."""
    one = transcribed(rows, objects, (part(segments=SAID),))
    two, three = same(rows), same(rows)
    for episode_id in (two, three):
        assert take(rows, objects, episode_id) is not None
    theirs, ours = (document(objects, f"{known(rows, each).stage}/kpis/kpis.json") for each in (one.id, three))
    conforms("kpis-2", ours)
    assert ours["same_as"] == one.id
    assert {name: ours[name] for name in ("device_seconds", "cost_usd", "gpu_estimate_usd", "speed", "device")} == {
        "device_seconds": 0.0, "cost_usd": 0.0, "gpu_estimate_usd": 0.0, "speed": None, "device": "none",
    }  # fmt: skip
    measured = ("speech_seconds", "coverage", "redecoded_share", "doubtful_share")
    alike = ("source", "audio_seconds", "words", "segments", "language", "model", *measured)
    assert {name: ours[name] for name in alike} == {name: theirs[name] for name in alike}
    assert "same_as" not in theirs


@pytest.mark.parametrize("kpis", [None, b"{", b"{}", b'{"source": "whisper", "model": "base", "words": 1}'])
def test_without_its_kpis_nobody_knows_how_good_it_is(rows: Rows, objects: ObjectStore, kpis: bytes | None) -> None:
    one = transcribed(rows, objects, (part(segments=SAID),))
    key = f"{one.stage}/kpis/kpis.json"
    objects.delete([key]) if kpis is None else objects.put(key, kpis)
    two = same(rows)
    assert take(rows, objects, two) is not None
    found = document(objects, f"{known(rows, two).stage}/kpis/kpis.json")
    assert (found["coverage"], found["doubtful_share"], found["words"]) == (None, None, 17)


@pytest.mark.parametrize(
    "there",
    [
        None,
        b"",
        b"[]",
        b'{"schema": "podinsight/transcript/1", "source": "whisper"}',
        b'{"schema": "podinsight/transcript/2", "source": "publisher"}',
        b'{"schema": "podinsight/transcript/2", "source": "whisper", "profile": {}, "speakers": [], "segments": [{}]}',
    ],
)
def test_a_transcript_that_is_gone_or_unreadable_is_decoded_instead(
    rows: Rows, objects: ObjectStore, there: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    """What costs something is asked for first (T2)."""
    one = transcribed(rows, objects, (part(),))
    key = str(one.transcript_key)
    objects.delete([key]) if there is None else objects.put(key, there)
    for approved, reason in (("", "waits for approval"), (APPROVED, "waits for its plan")):
        two = same(rows, approved)
        take(rows, objects, two)
        assert rows.store.work.states("transcribe", [two])[two] == (State.HELD, reason)
    assert f"the transcript of {one.id}, the same audio, cannot be used" in caplog.text


def test_a_store_that_is_away_is_waited_for(rows: Rows, objects: ObjectStore) -> None:
    one = transcribed(rows, objects, (part(),))
    two = same(rows)

    class Away:
        """The object store, which does not answer for the transcript."""

        def __getattr__(self, name: str) -> object:
            return getattr(objects, name)

        def get(self, key: str) -> bytes:
            if key == one.transcript_key:
                raise Transient("away", ours=True)
            return objects.get(key)

    assert take(rows, Away(), two) is None  # type: ignore[arg-type]
    assert rows.store.work.states("transcribe", [two])[two][0] is State.DELAYED


def test_who_was_missed_is_found_by_reconcile(rows: Rows, objects: ObjectStore) -> None:
    """Whatever became of the one it waits for; two that wait for each other would be parted, too."""
    one, two = same(rows), same(rows)
    waits = "waits for the transcript of the same audio"
    with rows.store.db.write() as conn:
        conn.execute(update(work).where(work.c.stage == "transcribe").values(reason=waits))
    reconcile(rows.store, objects, 60.0)
    assert {rows.reason(each, "transcribe") for each in (one, two)} == {waits}
    rows.clock.advance(60.0)
    reconcile(rows.store, objects, 60.0)
    assert {rows.reason(each, "transcribe") for each in (one, two)} == {waits, "waits for its plan"}


def test_who_takes_none_is_left_alone(rows: Rows, objects: ObjectStore) -> None:
    (episode_id,) = rows.episodes(1)
    assert take(rows, objects, episode_id) is None
    rows.work.enqueue_fetch([episode_id], 5, PARAMS, APPROVED)
    rows.fetch(episode_id)
    rows.plan(episode_id)
    assert take(rows, objects, episode_id) is None
    assert rows.store.work.states("transcribe", [episode_id])[episode_id] == (State.WAITING, "")
