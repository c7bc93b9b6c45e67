"""Publisher transcripts as they are found: the formats, and what is wrong with many of them (F12)."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podinsight.adapters import caption_files
from podinsight.adapters.caption_files import CaptionFiles
from podinsight.domain.publisher import Cue, Kind
from podinsight.errors import Permanent

VTT = "WEBVTT\n\n00:01.000 --> 00:02.500\nHello there.\n\n00:02.500 --> 00:04.000\nGood bye.\n"
SRT = "1\n00:00:01,000 --> 00:00:02,500\nHello there.\n\n2\n00:00:02,500 --> 00:00:04,000\nGood bye.\n"
TWO = (Cue(1.0, 2.5, "Hello there."), Cue(2.5, 4.0, "Good bye."))


def parsed(text: str | bytes, promised: Kind = "vtt") -> tuple[Cue, ...]:
    return CaptionFiles().parse(text.encode() if isinstance(text, str) else text, promised).cues


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (VTT, "vtt"),
        (SRT, "srt"),
        (json.dumps({"version": "1.0.0", "segments": [
            {"startTime": 1, "endTime": 2.5, "body": "Hello there."},
            {"startTime": 2.5, "endTime": 4, "body": "Good bye."},
        ]}), "json"),
        (json.dumps([
            {"start": 1.0, "end": 2.5, "text": "Hello there."},
            {"start": 2.5, "end": 4, "text": "Good bye."},
        ]), "json"),
        (json.dumps({"text": "…", "language": "en", "segments": [
            {"id": 0, "seek": 0, "start": 1.0, "end": 2.5, "text": " Hello there.", "tokens": [1, 2], "words": []},
            {"id": 1, "seek": 0, "start": 2.5, "end": 4.0, "text": " Good bye.", "tokens": [3]},
        ]}), "json"),
        (json.dumps([
            {"start": "00:00:01.000", "start_ms": 1000, "end": "00:00:02.500", "end_ms": 2500, "text": "Hello there."},
            {"start": "0:02,5", "end": "4", "text": "Good bye."},
        ]), "json"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("promised", ["vtt", "srt", "json"])
def test_what_the_bytes_are_decides(text: str, kind: str, promised: Kind) -> None:
    found = CaptionFiles().parse(text.encode(), promised)
    assert (found.kind, found.cues) == (kind, TWO)


@pytest.mark.parametrize("text", [VTT, SRT])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_line_ends_and_byte_order_marks(text: str, end: str, encoding: str) -> None:
    assert parsed(("\n" + text).replace("\n", end).encode(encoding)) == TWO


def test_what_is_no_utf_8_is_read_as_windows_1252() -> None:
    assert parsed(VTT.replace("Hello there.", "Café – “olé”").encode("cp1252"))[0].text == "Café – “olé”"


def test_cue_settings_identifiers_comments_styles_and_hours() -> None:
    text = (
        "WEBVTT - A title\nKind: captions\nLanguage: en\n\nSTYLE\n::cue { color: red }\n\nNOTE a comment\n\n"
        "intro\n00:01.000 --> 00:02.500 line:0 position:20% align:start\n<b>Hello</b>\nthere.\n\n"
        "01:00:02.500 --> 1:00:04.000\nSalt &amp; pepper\n"
    )
    assert parsed(text) == (Cue(1.0, 2.5, "Hello there."), Cue(3602.5, 3604.0, "Salt & pepper"))


def test_voices_are_speakers() -> None:
    text = "WEBVTT\n\n00:01.000 --> 00:02.000\n<v Ann Lee>Hi.</v>\n\n00:02.000 --> 00:03.000\n<v.loud Bo &amp; Co>Ho.\n"
    assert parsed(text) == (Cue(1.0, 2.0, "Hi.", "Ann Lee"), Cue(2.0, 3.0, "Ho.", "Bo & Co"))
    segments = [
        {"speaker": "Ann", "startTime": 0, "endTime": 1, "body": "Hi."},
        {"speaker": 7, "voice": "Bo", "startTime": 1, "endTime": 2, "body": "Ho."},
        {"speaker": 7, "startTime": 2, "endTime": 3, "body": "Hm."},
        {"speaker": " ", "startTime": 3, "endTime": 4, "body": "Oh."},
    ]
    assert [cue.speaker for cue in parsed(json.dumps({"segments": segments}))] == ["Ann", "Bo", "7", None]


def test_subrip_without_numbers_or_hours_and_with_blank_lines_inside() -> None:
    assert parsed("00:01,000 --> 00:02,500\nHello there.\n\n00:02,500 --> 00:04,000\nGood bye.\n") == TWO
    blank = "1\n00:00:01,000 --> 00:00:02,500\nHello\n\nthere.\n\n2\n00:00:02,500 --> 00:00:04,000\n<i>Good</i> bye.\n"
    assert parsed(blank) == TWO
    assert parsed(VTT.removeprefix("WEBVTT\n\n")) == TWO, "WebVTT that lost its first line"


def test_overlapping_and_disordered_cues_are_handed_on_as_they_are() -> None:
    text = "WEBVTT\n\n00:05.000 --> 00:09.000\none\n\n00:04.000 --> 00:08.000\ntwo\n"
    assert parsed(text) == (Cue(5.0, 9.0, "one"), Cue(4.0, 8.0, "two"))


def test_json_without_ends_ends_where_the_next_begins() -> None:
    assert parsed('[{"start": 1, "text": "a"}, {"start": 3, "text": "b"}]') == (Cue(1, 3, "a"), Cue(3, 3, "b"))


def test_markup_inside_json_is_taken_off_and_entities_are_resolved() -> None:
    body = "<p class='x'>Salt &amp; pepper<br/>costs <b>2</b> < 3</p> <table>"
    (cue,) = parsed(json.dumps([{"start": 0, "end": 1, "text": body}]))
    assert cue.text == "Salt & pepper costs 2 < 3 <table>"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "an empty file"),
        (b" \r\n\t", "an empty file"),
        (b"<!DOCTYPE html><html><body>1</body></html>", "it is HTML"),
        (b"<p>Travis: hello</p>", "it is HTML"),
        (b"Just some words that somebody said.", "it has no times"),
        (b"WEBVTT\n", "no line with times"),
        (b"WEBVTT\n\n00:99:00.000 --> 00:99:01.000\nx\n", "malformed WebVTT"),
        (b"{", "no transcript JSON"),
        (b"{}", "no transcript JSON: segments: Field required"),
        (b"[1]", "no transcript JSON: 0"),
        (b'{"segments": {}}', "no transcript JSON: segments"),
        (b'[{"start": -1, "end": 2, "text": "x"}]', "no transcript JSON: 0.start"),
        (b'[{"start": NaN, "end": 2, "text": "x"}]', "no transcript JSON"),
        (b'[{"start": "soon", "end": 2, "text": "x"}]', "no transcript JSON: 0.start"),
        (b'[{"start": 1, "end": 2}]', "no transcript JSON: 0.body"),
        (b"[" * 100_000, "no transcript JSON"),
    ],
)
def test_what_is_no_transcript_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(Permanent) as caught:
        parsed(data)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_secret_in_a_broken_file_is_not_repeated() -> None:
    with pytest.raises(Permanent) as caught:
        parsed('[{"start": "hunter2", "text": "hunter2"}]')
    assert "hunter2" not in str(caught.value)


def test_files_of_absurd_size_are_refused_before_they_cost_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caption_files, "MOST_CUES", 1)
    with pytest.raises(Permanent, match="more than"):
        parsed(VTT)
    monkeypatch.undo()
    with pytest.raises(Permanent, match="at most 200000 items"):
        parsed(b"[" + b",".join([b'{"start":1,"text":"x"}'] * 200_001) + b"]")
    with pytest.raises(Permanent, match="a line of more than"):
        parsed(VTT + "x" * 100_001)


@settings(deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["", "WEBVTT\n\n", "1\n00:00:01,000 --> 00:00:02,000\n", "{", "["]))
def test_bytes_are_cues_or_permanently_refused(data: bytes, head: str) -> None:
    try:
        found = parsed(head.encode() + data)
    except Permanent:
        return
    assert found == parsed(head.encode() + data)
    assert all(cue.start >= 0 and "\n" not in cue.text for cue in found)
