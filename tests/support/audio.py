"""Small audio files for tests, made with PyAV itself."""

import array
import math
import tempfile
from pathlib import Path

import av
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream

CODECS = {
    "mp3": "libmp3lame",
    "ipod": "aac",
    "mp4": "aac",
    "adts": "aac",
    "ogg": "flac",
    "opus": "libopus",
    "flac": "flac",
    "wav": "pcm_s16le",
}
RATE = 48_000


def tone(
    container: str, seconds: float, options: dict[str, str] | None = None, cover: bool = False, bit_rate: int = 0
) -> bytes:
    """A sine tone in a container by FFmpeg's name, a key of CODECS: `ipod` and `mp4` are M4A, `adts` is AAC.

    cover: with a still picture as a second stream, as podcasts have it. bit_rate: bits a second; 0: the encoder's own.
    """
    # A file with a name: the index of an M4A can only be moved to the front of something that opens twice.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tone")
        _write(path, container, seconds, options or {}, cover, bit_rate)
        return path.read_bytes()


def unlike(data: bytes, name: str) -> bytes:
    """An MP3 or M4A of the same sound that is another file, by a tag at its end: it is no twin of the first, whose
    transcript it would take (F10)."""
    said = name.encode()[:30].ljust(124)
    if data[4:8] == b"ftyp":
        return data + (8 + len(said)).to_bytes(4, "big") + b"free" + said  # ISO/IEC 14496-12, 8.1.2
    return data + b"TAG" + said + b"\xff"  # ID3v1: 128 bytes


def _write(path: Path, container: str, seconds: float, options: dict[str, str], cover: bool, bit_rate: int) -> None:
    with av.open(str(path), "w", format=container, options=options) as out:
        stream = out.add_stream(CODECS[container], rate=RATE, layout="mono")
        assert isinstance(stream, AudioStream)
        if bit_rate:
            stream.bit_rate = bit_rate
        picture = out.add_stream("mjpeg", rate=1) if cover else None
        if picture:
            picture.width = picture.height = 64
            picture.pix_fmt = "yuvj420p"
        resampler = AudioResampler(stream.format, "mono", RATE, stream.frame_size or 1024)
        for frame in [*resampler.resample(_sine(seconds)), *resampler.resample(None)]:
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if picture:
            still = av.VideoFrame(64, 64, "yuvj420p")
            still.pts = 0
            out.mux(picture.encode(still))
            out.mux(picture.encode(None))


def _sine(seconds: float) -> av.AudioFrame:
    count = int(seconds * RATE)
    samples = array.array("h", (int(8000 * math.sin(n * 2 * math.pi * 440 / RATE)) for n in range(count)))
    frame = av.AudioFrame("s16", "mono", count, align=1)
    frame.planes[0].update(samples.tobytes())
    frame.sample_rate = RATE
    frame.pts = 0
    return frame
