"""F12: which publisher transcripts are asked for, and what becomes of one."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podinsight.domain.episode import Episode, PublisherTranscript
from podinsight.domain.feed import TranscriptLink
from podinsight.domain.publisher import Cue, covered_seconds, kind_of, lines, primary, to_part, usable, wanted
from podinsight.domain.transcript import join
from podinsight.domain.work import Span

URL = "https://x.test/1"
GOOD = PublisherTranscript("raw/s/g/transcripts/0.vtt", URL, "text/vtt", "en", True)
EPISODE = Episode(
    "e", 1, "f", "s", "g", "g", "t", "https://x.test/1.mp3", "x.test", language="en-us", audio_seconds=60.0
)

times = st.integers(0, 3600_000).map(lambda milliseconds: milliseconds / 1000)
cue = st.builds(
    lambda start, length, text, who: Cue(start, start + length, text, who),
    times,
    st.integers(0, 30_000).map(lambda milliseconds: milliseconds / 1000),
    st.sampled_from(["", "word", "An end.", "more than three words here", "日本語"]),
    st.sampled_from([None, "A", "B"]),
)


@pytest.mark.parametrize(
    ("kind", "mime", "url"),
    [
        ("json", "application/json", URL),
        ("vtt", "text/vtt; charset=utf-8", URL),
        ("srt", "application/x-subrip", URL),
        ("srt", "Application/SRT", URL),
        ("srt", "text/plain", "https://x.test/a.SRT?token=1"),
        ("vtt", "", "https://x.test/a.vtt"),
        ("json", "application/octet-stream", "https://x.test/a.json"),
        (None, "text/plain", "https://x.test/a.txt"),
        (None, "text/html", "https://x.test/a.vtt"),
        (None, "", "https://[broken/a.vtt"),
    ],
)
def test_what_a_link_promises(kind: str | None, mime: str, url: str) -> None:
    assert kind_of(TranscriptLink(url, mime)) == kind


def test_three_are_asked_for_the_spoken_language_first_then_by_format() -> None:
    links = (
        TranscriptLink("https://x.test/html", "text/html", "en"),
        TranscriptLink("https://x.test/es", "application/json", "es"),
        TranscriptLink("https://x.test/any", "application/json"),
        TranscriptLink("https://x.test/srt", "application/srt", "en"),
        TranscriptLink("https://x.test/srt", "application/srt", "en"),
        TranscriptLink("https://x.test/vtt", "text/vtt", "en-GB"),
        TranscriptLink("https://x.test/more", "text/vtt"),
    )
    found = [(link.url.rpartition("/")[2], kind) for link, kind in wanted(replace(EPISODE, transcripts=links))]
    assert found == [("vtt", "vtt"), ("srt", "srt"), ("any", "json")]
    unknown = replace(EPISODE, language=None, transcripts=links)
    assert wanted(unknown)[0][0].language == "es", "who knows what is spoken takes what there is"


@pytest.mark.parametrize(("tag", "language"), [("en-US", "en"), (" DE ", "de"), ("gsw", "gsw"), ("", ""), (None, "")])
def test_the_language_of_a_tag(tag: str | None, language: str) -> None:
    assert primary(tag) == language


@pytest.mark.parametrize(
    ("params", "taken"),
    [
        ({"model": "tiny"}, True),
        ({"publisher": True}, True),
        ({"publisher": None}, True),
        ({"publisher": False}, False),
        ({"language": None}, True),
        ({"language": "en"}, True),
        ({"language": "de"}, False),
    ],
)
def test_a_row_may_ask_otherwise(params: dict[str, object], taken: bool) -> None:
    rejected = replace(GOOD, accepted=False, reason="short")
    assert (usable(replace(EPISODE, publisher=(rejected, GOOD)), params) == GOOD) is taken
    assert usable(replace(EPISODE, publisher=(rejected,)), params) is None
    assert usable(replace(EPISODE, publisher=(GOOD,), audio_seconds=None), params) is None


def test_word_by_word_files_become_lines() -> None:
    spoken = [("It", 0.0), ("works.", 0.5), ("Does", 1.0), ("it?", 1.5), ("Yes", 2.0), ("later", 9.0)]
    cues = [Cue(start, start + 0.4, text, "B" if text == "Yes" else "A") for text, start in spoken]
    found = [(line.start, line.end, line.text, line.speaker) for line in lines(cues)]
    assert found == [
        (0.0, 0.9, "It works.", "A"), (1.0, 1.9, "Does it?", "A"), (2.0, 2.4, "Yes", "B"), (9.0, 9.4, "later", "A"),
    ]  # fmt: skip


def test_cues_that_are_lines_already_stay_as_they_are() -> None:
    cues = (Cue(0.0, 4.0, "four words are here"), Cue(4.0, 8.0, "and four words more"))
    assert lines(cues) == cues


@given(st.lists(cue, max_size=30))
def test_lines_keep_every_word_in_order_of_time(cues: list[Cue]) -> None:
    found = lines(cues)
    assert sorted(" ".join(line.text for line in found).split()) == sorted(" ".join(c.text for c in cues).split())
    assert [line.start for line in found] == sorted(line.start for line in found)
    assert all(line.start <= line.end for line in found)
    assert covered_seconds(found) <= max((line.end for line in found), default=0.0) + 1e-9  # a sum of differences


@given(st.lists(cue, max_size=30), st.floats(1.0, 4000.0))
def test_a_part_lies_inside_the_audio_and_is_the_same_every_time(cues: list[Cue], seconds: float) -> None:
    episode = replace(EPISODE, audio_seconds=seconds)
    part = to_part(cues, Span(0, 0.0, None), episode, GOOD)
    assert part == to_part(cues, Span(0, 0.0, None), episode, GOOD)
    transcript = join([part], "publisher", ())
    assert transcript.source == "publisher"
    assert transcript.duration == seconds
    assert all(0 <= each.start <= each.end <= seconds + 0.001 for each in transcript.segments)
    assert (part.device_seconds, part.device) == (0.0, "none")


def test_chunks_share_the_lines_out_and_lose_none() -> None:
    cues = [Cue(float(n), n + 0.9, f"these are words number {n}") for n in range(60)]
    spans = [Span(0, 0.0, 20.5), Span(1, 20.5, 40.0), Span(2, 40.0, None)]
    parts = [to_part(cues, span, EPISODE, GOOD) for span in spans]
    assert [len(part.segments) for part in parts] == [21, 19, 20]
    whole = to_part(cues, Span(0, 0.0, None), EPISODE, GOOD)
    assert join(parts, "publisher", ()) == join([whole], "publisher", ())


def test_nobody_knows_the_language() -> None:
    silent = replace(EPISODE, language=None)
    assert to_part([], Span(0, 0.0, None), silent, replace(GOOD, language=None)).language == "und"
    assert to_part([], Span(0, 0.0, None), EPISODE, replace(GOOD, language=None)).language == "en"
