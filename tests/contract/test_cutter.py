"""The Cutter port's contract on every adapter; the one that decodes nothing runs first."""

import contextlib
import io
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO

import pytest

from podinsight.adapters.chunk_audio import AudioCutter
from podinsight.adapters.memory_cutter import ScriptedCutter
from podinsight.adapters.memory_speech import BYTES_PER_SECOND, ScriptedTranscriber
from podinsight.adapters.speech_audio import samples
from podinsight.errors import Abandoned, LeaseLost, Permanent, Transient
from podinsight.ports import Cutter, SpeechRequest, Stretch
from tests.support import sound
from tests.support.sound import Shelf

PIECES = [(0.0, 15.3), (15.3, 40.001), (47.5, 75.0)]


@dataclass(frozen=True)
class Rig:
    """An adapter, audio of 190 s with speech in it, audio in which nobody speaks (10 s), and what is to be heard in
    [start, end) of audio that starts at `offset`."""

    cutter: Cutter
    audio: bytes
    silence: bytes
    heard: Callable[[bytes, float, float, float], object]


def decoded(audio: bytes, start: float, end: float, offset: float) -> object:
    return samples(io.BytesIO(audio), start, end, offset, ignore).tobytes()


def scripted(audio: bytes, start: float, end: float, offset: float) -> object:
    request = SpeechRequest(0, start, end, "tiny.en", None, offset=offset, words=True)
    return ScriptedTranscriber().transcribe(io.BytesIO(audio), request, lambda _: None).segments


@pytest.fixture(scope="module", params=["scripted", "pyav"])
def rig(request: pytest.FixtureRequest) -> Rig:
    if request.param == "scripted":
        audio = random.Random(1).randbytes(190 * BYTES_PER_SECOND)
        return Rig(ScriptedCutter(), audio, bytes(10 * BYTES_PER_SECOND), scripted)
    minutes = sound.encoded("mp3", sound.speech("episode-1.mp3"), 24_000) * 5 + sound.encoded(
        "mp3", sound.silence(16), 24_000
    )
    return Rig(AudioCutter(), minutes, sound.wav(sound.silence(10)), decoded)


def ignore() -> None:
    """A beat that nobody listens to."""


def cut(rig: Rig, pieces: list[Stretch], shelf: Shelf, beat: Callable[[], None] = ignore) -> dict[int, bytes]:
    rig.cutter.cut(io.BytesIO(rig.audio), pieces, shelf.sink, beat)
    return shelf.files


def test_listening_tells_length_and_speech(rig: Rig) -> None:
    heard = rig.cutter.listen(io.BytesIO(rig.audio), ignore)
    assert heard.seconds == pytest.approx(190, abs=1)
    marks = [mark for stretch in heard.speech for mark in stretch]
    assert len(heard.speech) > 5
    assert all(one < two for one, two in pairwise(marks))
    assert marks == [round(mark, 3) for mark in marks]
    assert 0 <= marks[0] < marks[-1] <= heard.seconds
    assert sum(until - since for since, until in heard.speech) > 0.7 * heard.seconds
    assert heard == rig.cutter.listen(io.BytesIO(rig.audio), ignore)


def test_nobody_speaks_in_silence(rig: Rig) -> None:
    heard = rig.cutter.listen(io.BytesIO(rig.silence), ignore)
    assert (heard.seconds, heard.speech) == (10.0, ())


def test_a_chunk_holds_what_the_whole_holds_there(rig: Rig) -> None:
    for index, chunk in cut(rig, PIECES, Shelf()).items():
        start, end = PIECES[index]
        whole = rig.heard(rig.audio, start, end, 0.0)
        assert whole
        assert rig.heard(chunk, start, end, start) == whole
        assert rig.heard(chunk, start + 1.25, end - 2.5, start) == rig.heard(rig.audio, start + 1.25, end - 2.5, 0.0)


def test_cutting_again_gives_the_same_bytes_and_one_by_one_too(rig: Rig) -> None:
    together = cut(rig, PIECES, Shelf())
    assert cut(rig, PIECES, Shelf()) == together
    assert [cut(rig, [piece], Shelf())[0] for piece in PIECES] == [together[n] for n in range(3)]


def test_chunks_are_written_one_after_the_other(rig: Rig) -> None:
    shelf = Shelf()
    cut(rig, PIECES, shelf)
    assert shelf.events == ["enter 0", "leave 0", "enter 1", "leave 1", "enter 2", "leave 2"]


def test_an_end_beyond_the_audio_is_its_end(rig: Rig) -> None:
    seconds = rig.cutter.listen(io.BytesIO(rig.audio), ignore).seconds
    chunk = cut(rig, [(160.0, 1000.0)], Shelf())[0]
    assert rig.heard(chunk, 160.0, 1000.0, 160.0) == rig.heard(rig.audio, 160.0, seconds + 1, 0.0)


def test_a_stretch_after_the_end_is_permanent_and_never_begun(rig: Rig) -> None:
    shelf = Shelf()
    with pytest.raises(Permanent, match=r"the audio ends at 1\d\d\.\d+ s, before the chunk that starts at 900"):
        cut(rig, [(0.0, 5.0), (900.0, 905.0)], shelf)
    assert shelf.events == ["enter 0", "leave 0"]


def test_it_beats_with_every_minute(rig: Rig) -> None:
    listening: list[None] = []
    rig.cutter.listen(io.BytesIO(rig.audio), lambda: listening.append(None))
    cutting: list[None] = []
    cut(rig, [(0.0, 185.0)], Shelf(), lambda: cutting.append(None))
    assert len(listening) >= 4
    assert len(cutting) >= 4


@pytest.mark.parametrize("error", [LeaseLost("taken"), KeyboardInterrupt()])
def test_what_beat_raises_ends_the_call_at_once(rig: Rig, error: BaseException) -> None:
    for last in (1, 3):
        calls: list[None] = []

        def beat(calls: list[None] = calls, last: int = last) -> None:
            calls.append(None)
            if len(calls) == last:
                raise error

        with pytest.raises(type(error)):
            rig.cutter.listen(io.BytesIO(rig.audio), beat)
        assert len(calls) == last
        calls.clear()
        with pytest.raises(type(error)):
            cut(rig, [(0.0, 185.0)], Shelf(), beat)
        assert len(calls) == last


def test_a_cut_that_fails_leaves_its_chunk_with_the_error(rig: Rig) -> None:
    shelf = Shelf()

    def beat() -> None:
        if "enter 1" in shelf.events:
            raise Abandoned("stop")

    with pytest.raises(Abandoned):
        cut(rig, [(0.0, 2.0), (2.0, 185.0)], shelf, beat)
    assert shelf.events == ["enter 0", "leave 0", "enter 1", "Abandoned 1"]


def test_a_store_that_fails_while_it_is_written_comes_through(rig: Rig) -> None:
    class Full(io.BytesIO):
        def write(self, data: object, /) -> int:
            raise Transient("the store is full")

    @contextlib.contextmanager
    def sink(_index: int) -> Iterator[BinaryIO]:
        yield Full()

    with pytest.raises(Transient, match="is full"):
        rig.cutter.cut(io.BytesIO(rig.audio), PIECES, sink, ignore)


def test_a_store_that_fails_while_it_is_read_comes_through(rig: Rig) -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 100_000:
                raise Transient("the store went away")
            return super().read(min(size or 4096, 4096) if size != -1 else 4096)

    with pytest.raises(Transient, match="went away"):
        rig.cutter.listen(Failing(rig.audio), ignore)
    with pytest.raises(Transient, match="went away"):
        rig.cutter.cut(Failing(rig.audio), PIECES, Shelf().sink, ignore)


@pytest.mark.parametrize("audio", [b"", b"unreadable, for it is text"], ids=["empty", "text"])
def test_unreadable_audio_is_permanent(rig: Rig, audio: bytes) -> None:
    shelf = Shelf()
    with pytest.raises(Permanent, match=r"^unreadable audio: "):
        rig.cutter.listen(io.BytesIO(audio), ignore)
    with pytest.raises(Permanent, match=r"^unreadable audio: "):
        rig.cutter.cut(io.BytesIO(audio), PIECES, shelf.sink, ignore)
    assert shelf.events == []
