"""What a transcription waits for."""

from dataclasses import replace

import pytest

from podinsight.domain.episode import Episode
from podinsight.domain.held import WAITS_FOR_APPROVAL, WAITS_FOR_AUDIO, WAITS_FOR_PLAN, awaited, unapproved

EPISODE = Episode(
    id="e", seq=1, feed_id="f", feed_slug="f", guid="g", folder="g", title="t", url="https://a.test/", host="a.test"
)
THERE = replace(EPISODE, audio_key="raw/f/g/episode.mp3", audio_seconds=100.0)


@pytest.mark.parametrize(
    ("quoted", "waits"), [(None, False), (100.0, False), (50, False), (49.9, True), (0.001, True), (1e9, False)]
)
def test_an_approval_stands_for_about_the_length_that_was_quoted(quoted: float | None, waits: bool) -> None:
    params: dict[str, object] = {"model": "tiny.en", "approved": "ada"}
    if quoted is not None:
        params["quoted_seconds"] = quoted
    assert awaited(THERE, params, planned=False) == (WAITS_FOR_APPROVAL if waits else WAITS_FOR_PLAN)
    assert awaited(THERE, params, planned=True) == (WAITS_FOR_APPROVAL if waits else "")
    assert awaited(EPISODE, params, planned=False) == WAITS_FOR_AUDIO
    assert unapproved(params) == {"model": "tiny.en"}
