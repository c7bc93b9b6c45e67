import io
import random
from itertools import pairwise

import pytest

from podinsight.adapters.memory_cutter import ScriptedCutter
from podinsight.adapters.memory_speech import BYTES_PER_SECOND, ScriptedTranscriber
from podinsight.domain.transcript import Part
from podinsight.errors import Permanent
from podinsight.ports import SpeechRequest, Stretch
from tests.support.sound import Shelf

NOISE = random.Random(1).randbytes(60 * BYTES_PER_SECOND)
AUDIO = NOISE + bytes(30 * BYTES_PER_SECOND) + NOISE[::-1]


def run(
    audio: bytes,
    start: float = 0.0,
    end: float | None = None,
    offset: float = 0.0,
    speech: tuple[Stretch, ...] | None = None,
) -> Part:
    request = SpeechRequest(0, start, end, "tiny.en", None, offset=offset, speech=speech, words=True)
    return ScriptedTranscriber().transcribe(io.BytesIO(audio), request, lambda _: None)


def test_speech_is_where_there_are_no_zeros_with_a_pause_every_twenty_seconds() -> None:
    heard = ScriptedCutter().listen(io.BytesIO(AUDIO), lambda: None)
    around = ((0.0, 19.4), (20.0, 39.4), (40.0, 59.4)), ((90.0, 99.4), (100.0, 119.4), (120.0, 139.4), (140.0, 150.0))
    assert (heard.seconds, heard.speech) == (150.0, around[0] + around[1])


def test_chunks_cut_in_pauses_say_together_what_the_whole_says() -> None:
    marks = [0.0, 19.7, 75.0, 119.6, 150.0]
    shelf = Shelf()
    spans = list(pairwise(marks))
    ScriptedCutter().cut(io.BytesIO(AUDIO), spans, shelf.sink, lambda: None)
    heard = ScriptedCutter().listen(io.BytesIO(AUDIO), lambda: None).speech
    parts = [run(shelf.files[n], *span, offset=span[0]) for n, span in enumerate(spans)]
    assert [segment for part in parts for segment in part.segments] == list(run(AUDIO).segments)
    told = [run(shelf.files[n], *span, span[0], heard) for n, span in enumerate(spans)]
    assert [part.segments for part in told] == [part.segments for part in parts]


def test_words_have_their_times_and_stand_in_their_segment() -> None:
    for segment in run(AUDIO, 10.0, 30.0).segments:
        assert [word.text for word in segment.words] == segment.text.split()
        marks = [mark for word in segment.words for mark in (word.start, word.end)]
        assert marks == sorted(marks)
        assert (marks[0], marks[-1]) == (segment.start, segment.end)


def test_speech_that_is_handed_over_is_what_is_heard() -> None:
    part = run(AUDIO, 0.0, 60.0, speech=((1.0, 4.0), (58.0, 70.0)))
    assert [(segment.start, segment.end) for segment in part.segments] == [(1.0, 4.0), (58.0, 60.0)]
    assert part.speech_seconds == part.covered_seconds == 5.0


def test_a_chunk_at_the_wrong_offset_is_noticed() -> None:
    shelf = Shelf()
    ScriptedCutter().cut(io.BytesIO(AUDIO), [(20.0, 40.0)], shelf.sink, lambda: None)
    with pytest.raises(Permanent, match=r"starts at 20\.0 s, not at 0\.0 s"):
        run(shelf.files[0], 20.0, 40.0)


def test_the_language_of_silence_is_none_but_for_a_model_of_one_language() -> None:
    speech, quiet = ScriptedTranscriber(), bytes(80_000)
    assert speech.detect(io.BytesIO(AUDIO), "tiny", lambda _: None) == ("en", 1.0)
    assert speech.detect(io.BytesIO(quiet), "tiny", lambda _: None) == ("", 0.0)
    assert speech.detect(io.BytesIO(quiet), "tiny.en", lambda _: None) == ("en", 1.0)
