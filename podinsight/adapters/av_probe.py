"""Is it audio, which, how long, and all there? Read with PyAV from the container alone: nothing is decoded."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from podinsight.adapters.media_headers import (
    mp3_states_its_length,
    mp4_missing_bytes,
    ogg_is_cut,
    size_of,
    wav_seconds,
)
from podinsight.errors import OutOfMemory, Permanent, Transient
from podinsight.ports import Probe

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer

BUFFER_BYTES = 1 << 20
TOLERANCE_SECONDS = 1.0
TOLERANCE_SHARE = 0.02
# FFmpeg also reads playlists that name other files and addresses; none of those formats may even be tried.
FORMATS = "mp3,aac,mov,mp4,m4a,3gp,3g2,mj2,ogg,flac,wav"
OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "none"}
_KINDS = {
    "mp3": ("mp3", "audio/mpeg"),
    "mov": ("m4a", "audio/mp4"),
    "aac": ("aac", "audio/aac"),
    "ogg": ("ogg", "audio/ogg"),
    "flac": ("flac", "audio/flac"),
    "wav": ("wav", "audio/wav"),
}


@dataclass(frozen=True)
class _Found:
    """extension, mime, what the header says (None: nothing that binds), and what the packets are."""

    extension: str
    mime: str
    stated: float | None
    seconds: float
    packets: int


def load() -> None:
    """Imports PyAV now, which takes some tenths of a second."""
    import av  # noqa: F401


class AvProbe:
    """ports.MediaProbe with PyAV, which is imported at the first use."""

    def probe(self, stream: BinaryIO) -> Probe:
        """See ports.MediaProbe. Eight hours of MP3 take a few seconds and a buffer of 1 MiB."""
        import av

        size = size_of(stream)
        if size == 0:
            raise Permanent("not audio: the file is empty")
        try:
            with av.open(stream, mode="r", options=OPTIONS, buffer_size=BUFFER_BYTES) as container:
                found = _examine(container)
        except MemoryError as error:  # PyAV's is one; it says nothing about the audio
            raise OutOfMemory("probing audio: out of memory") from error
        except av.error.FFmpegError as error:
            missing = mp4_missing_bytes(stream)
            if missing:
                raise Transient(
                    f"truncated audio: the header says {size + missing} bytes, the file holds {size}"
                ) from error
            if isinstance(error, av.error.ArgumentError):
                raise Permanent("not a podcast audio format (mp3, m4a, aac, ogg, opus, flac, wav)") from error
            raise Permanent(f"not readable audio: {error.strerror or type(error).__name__}") from error
        found = _with_header(found, stream)
        _check_whole(found)
        if found.extension in ("ogg", "opus") and ogg_is_cut(stream):
            raise Transient(f"truncated: the last Ogg page is cut off, the file holds {found.seconds:.1f} s")
        return Probe(found.extension, found.mime, round(found.seconds, 3))


def _examine(container: "InputContainer") -> _Found:
    kind = _KINDS.get(container.format.name.partition(",")[0])
    if kind is None:
        raise Permanent(f"not a podcast audio format: {container.format.long_name or container.format.name}")
    if not container.streams.audio:
        others = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise Permanent(f"no audio stream: the file holds {others}")
    audio = container.streams.audio[0]
    extension, mime = kind
    if extension == "ogg" and audio.codec_context.name in ("opus", "libopus"):
        extension = "opus"
    base = float(audio.time_base or 0)
    seconds, packets = _measure(container, audio, base)
    stated = audio.duration * base if audio.duration else None
    return _Found(extension, mime, stated, seconds, packets)


def _measure(container: "InputContainer", audio: "AudioStream", base: float) -> tuple[float, int]:
    """Seconds and packets. Time that jumps back begins a new piece: files that were joined are as long as their sum.

    In ticks of the stream, whole numbers: an hour has a hundred thousand packets.
    """
    packets = done = untimed = end = 0
    start: int | None = None
    back = round(TOLERANCE_SECONDS / base) if base else 0
    for packet in container.demux(audio):
        if not packet.size:
            continue
        packets += 1
        length, at = packet.duration or 0, packet.pts
        if at is None:
            untimed += length
            continue
        if start is None or at < end - back:
            done += _played(start, end)
            start = end = at
        if at + length > end:
            end = at + length
    return (done + _played(start, end) + untimed) * base, packets


def _played(start: int | None, end: int) -> int:
    # A negative start is encoder delay, which is cut off at playing.
    return max(0, end - max(start or 0, 0))


def _with_header(found: _Found, stream: BinaryIO) -> _Found:
    """The length that binds: FFmpeg's own where it comes from the file, else what the file's header says."""
    stated = found.stated
    if found.extension in ("aac", "ogg", "opus") or (found.extension == "mp3" and not mp3_states_its_length(stream)):
        stated = None
    elif found.extension == "wav":
        stated = wav_seconds(stream)
    return _Found(found.extension, found.mime, stated, found.seconds, found.packets)


def _check_whole(found: _Found) -> None:
    missing = (found.stated or 0.0) - found.seconds
    if found.stated and missing > max(TOLERANCE_SECONDS, TOLERANCE_SHARE * found.stated):
        raise Transient(f"truncated: the header says {found.stated:.1f} s, the file holds {found.seconds:.1f} s")
    if found.packets == 0 or found.seconds <= 0:
        raise Permanent("no sound: the audio stream is empty")
