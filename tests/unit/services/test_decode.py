"""Decoding where memory does not do: the ladder, walked on a transcriber that runs out of it (T8)."""

import io
import logging
from collections.abc import Callable

import pytest

from podinsight.adapters.memory_speech import ScriptedTranscriber
from podinsight.domain.transcript import Part
from podinsight.errors import Abandoned, OutOfMemory, Permanent
from podinsight.ports import SpeechRequest
from podinsight.services.decode import decode, detect
from tests.support.cramped import CrampedTranscriber

AUDIO = b"spoken" * 20_000


def quiet(_done: float) -> None:
    """Nobody asks to stop."""


def request(model: str = "base", batch: int = 0, n: int = 0) -> SpeechRequest:
    return SpeechRequest(n, 0.0, None, model, "en", batch=batch)


def run(
    transcriber: CrampedTranscriber,
    asked: SpeechRequest,
    smaller: tuple[str, ...] = (),
    beat: Callable[[float], None] = quiet,
    episode: str = "",
) -> Part:
    return decode(transcriber, lambda: io.BytesIO(AUDIO), asked, beat, smaller, episode)


def test_enough_memory_takes_one_try_with_what_suits_the_device() -> None:
    cramped = CrampedTranscriber(ScriptedTranscriber(), {})
    run(cramped, request())
    assert cramped.tried == [("base", 8)]


def test_the_batch_is_halved_until_it_fits_and_the_words_are_the_same(caplog: pytest.LogCaptureFixture) -> None:
    cramped = CrampedTranscriber(ScriptedTranscriber(), {"base": 3})
    with caplog.at_level(logging.WARNING):
        part = run(cramped, request())
    assert cramped.tried == [("base", 8), ("base", 4), ("base", 2)]
    assert part.segments == run(CrampedTranscriber(ScriptedTranscriber(), {}), request()).segments
    assert [record.message.partition(" (")[0] for record in caplog.records] == [
        "not enough memory for base in batches of 8: going on with base in batches of 4",
        "not enough memory for base in batches of 4: going on with base in batches of 2",
    ]


def test_the_next_chunk_begins_with_what_fitted() -> None:
    cramped = CrampedTranscriber(ScriptedTranscriber(), {"base": 3})
    run(cramped, request())
    cramped.tried.clear()
    run(cramped, request(n=1))
    run(cramped, request(n=2, batch=16))
    run(cramped, request(n=3, batch=1))
    assert cramped.tried == [("base", 2), ("base", 2), ("base", 1)]


def test_what_fitted_on_one_device_says_nothing_of_another() -> None:
    run(CrampedTranscriber(ScriptedTranscriber(), {"base": 3}), request())
    other = CrampedTranscriber(ScriptedTranscriber(), {})
    run(other, request())
    assert other.tried == [("base", 8)]


def test_a_smaller_model_is_used_only_when_allowed_and_the_part_says_which() -> None:
    cramped = CrampedTranscriber(ScriptedTranscriber(), {"base": 0}, usual=2)
    assert run(cramped, request(), ("tiny",)).model == "tiny"
    assert cramped.tried == [("base", 2), ("base", 1), ("tiny", 2)]
    cramped.tried.clear()
    assert run(cramped, request(n=1), ("tiny",)).model == "tiny"
    assert cramped.tried == [("tiny", 2)], "the large model is not loaded for every chunk only to fail"


def test_a_smaller_model_stands_in_for_one_episode_alone() -> None:
    """Another program may have had the memory for a moment; the batch is kept, because the words are the same."""
    room = {"base": 0}
    cramped = CrampedTranscriber(ScriptedTranscriber(), room, usual=4)
    assert run(cramped, request(), ("tiny",), episode="a").model == "tiny"
    cramped.tried.clear()
    assert run(cramped, request(), ("tiny",), episode="b").model == "tiny"
    assert run(cramped, request(n=1), ("tiny",), episode="b").model == "tiny"
    assert cramped.tried == [("base", 1), ("tiny", 4), ("tiny", 4)]
    room.clear()
    cramped.tried.clear()
    assert {run(cramped, request(n=n), ("tiny",), episode="c").model for n in range(3)} == {"base"}
    assert cramped.tried == [("base", 1)] * 3


def test_nothing_fits_says_what_was_tried_and_what_to_do() -> None:
    cramped = CrampedTranscriber(ScriptedTranscriber(), {"base": 0, "tiny": 0}, usual=2)
    with pytest.raises(Permanent) as caught:
        run(cramped, request())
    text = str(caught.value)
    assert "tried base in batches of 2, 1 (" in text
    assert "tiny" not in text
    assert all(way in text for way in ("setting model)", "setting smaller_models)", "more memory"))
    with pytest.raises(Permanent, match=r"tried base in batches of 2, 1; tiny in batches of 2, 1 \(") as caught:
        run(cramped, request(), ("tiny",))
    assert "smaller_models" not in str(caught.value), "that is set already"


def test_somebody_who_asks_to_stop_is_heard_between_two_tries() -> None:
    cramped = CrampedTranscriber(ScriptedTranscriber(), {"base": 0})

    def stopping(_done: float) -> None:
        raise Abandoned("asked to stop")

    with pytest.raises(Abandoned):
        run(cramped, request(), (), stopping)
    assert cramped.tried == [("base", 8)]


def test_other_faults_are_none_of_the_ladders_business() -> None:
    cramped = CrampedTranscriber(ScriptedTranscriber(), {})
    with pytest.raises(Permanent, match="unreadable"):
        decode(cramped, lambda: io.BytesIO(b"unreadable"), request(), quiet, ("tiny",))
    assert len(cramped.tried) == 1


def test_the_audio_is_opened_anew_for_every_try_and_closed_after_it() -> None:
    opened: list[io.BytesIO] = []

    def open_audio() -> io.BytesIO:
        assert all(each.closed for each in opened)
        opened.append(io.BytesIO(AUDIO))
        return opened[-1]

    decode(CrampedTranscriber(ScriptedTranscriber(), {"base": 2}), open_audio, request(), quiet, ())
    assert len(opened) == 3
    assert all(each.closed for each in opened)


def test_the_language_is_found_with_a_smaller_model_where_that_is_allowed() -> None:
    cramped = CrampedTranscriber(ScriptedTranscriber(), {"base": 0}, usual=2)
    with pytest.raises(Permanent) as caught:
        detect(cramped, lambda: io.BytesIO(AUDIO), "base", quiet, ())
    assert isinstance(caught.value.__cause__, OutOfMemory)
    cramped.tried.clear()
    assert detect(cramped, lambda: io.BytesIO(AUDIO), "base", quiet, ("tiny",))[0] == "en"
    run(cramped, request(), ("tiny",))
    assert cramped.tried == [("base", 1), ("tiny", 1), ("tiny", 2)], "decoding begins with the model that fitted"
