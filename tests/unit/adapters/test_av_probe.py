"""AvProbe on audio made with PyAV, whole, cut and broken."""

import io
import struct
import tracemalloc

import pytest

from podinsight.adapters.av_probe import AvProbe
from podinsight.errors import OutOfMemory, Permanent, Transient
from podinsight.ports import Probe
from tests.support.audio import tone

SECONDS = 5.0


@pytest.fixture(scope="module")
def sounds() -> dict[str, bytes]:
    """Tones of five seconds by name."""
    containers = ("mp3", "ipod", "adts", "ogg", "opus", "flac", "wav")
    return {container: tone(container, SECONDS) for container in containers} | {
        "mp3 without Xing": tone("mp3", SECONDS, {"write_xing": "0"}),
        "m4a index first": tone("ipod", SECONDS, {"movflags": "+faststart"}),
        "mp3 with cover": tone("mp3", SECONDS, cover=True),
        "m4a with cover": tone("mp4", SECONDS, cover=True),
    }


def probe(data: bytes) -> Probe:
    return AvProbe().probe(io.BytesIO(data))


@pytest.mark.parametrize(
    ("name", "extension", "mime"),
    [
        ("mp3", "mp3", "audio/mpeg"),
        ("mp3 without Xing", "mp3", "audio/mpeg"),
        ("mp3 with cover", "mp3", "audio/mpeg"),
        ("ipod", "m4a", "audio/mp4"),
        ("m4a index first", "m4a", "audio/mp4"),
        ("m4a with cover", "m4a", "audio/mp4"),
        ("adts", "aac", "audio/aac"),
        ("ogg", "ogg", "audio/ogg"),
        ("opus", "opus", "audio/ogg"),
        ("flac", "flac", "audio/flac"),
        ("wav", "wav", "audio/wav"),
    ],
)
def test_whole_audio(sounds: dict[str, bytes], name: str, extension: str, mime: str) -> None:
    found = probe(sounds[name])
    assert (found.extension, found.mime) == (extension, mime)
    assert found.seconds == pytest.approx(SECONDS, abs=0.1)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mp3", r"the header says 5\.0 s, the file holds 3\.0 s"),
        ("mp3 with cover", r"the header says 5\.0 s, the file holds [23]\.\d s"),
        ("flac", r"the header says 5\.0 s, the file holds 2\.\d s"),
        ("wav", r"the header says 5\.0 s, the file holds 3\.0 s"),
        ("m4a index first", r"the header says 5\.0 s, the file holds [23]\.\d s"),
        ("ipod", r"the header says \d+ bytes, the file holds \d+"),
        ("ogg", r"the last Ogg page is cut off, the file holds [23]\.\d s"),
        ("opus", r"the last Ogg page is cut off, the file holds [23]\.\d s"),
    ],
)
def test_truncated_audio_may_be_whole_next_time(sounds: dict[str, bytes], name: str, text: str) -> None:
    data = sounds[name]
    with pytest.raises(Transient, match=f"truncated( audio)?: {text}"):
        probe(data[: len(data) * 6 // 10])


@pytest.mark.parametrize("name", ["mp3 without Xing", "adts"])
def test_audio_that_states_no_length_is_as_long_as_its_packets(sounds: dict[str, bytes], name: str) -> None:
    data = sounds[name]
    assert probe(data[: len(data) // 2]).seconds == pytest.approx(SECONDS / 2, abs=0.2)


def test_a_little_missing_at_the_end_is_tolerated(sounds: dict[str, bytes]) -> None:
    data = sounds["wav"]
    assert probe(data[:-48_000]).seconds == pytest.approx(SECONDS - 0.5)


def test_a_header_without_sound_is_truncated(sounds: dict[str, bytes]) -> None:
    data = sounds["m4a index first"]
    with pytest.raises(Transient, match=r"the file holds 0\.0 s"):
        probe(data[: data.index(b"mdat") + 4])


def test_a_wav_written_to_a_pipe_states_no_length(sounds: dict[str, bytes]) -> None:
    data = bytearray(sounds["wav"])
    at = data.index(b"data") + 4
    for unknown in (0xFFFFFFFF, 0x7FFFF000):
        data[at : at + 4] = struct.pack("<I", unknown)
        assert probe(bytes(data)).seconds == pytest.approx(SECONDS)


@pytest.mark.parametrize("name", ["mp3", "ogg"])
def test_joined_files_are_as_long_as_their_sum(sounds: dict[str, bytes], name: str) -> None:
    assert probe(sounds[name] * 2).seconds == pytest.approx(2 * SECONDS, abs=0.2)


def test_no_sound_at_all(sounds: dict[str, bytes]) -> None:
    data = sounds["wav"]
    at = data.index(b"data") + 4
    with pytest.raises(Permanent, match="no sound"):
        probe(data[:at] + bytes(4))


def test_a_picture_alone_is_no_audio() -> None:
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 64
        for n in range(5):
            frame = av.VideoFrame(64, 64, "yuv420p")
            frame.pts = n
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    with pytest.raises(Permanent, match="no audio stream: the file holds video"):
        probe(file.getvalue())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"just text " * 500,
        b"<!doctype html><title>Sign in</title>" * 100,
        bytes(50_000),
        bytes(range(256)) * 200,
        b"ID3\x03\x00\x00\x00\x00\x0f\x76" + bytes(3000),
        b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(3000),
    ],
)
def test_what_is_no_audio(data: bytes) -> None:
    with pytest.raises(Permanent, match="not"):
        probe(data)


def test_corrupt_m4a(sounds: dict[str, bytes]) -> None:
    data = sounds["m4a index first"]
    with pytest.raises((Permanent, Transient)):
        probe(data[:200] + bytes(5000))


@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{0}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{0}'\n",
    ],
)
def test_a_playlist_opens_no_other_file(
    sounds: dict[str, bytes], playlist: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other") / "secret.mp3"
    other.write_bytes(sounds["mp3"])
    with pytest.raises(Permanent, match="not"):
        probe(playlist.format(other).encode())


class _Counting(io.BytesIO):
    """A stream that remembers the largest piece that was asked of it."""

    largest = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.largest = max(self.largest, len(data))
        return data


def test_the_file_is_never_read_whole(sounds: dict[str, bytes]) -> None:
    stream = _Counting(sounds["mp3 without Xing"] * 200)
    size = len(stream.getvalue())
    tracemalloc.start()
    try:
        assert AvProbe().probe(stream).seconds == pytest.approx(200 * SECONDS, rel=0.02)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert stream.largest <= 1 << 20 < size
    assert peak < size / 2


def test_an_advertisement_at_another_bit_rate_before_an_episode_is_no_truncation() -> None:
    """F9. The header is the advertisement's, and FFmpeg's length a guess from its bit rate: too long by half here."""
    joined = tone("mp3", 5.0, bit_rate=32_000) + tone("mp3", 20.0, {"write_xing": "0"}, bit_rate=128_000)
    found = probe(joined)
    assert found.seconds == pytest.approx(25.0, abs=0.3)
    with pytest.raises(Transient, match="truncated"):
        probe(tone("mp3", 20.0, bit_rate=128_000)[:-100_000])


class _Away(io.BytesIO):
    """A store that goes away in the middle."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() > 100_000:
            raise Transient("the store is away")
        return super().read(size)


def test_a_failing_store_is_not_taken_for_bad_audio(sounds: dict[str, bytes]) -> None:
    with pytest.raises(Transient, match="the store is away"):
        AvProbe().probe(_Away(sounds["mp3 without Xing"] * 200))


class Starved(io.BytesIO):
    """As a file is to a reader that no memory is left for."""

    def read(self, size: int | None = -1, /) -> bytes:
        raise MemoryError


def test_no_memory_left_says_nothing_about_the_audio(sounds: dict[str, bytes]) -> None:
    """F9: `not readable audio` would be for good."""
    with pytest.raises(OutOfMemory, match="probing audio: out of memory"):
        AvProbe().probe(Starved(sounds["flac"]))
