"""Economy mode where speech is decoded: the next smaller model, for whole episodes (G8)."""

import json
from collections.abc import Sequence

from podinsight.adapters.memory_speech import ScriptedTranscriber
from podinsight.domain.control import Control
from podinsight.domain.ladder import smaller_models
from podinsight.domain.work import State
from podinsight.ports import ObjectStore
from podinsight.services.transcribe import TranscribePorts, transcribe_episode
from tests.support.rows import Rows
from tests.unit.services.test_hear import TIMES, planned, ports

HERE = ("tiny", "base", "tiny.en")


def saving(model: str) -> Sequence[str]:
    return smaller_models(model, HERE)


def economical(rows: Rows, objects: ObjectStore, on: bool = True) -> TranscribePorts:
    rows.store.control.write(Control(economy=on, by="cost guard"))
    plain = ports(rows, objects, ScriptedTranscriber())
    return TranscribePorts(rows.store, objects, plain.transcriber, None, plain.prices, saving=saving)


def one(rows: Rows, speaking: TranscribePorts, episode_id: str) -> str:
    return transcribe_episode(speaking, episode_id, "g1", TIMES, lambda: False)


def all_of(rows: Rows, speaking: TranscribePorts, episode_id: str) -> None:
    while not one(rows, speaking, episode_id).endswith("nothing to claim"):
        pass
    assert rows.state(episode_id, "transcribe") is State.DONE


def made(rows: Rows, objects: ObjectStore, episode_id: str) -> tuple[str, dict[str, int], str | None]:
    """Model of the transcript, models by chunk of the kpis, and what the episode's row says."""
    episode = rows.store.catalogue.episode(episode_id)
    assert episode is not None
    transcript = json.loads(objects.get(f"{episode.stage}/transcripts/transcript.json"))
    kpis = json.loads(objects.get(f"{episode.stage}/kpis/kpis.json"))
    assert kpis["model"] == transcript["model"]
    return transcript["model"], kpis["models"], episode.model


def test_the_same_episode_is_transcribed_by_the_smaller_model(rows: Rows, objects: ObjectStore) -> None:
    """From end to end; what says the model names the one that was really used."""
    episode = planned(rows, objects, model="base")
    all_of(rows, economical(rows, objects), episode.id)
    assert made(rows, objects, episode.id) == ("tiny", {"tiny": 5}, "tiny")


def test_without_economy_mode_it_is_not(rows: Rows, objects: ObjectStore) -> None:
    episode = planned(rows, objects, model="base")
    all_of(rows, economical(rows, objects, on=False), episode.id)
    assert made(rows, objects, episode.id) == ("base", {"base": 5}, "base")


def test_an_episode_that_was_begun_is_finished_by_its_model(rows: Rows, objects: ObjectStore) -> None:
    """All chunks of an episode use one model, whether economy mode begins or ends meanwhile."""
    episode = planned(rows, objects, model="base")
    one(rows, economical(rows, objects, on=False), episode.id)
    all_of(rows, economical(rows, objects), episode.id)
    assert made(rows, objects, episode.id) == ("base", {"base": 5}, "base")


def test_and_so_is_one_that_was_begun_in_economy_mode(rows: Rows, objects: ObjectStore) -> None:
    episode = planned(rows, objects, model="base")
    one(rows, economical(rows, objects), episode.id)
    all_of(rows, economical(rows, objects, on=False), episode.id)
    assert made(rows, objects, episode.id) == ("tiny", {"tiny": 5}, "tiny")


def test_of_two_that_begin_at_once_neither_takes_another_model(rows: Rows, objects: ObjectStore) -> None:
    episode = planned(rows, objects, model="base")
    other = rows.claim(episode.id, "transcribe", "g2")
    speaking = economical(rows, objects)
    one(rows, speaking, episode.id)
    rows.work.hand_back(other)
    all_of(rows, speaking, episode.id)
    assert made(rows, objects, episode.id) == ("base", {"base": 5}, "base")


def test_an_episode_sinks_by_one_model_alone(rows: Rows, objects: ObjectStore) -> None:
    """One that is handed back before a chunk is done does not sink again."""
    episode = planned(rows, objects, model="small")
    speaking = economical(rows, objects)
    lease = rows.claim(episode.id, "transcribe", "g1")
    assert rows.work.begin_smaller(lease, "base")
    rows.work.hand_back(lease)
    all_of(rows, speaking, episode.id)
    assert made(rows, objects, episode.id) == ("base", {"base": 5}, "base")


def test_where_no_smaller_model_is_there_the_one_asked_for_is_used(rows: Rows, objects: ObjectStore) -> None:
    """And none of another language."""
    episode = planned(rows, objects, model="tiny.en")
    all_of(rows, economical(rows, objects), episode.id)
    assert made(rows, objects, episode.id)[0] == "tiny.en"
