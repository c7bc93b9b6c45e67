import io
import json
import re
import unicodedata
from dataclasses import replace
from itertools import pairwise

import pytest
import webvtt
from hypothesis import given, settings
from hypothesis import strategies as st

from podinsight.domain.captions import to_json, to_jsonl, to_srt, to_txt, to_vtt
from podinsight.domain.cues import LINE_WIDTH, LINES, ScreenCue, cues
from podinsight.domain.episode import Episode, PublisherTranscript
from podinsight.domain.transcript import Segment, Transcript, Word

EPISODE = Episode("e1", 1, "f1", "a-show", "guid:1", "guid-1", "Title: “one”", "https://x.test/1.mp3", "x.test")
SEGMENTS = (
    Segment(0.0, 2.5, "Welcome to the show.", -0.123456, 0.0123456, 1.23456),
    Segment(3658.0, 3661.001, "Salt & pepper <b>cost</b> a --> b, a line that is to be wrapped."),
    Segment(3661.001, 3661.001, "日本語"),
    Segment(3700.0, 3701.0, "  \n "),
)


def transcript(*segments: Segment) -> Transcript:
    return Transcript("en", 3702.0004, "tiny.en", (("engine", "x 1"), ("device", "cpu")), segments)


def test_vtt() -> None:
    assert to_vtt(transcript(*SEGMENTS)) == (
        "WEBVTT\n\n"
        "00:00:00.000 --> 00:00:02.500\nWelcome to the show.\n\n"
        "01:00:58.000 --> 01:01:01.001\n"
        "Salt &amp; pepper &lt;b&gt;cost&lt;/b&gt; a --&gt; b,\na line that is to be wrapped.\n\n"
        "01:01:01.001 --> 01:01:01.834\n日本語\n"
    )


def test_srt() -> None:
    assert to_srt(transcript(*SEGMENTS[:2])) == (
        "1\n00:00:00,000 --> 00:00:02,500\nWelcome to the show.\n\n"
        "2\n01:00:58,000 --> 01:01:01,150\nSalt & pepper <b>cost</b> a → b,\na line that is to be wrapped.\n"
    )


def test_a_segment_of_several_cues_names_its_speaker_in_each() -> None:
    vtt = to_vtt(transcript(Segment(0, 12, "A sentence that is as long as that one is. " * 4, speaker="Ann")))
    voices = [caption.voice for caption in webvtt.from_string(vtt).captions]
    assert len(voices) > 1
    assert set(voices) == {"Ann"}


def test_jsonl() -> None:
    rows = [json.loads(line) for line in to_jsonl(transcript(*SEGMENTS[:1])).splitlines()]
    assert rows == [{"text": "Welcome to the show.", "start_sec": 0.0, "end_sec": 2.5, "speaker": None}]


def test_json_has_everything_and_nothing_of_the_run() -> None:
    document = json.loads(to_json(transcript(*SEGMENTS[:2]), EPISODE))
    assert document["schema"] == "podinsight/transcript/2"
    assert document["episode"] == {"id": "e1", "guid": "guid:1", "feed_slug": "a-show", "title": "Title: “one”"}
    assert (document["language"], document["duration"], document["model"]) == ("en", 3702.0, "tiny.en")
    assert document["profile"] == {"engine": "x 1", "device": "cpu"}
    assert document["words"] == 18
    first = {"id": 0, "start": 0.0, "end": 2.5, "text": "Welcome to the show."}
    assert document["segments"][0] == first | {
        "avg_logprob": -0.1235, "no_speech_prob": 0.0123, "compression_ratio": 1.2346, "speaker": None
    }  # fmt: skip
    assert document["segments"][1]["avg_logprob"] is None
    assert (document["source"], document["publisher"], document["speakers"]) == ("whisper", None, [])


def test_json_has_doubt_and_words_where_there_are_any() -> None:
    """T5: word timestamps on request; what stays doubtful is marked."""
    words = (Word(0.1, 0.5004, "Hello", 0.98765), Word(0.6, 1.0, "there."))
    marked = Segment(0.0, 1.0, "Hello there.", words=words, doubt="loop")
    plain, other = json.loads(to_json(transcript(Segment(0, 0, ""), marked), EPISODE))["segments"]
    assert not {"doubt", "words"} & set(plain)
    assert (other["doubt"], [word["text"] for word in other["words"]]) == ("loop", ["Hello", "there."])
    assert other["words"][0] == {"start": 0.1, "end": 0.5, "text": "Hello", "probability": 0.9877}
    assert other["words"][1]["probability"] is None


TALK = (
    Segment(0.0, 1.0, "Hi.", speaker="Ann <b>"),
    Segment(1.0, 2.0, "Ho.", speaker="Bo"),
    Segment(2.0, 3.0, "So, who are you?", speaker="Bo"),
    Segment(3.0, 4.0, "Music."),
    Segment(4.0, 5.0, "Ann.", speaker="Ann <b>"),
)


def test_speakers_are_numbers_in_the_order_in_which_they_first_speak() -> None:
    """T5: `speaker` is an integer or null; F12: the names that the publisher gives are kept."""
    rows = [json.loads(line) for line in to_jsonl(transcript(*TALK)).splitlines()]
    assert [row["speaker"] for row in rows] == [0, 1, 1, None, 0]
    document = json.loads(to_json(transcript(*TALK), EPISODE))
    assert document["speakers"] == ["Ann <b>", "Bo"]
    assert [segment["speaker"] for segment in document["segments"]] == [0, 1, 1, None, 0]


def test_speakers_are_named_where_people_read() -> None:
    assert to_txt(transcript(*TALK), "Talk") == (
        "Talk\n\nAnn <b>: Hi.\n\nBo: Ho. So, who are you?\n\nMusic.\n\nAnn <b>: Ann.\n"
    )
    vtt = to_vtt(transcript(*TALK))
    assert "<v Ann &lt;b&gt;>Hi." in vtt
    assert webvtt.from_string(vtt).captions[1].voice == "Bo"
    assert "Ann <b>" not in to_srt(transcript(*TALK))


def test_json_says_whose_file_it_was() -> None:
    kept_aside = PublisherTranscript("raw/0.srt", "https://x.test/0", "application/srt", None, False, "too short")
    taken = PublisherTranscript("raw/1.vtt", "https://x.test/1?token=***", "text/vtt", "en", True)
    episode = replace(EPISODE, publisher=(kept_aside, taken))
    document = json.loads(to_json(replace(transcript(*TALK), source="publisher"), episode))
    assert document["source"] == "publisher"
    assert document["publisher"] == {"url": "https://x.test/1?token=***", "type": "text/vtt", "language": "en"}
    decoded = json.loads(to_json(transcript(*TALK), episode))
    assert (decoded["source"], decoded["publisher"]) == ("whisper", None)


def test_txt_breaks_at_pauses_and_lengths() -> None:
    said = [Segment(n, n + 1.0, "Nine ch. " * 10) for n in range(10)]  # 90 characters each
    text = to_txt(transcript(*said, Segment(11.49, 13, "Soon."), Segment(14.5, 15, "Later.")), "A\ntitle")
    assert [len(each) for each in text.rstrip("\n").split("\n\n")] == [7, 7 * 89 + 6, 3 * 89 + 2 + 6, 6]
    assert text.startswith("A title\n\nNine ch. Nine")
    assert text.endswith(" Nine ch. Soon.\n\nLater.\n")


def test_txt_pause_of_exactly_a_second_and_a_half() -> None:
    assert to_txt(transcript(Segment(0, 1, "a"), Segment(2.5, 3, "b"), Segment(4.4, 5, "c")), "t") == "t\n\na\n\nb c\n"


def test_an_empty_transcript_gives_valid_files() -> None:
    empty = transcript()
    assert to_vtt(empty) == "WEBVTT\n"
    assert webvtt.from_string(to_vtt(empty)).captions == []
    assert to_srt(empty) == "\n"
    assert to_jsonl(empty) == ""
    assert to_txt(empty, "") == "Untitled\n"
    assert json.loads(to_json(empty, EPISODE))["segments"] == []


def test_a_joiner_inside_a_word_stays() -> None:
    assert "می\u200cخواهم" in to_vtt(transcript(Segment(0, 1, "می\u200cخواهم")))


LETTERS = "ab cd.é日🎙<>&;-\n\r\t\x00\x1c\x85\xa0\u2028\u200c\ud800"
PIECES = ["-->", "a\n\nb", "1\n00:00:00,000 --> 00:00:01,000\nx", "NOTE x", "&amp;<i>", "long" * 40]
texts = st.text(LETTERS, max_size=100) | st.sampled_from(PIECES)
times = st.floats(0, 360_000, allow_nan=False).map(lambda value: round(value, 3))


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    marks = sorted(draw(st.lists(times, max_size=12)))
    return transcript(*(Segment(a, b, draw(texts)) for a, b in pairwise(marks)))


def seen(text: str) -> str:
    return "".join(text.split())


@settings(deadline=None)
@given(transcripts())
def test_public_parsers_read_what_we_write(made: Transcript) -> None:
    """T5: a parser that is not ours finds every cue, its times and its text."""
    wanted = cues(made.segments, made.duration)
    found = webvtt.from_string(to_vtt(made)).captions
    assert [times_of(cue.start, cue.end) for cue in found] == [(cue.start, cue.end) for cue in wanted]
    assert [unescaped(cue.raw_text).split("\n") for cue in found] == [list(cue.lines) for cue in wanted]
    assert seen("".join(text_of(cue) for cue in wanted)) == seen("".join(spoken(each.text) for each in made.segments))
    assert all(len(cue.lines) <= LINES and max(map(len, cue.lines)) <= LINE_WIDTH for cue in wanted)
    if not wanted:
        return
    subtitles = webvtt.from_buffer(io.StringIO(to_srt(made)), format="srt").captions
    assert [times_of(each.start, each.end) for each in subtitles] == [(cue.start, cue.end) for cue in wanted]
    assert [seen(each.raw_text) for each in subtitles] == [seen(text_of(cue).replace("-->", "→")) for cue in wanted]
    numbers = [line for line, after in pairwise(to_srt(made).split("\n")) if " --> " in after]
    assert numbers == [str(number) for number in range(1, len(wanted) + 1)]


@settings(deadline=None)
@given(transcripts(), st.text(max_size=50))
def test_every_file_is_utf8_ends_in_a_newline_and_is_stable(made: Transcript, title: str) -> None:
    for write in (to_vtt, to_srt, lambda each: to_txt(each, title), lambda each: to_json(each, EPISODE)):
        text = write(made)
        assert text.endswith("\n")
        assert text == write(made)
        text.encode("utf-8")
    assert to_jsonl(made).count("\n") == len(made.segments)


def spoken(text: str) -> str:
    return "".join(" " if unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp") else each for each in text)


def text_of(cue: ScreenCue) -> str:
    return "\n".join(cue.lines)


def times_of(start: str, end: str) -> tuple[int, int]:
    return milliseconds(start), milliseconds(end)


def milliseconds(clock: str) -> int:
    hours, minutes, seconds, fraction = re.split("[:.]", clock)
    return ((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * 1000 + int(fraction)


def unescaped(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def test_not_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        to_json(transcript(Segment(0, 1, "x", float("nan"))), EPISODE)
