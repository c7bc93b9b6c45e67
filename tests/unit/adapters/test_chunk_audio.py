"""Odd audio (T8) through the cutter: what can be heard is heard, and what cannot be is told in words."""

import io
import json
import struct
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from podinsight.adapters.chunk_audio import AudioCutter
from podinsight.adapters.speech_audio import RATE, blocks, samples
from podinsight.errors import Permanent
from podinsight.ports import Heard
from tests.support import sound
from tests.support.audio import tone
from tests.support.sound import Shelf

SECONDS = 30.7  # of speech in the sample


def ignore() -> None:
    """A beat that nobody listens to."""


def listen(audio: bytes) -> Heard:
    return AudioCutter().listen(io.BytesIO(audio), ignore)


def spoken(heard: Heard) -> float:
    return sum(until - since for since, until in heard.speech)


def changing() -> bytes:
    said = sound.speech()
    thirds = np.array_split(said, 3)
    shapes = ((44_100, 2), (22_050, 1), (48_000, 1))
    return b"".join(sound.encoded("mp3", each, *shape) for each, shape in zip(thirds, shapes, strict=True))


FILES: dict[str, Callable[[], bytes]] = {
    "mp3": lambda: (sound.SAMPLES / "episode-2.mp3").read_bytes(),
    "m4a": lambda: sound.encoded("ipod", sound.speech(), 44_100, 2),
    "wav": lambda: sound.wav(sound.speech()),
    "wav of 8 kHz": lambda: sound.encoded("wav", sound.speech(), 8_000),
    "opus": lambda: sound.encoded("opus", sound.speech(), 48_000),
    "flac": lambda: sound.encoded("flac", sound.speech(), 44_100, 2),
    "a format that changes": changing,
    "one channel is empty": lambda: sound.wav(np.stack([sound.speech(), np.zeros_like(sound.speech())])),
}


@pytest.fixture(params=FILES)
def audio(request: pytest.FixtureRequest) -> bytes:
    return FILES[request.param]()


def test_speech_is_heard_and_chunks_hold_the_very_samples(audio: bytes) -> None:
    heard = listen(audio)
    assert heard.seconds == pytest.approx(SECONDS, abs=0.4)
    assert spoken(heard) > 0.85 * SECONDS
    whole = np.concatenate(list(blocks(io.BytesIO(audio)))).astype(np.float32) / 32768
    assert len(whole) == pytest.approx(heard.seconds * RATE, abs=8)
    pieces = [(0.0, 7.003), (7.003, 10.9), (14.2, heard.seconds)]
    shelf = Shelf()
    AudioCutter().cut(io.BytesIO(audio), pieces, shelf.sink, ignore)
    for index, (start, end) in enumerate(pieces):
        chunk = samples(io.BytesIO(shelf.files[index]), start, end, start, ignore)
        assert np.array_equal(chunk, whole[round(start * RATE) : round(end * RATE)])


def test_an_empty_channel_halves_the_sound_and_the_speech_is_found_all_the_same() -> None:
    """Averaging loses 6 dB, which neither voice activity nor a model that looks at the ratio of levels minds."""
    both = listen(FILES["wav"]())
    half = listen(FILES["one channel is empty"]())
    assert spoken(half) == pytest.approx(spoken(both), rel=0.03)


@pytest.mark.parametrize("seconds", [5.0, 0.5])
def test_short_audio(seconds: float) -> None:
    said = sound.speech()[RATE : RATE + round(seconds * RATE)]
    heard = listen(sound.wav(said))
    assert heard.seconds == seconds
    assert spoken(heard) > 0.7 * seconds
    assert all(0 <= since < until <= seconds for since, until in heard.speech)
    assert listen(sound.wav(sound.silence(seconds))) == Heard(seconds, ())


def test_nobody_speaks_in_music() -> None:
    assert listen(sound.wav(sound.music(60))) == Heard(60.0, ())


def test_silence_in_a_lossy_format() -> None:
    heard = listen(sound.encoded("mp3", sound.silence(20), 44_100, 2))
    assert heard.seconds == pytest.approx(20, abs=0.2)
    assert heard.speech == ()


@pytest.mark.parametrize("name", ["episode.wav", "episode.m4a", "episode.jpg", "episode"])
def test_what_the_file_is_called_does_not_matter(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(FILES["mp3"]())
    with path.open("rb") as audio:
        heard = AudioCutter().listen(audio, ignore)
    assert heard == listen(FILES["mp3"]())


def test_a_cover_picture_is_no_sound() -> None:
    heard = listen(tone("mp4", 5, cover=True))
    assert heard.seconds == pytest.approx(5, abs=0.1)


def strange_codec() -> bytes:
    """A WAV file whose format tag nobody knows."""
    audio = bytearray(sound.wav(sound.silence(1)))
    audio[20:22] = struct.pack("<H", 0x4242)
    return bytes(audio)


@pytest.mark.parametrize(
    ("audio", "reason"),
    [
        (b"", "the file is empty"),
        (b"<html>Not found</html>", "Invalid data"),
        (b"ffconcat version 1.0\nfile episode-1.mp3\n", "no podcast audio format"),
        (
            b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
            "no podcast audio format",
        ),
        (b"ID3" + bytes(5000), ""),
        (bytes(100_000), ""),
        (strange_codec(), ""),
        (sound.wav(sound.silence(0)), "nothing in it could be decoded"),
    ],
    ids=["empty", "page", "playlist", "session", "tag alone", "zeros", "strange codec", "no sound"],
)
def test_unreadable_audio_says_why(audio: bytes, reason: str) -> None:
    with pytest.raises(Permanent, match=rf"^unreadable audio: .*{reason}"):
        listen(audio)
    with pytest.raises(Permanent, match=rf"^unreadable audio: .*{reason}"):
        AudioCutter().cut(io.BytesIO(audio), [(0.0, 1.0)], Shelf().sink, ignore)


def test_importing_the_cutter_loads_nothing_heavy() -> None:
    code = """
import sys
import podinsight.adapters.chunk_audio
heavy = {"av", "ctranslate2", "faster_whisper", "numpy", "onnxruntime"}
sys.exit(", ".join(heavy & set(sys.modules)) or 0)
"""
    end = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (end.returncode, end.stderr) == (0, "")


# Repeats a file's bytes without holding them; prints the peak of resident memory after so many minutes.
LONG = """
    import io, json, resource, sys
    from contextlib import contextmanager
    from pathlib import Path
    from podinsight.adapters.chunk_audio import AudioCutter

    data = Path(sys.argv[1]).read_bytes()

    class Repeated(io.RawIOBase):
        def __init__(self, times):
            self.size, self.at = times * len(data), 0
        def readable(self):
            return True
        def seekable(self):
            return True
        def tell(self):
            return self.at
        def seek(self, offset, whence=0):
            self.at = offset + (0, self.at, self.size)[whence]
            return self.at
        def readinto(self, buffer):
            first = self.at % len(data)
            piece = data[first : min(first + len(buffer), first + self.size - self.at)]
            buffer[: len(piece)] = piece
            self.at += len(piece)
            return len(piece)

    class Nowhere:
        size = 0
        def write(self, data):
            self.size += len(data)

    @contextmanager
    def sink(index):
        yield nowhere

    def peak():
        scale = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale

    cutter, nowhere = AudioCutter(), Nowhere()
    for minutes in map(int, sys.argv[2:]):
        times, beats = round(minutes * 60 / 34.7) + 1, []
        heard = cutter.listen(Repeated(times), lambda: beats.append(0))
        whole = [(0.0, heard.seconds)]
        cutter.cut(Repeated(times), whole, sink, lambda: beats.append(0))
        row = {"seconds": heard.seconds, "stretches": len(heard.speech), "beats": len(beats), "peak": peak()}
        print(json.dumps(row | {"written": nowhere.size}), flush=True)
"""


def measure(*minutes: int) -> list[dict[str, float]]:
    command = [sys.executable, "-c", textwrap.dedent(LONG), str(sound.SAMPLES / "episode-1.mp3"), *map(str, minutes)]
    end = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in end.stdout.splitlines()]


def test_memory_stays_flat() -> None:
    """Twenty minutes more are 38 MB of samples, 77 MB as the model takes them."""
    short, long = measure(4, 24)
    assert long["seconds"] - short["seconds"] == pytest.approx(1200, abs=40)
    assert long["beats"] >= 2 * 24
    assert long["stretches"] > 4 * short["stretches"]
    assert long["written"] > 10**7
    assert long["peak"] - short["peak"] < 8 * 2**20


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_memory_stays_flat_for_eight_hours() -> None:
    short, long = measure(10, 8 * 60)
    assert long["seconds"] > 8 * 3600
    assert long["peak"] - short["peak"] < 64 * 2**20
