"""Whose transcript an episode takes, or waits for (F10)."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from podinsight.domain.episode import Episode, PublisherTranscript
from podinsight.domain.held import WAITS_FOR_APPROVAL, WAITS_FOR_TWIN, awaited
from podinsight.domain.same_audio import SETTINGS, Twin, find_twin

PARAMS: Mapping[str, object] = {"model": "base", "language": None}
WRITTEN = (PublisherTranscript("raw/0.vtt", "https://x.test/0.vtt", "text/vtt", "en", accepted=True),)


def episode(name: str, transcript: str | None = "stage/t.json", model: str | None = "base") -> Episode:
    found = Episode(name, 1, "f1", "show", name, name, name, "https://x.test/1.mp3", "x.test")
    return replace(found, audio_key="raw/1.mp3", audio_seconds=60.0, transcript_key=transcript, model=model)


ME = episode("me", None, None)
OPEN, SECOND = Twin(episode("open"), PARAMS, ready=False), Twin(episode("second"), PARAMS, ready=False)
READY = Twin(episode("ready"), PARAMS, ready=True)


def test_what_is_ready_goes_before_what_is_on_its_way_and_the_first_before_the_second() -> None:
    assert find_twin(ME, PARAMS, [OPEN, SECOND, READY]) is READY
    assert find_twin(ME, PARAMS, [OPEN, SECOND]) is OPEN
    assert find_twin(ME, PARAMS, []) is None


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_counts_and_none_is_as_good_as_empty(name: str) -> None:
    assert find_twin(ME, {**PARAMS, name: "other"}, [READY, OPEN]) is None
    assert find_twin(ME, {"model": "base", "words": False, "hotwords": "", "approved": "ada"}, [READY]) is READY


@pytest.mark.parametrize(
    "twin",
    [
        replace(READY, episode=episode("ready", model="publisher")),
        replace(READY, episode=episode("ready", transcript=None)),
        replace(OPEN, episode=replace(episode("open"), publisher=WRITTEN)),
        replace(OPEN, params={**PARAMS, "same_as": "another"}),
    ],
    ids=["the publisher's words", "no transcript", "will be the publisher's words", "takes another's"],
)
def test_what_nobody_paid_for_is_no_twin(twin: Twin) -> None:
    assert find_twin(ME, PARAMS, [twin]) is None


def test_one_that_was_unusable_is_left_out() -> None:
    assert find_twin(ME, {**PARAMS, "not_from": ["ready"]}, [READY, OPEN]) is OPEN
    assert find_twin(ME, {**PARAMS, "not_from": ["ready", "open"]}, [READY, OPEN]) is None


def test_who_asks_for_decoding_takes_none() -> None:
    assert find_twin(ME, {**PARAMS, "same_audio": False}, [READY, OPEN]) is None


def test_who_has_its_publishers_words_takes_none() -> None:
    mine = replace(ME, publisher=WRITTEN)
    assert find_twin(mine, PARAMS, [READY]) is None
    assert find_twin(mine, {**PARAMS, "publisher": False}, [READY]) is READY


def test_a_twin_makes_approval_and_plan_needless() -> None:
    assert awaited(ME, PARAMS, planned=False, twin=READY) == ""
    assert awaited(ME, PARAMS, planned=False, twin=OPEN) == WAITS_FOR_TWIN
    assert awaited(ME, PARAMS, planned=True, twin=OPEN) == WAITS_FOR_APPROVAL
    assert awaited(ME, {**PARAMS, "approved": "ada"}, planned=True, twin=OPEN) == ""
