"""A span of any audio file as windows of the 16 kHz mono samples that speech models take, with PyAV.

Instead of faster_whisper.decode_audio, because that loses everything after the first broken packet and after a change
of format (inserted advertisements make both), and holds the whole file: an hour took four gigabytes with what the
model's features need, and said nothing for as long as it took to compute them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from podinsight.adapters.av_probe import OPTIONS
from podinsight.errors import OutOfMemory, Permanent

if TYPE_CHECKING:
    import numpy as np
    from av import AudioFrame
    from av.container import InputContainer
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]

RATE: Final = 16_000
WINDOW: Final = 300 * RATE
CUT_WITHIN: Final = 30 * RATE
_FRAME: Final = RATE // 10
_BEAT_EVERY: Final = 60 * RATE
# Where one channel is the other turned over, the middle is silent and the voice is in the difference: it is taken where
# it has so many times the energy of the middle (20 dB).
_TURNED_OVER: Final = 100


@dataclass(frozen=True)
class Window:
    """Samples from -1 to 1; `first` is the number of the first one, counted from the start of the file."""

    first: int
    samples: "Samples"

    @property
    def start(self) -> float:
        return self.first / RATE

    @property
    def end(self) -> float:
        return (self.first + len(self.samples)) / RATE


def windows(
    audio: BinaryIO,
    start: float,
    end: float | None,
    tick: Callable[[], None],
    offset: float = 0.0,
    lead: float | None = None,
) -> Iterator[Window]:
    """[start, end) of the first audio stream, in windows of at most five minutes that leave nothing out.

    Cuts are where it is quietest in the last half minute of a window: they follow from the sound alone. Decodes from
    the beginning, because seeking is not exact in MP3; `tick` is called after every minute of it. What `tick` raises,
    and what reading `audio` raises, comes through.

    Args:
        offset: episode time of the first sample of `audio`, for a chunk's own file.
        lead: where the first window ends, when that is known; it is there sooner than a long one.

    Raises:
        Permanent: nothing could be decoded, or the audio ends before `start`, or starts after it.
    """
    import numpy as np

    held: list[NDArray[np.int16]] = []
    first, size = round(start * RATE), 0
    leading = round(lead * RATE) - first if lead is not None else WINDOW
    for piece in _span(audio, start, end, offset, tick):
        held.append(piece)
        size += len(piece)
        if size >= min(leading, WINDOW):
            pending = np.concatenate(held)
            cut = leading if leading < WINDOW else _quietest(pending[:WINDOW])
            leading = WINDOW
            yield Window(first, _floats(pending[:cut]))
            first, held, size = first + cut, [pending[cut:]], size - cut
    if size:
        yield Window(first, _floats(np.concatenate(held)))


def samples(audio: BinaryIO, start: float, end: float | None, offset: float, tick: Callable[[], None]) -> "Samples":
    """[start, end) in one piece: for chunks, which are some minutes long. Everything else is as in `windows`."""
    import numpy as np

    pieces = list(_span(audio, start, end, offset, tick))
    return _floats(np.concatenate(pieces)) if pieces else np.empty(0, np.float32)


class Tape:
    """The samples of a file from its beginning to its end, 16 bit, span after span. Holds one block at a time.

    Args:
        tick: called after every minute of sound.

    Its methods raise `Permanent` for unreadable audio, what `tick` raises and what reading `audio` raises.
    """

    def __init__(self, audio: BinaryIO, tick: Callable[[], None]) -> None:
        import numpy as np

        self._blocks = _ticking(blocks(audio), tick)
        self._held: NDArray[np.int16] = np.empty(0, np.int16)
        self.position = 0

    def skip(self, first: int) -> bool:
        """Winds forward to sample `first`; False when the sound ends before it, and `position` is that end then."""
        while self._more() and self.position < first:
            self._take(first)
        return bool(len(self._held))

    def take(self, last: int | None) -> "Iterator[NDArray[np.int16]]":
        """What comes before sample `last`, or up to the end."""
        while (last is None or self.position < last) and self._more():
            yield self._take(last)

    def _more(self) -> bool:
        if not len(self._held):
            self._held = next(self._blocks, self._held)
        return bool(len(self._held))

    def _take(self, last: int | None) -> "NDArray[np.int16]":
        size = len(self._held) if last is None else min(len(self._held), last - self.position)
        taken, self._held = self._held[:size], self._held[size:]
        self.position += size
        return taken


def _span(
    audio: BinaryIO, start: float, end: float | None, offset: float, tick: Callable[[], None]
) -> "Iterator[NDArray[np.int16]]":
    first, zero, tape = round(start * RATE), round(offset * RATE), Tape(audio, tick)
    if first < zero:
        raise Permanent(f"the audio starts at {offset:.3f} s, after the chunk that starts at {start:.3f} s")
    if not tape.skip(first - zero):
        raise Permanent(ends_before(zero + tape.position, start))
    yield from tape.take(None if end is None else round(end * RATE) - zero)


def ends_before(position: int, start: float) -> str:
    """What to say when the sound has `position` samples and a span starts after them."""
    return f"the audio ends at {position / RATE:.3f} s, before the chunk that starts at {start:.3f} s"


def _ticking(pieces: "Iterator[NDArray[np.int16]]", tick: Callable[[], None]) -> "Iterator[NDArray[np.int16]]":
    position = ticked = 0
    for piece in pieces:
        yield piece
        position += len(piece)
        if position - ticked >= _BEAT_EVERY:
            ticked = position
            tick()


def _quietest(samples: "NDArray[np.int16]") -> int:
    """Where to cut: the middle of the quietest half second of the last half minute."""
    import numpy as np

    tail = np.abs(samples[-CUT_WITHIN:].astype(np.int64)).reshape(-1, _FRAME).sum(axis=1)
    loudness = np.convolve(tail, np.ones(5, np.int64), "valid")
    return len(samples) - CUT_WITHIN + int(loudness.argmin()) * _FRAME + 5 * _FRAME // 2


def _floats(samples: "NDArray[np.int16]") -> "Samples":
    import numpy as np

    return samples.astype(np.float32) / np.float32(32768)


def blocks(audio: BinaryIO) -> "Iterator[NDArray[np.int16]]":
    """The first audio stream as 16 kHz mono, 16 bit, in blocks of what one frame of the file gives; none is empty.

    Raises:
        Permanent: `unreadable audio: …`, with the reason.
        OutOfMemory: there was none left to read it with, which says nothing about the audio.
    """
    import av

    audio.seek(0)
    if not audio.read(1):
        raise Permanent("unreadable audio: the file is empty")
    audio.seek(0)
    empty = True
    try:
        with av.open(audio, mode="r", options=OPTIONS, metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise Permanent("unreadable audio: the file has no audio stream")
            for block in _resampled(_frames(container)):
                if len(block):
                    empty = False
                    yield block
    except av.error.ArgumentError as error:
        raise Permanent("unreadable audio: no podcast audio format (mp3, m4a, aac, ogg, opus, flac, wav)") from error
    except MemoryError as error:  # PyAV's is one
        raise OutOfMemory("reading audio: out of memory") from error
    except av.error.FFmpegError as error:
        raise Permanent(f"unreadable audio: {error.strerror or error}") from error
    if empty:
        raise Permanent("unreadable audio: nothing in it could be decoded")


def _frames(container: "InputContainer") -> "Iterator[AudioFrame]":
    """Every frame that can be decoded: broken packets are left out, as a player would."""
    import av

    packets = container.demux(container.streams.audio[0])
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.error.InvalidDataError):
            return
        try:
            for frame in packet.decode():
                yield _as_audio(frame)
        except av.error.InvalidDataError:
            continue


def _as_audio(frame: Any) -> "AudioFrame":
    frame.pts = None  # time stamps jump where files were cut; what counts is the sound
    audio: AudioFrame = frame
    return audio


def _resampled(frames: "Iterator[AudioFrame]") -> "Iterator[NDArray[np.int16]]":
    from av import AudioResampler

    resampler: AudioResampler | None = None
    shape: tuple[object, ...] = ()
    for frame in frames:
        found = (frame.format.name, frame.layout.name, frame.sample_rate)
        if resampler is None or found != shape:
            yield from _flushed(resampler)
            layout = "stereo" if frame.layout.nb_channels == 2 else "mono"
            resampler, shape = AudioResampler(format="s16", layout=layout, rate=RATE), found
        for piece in resampler.resample(frame):
            yield _mono(piece)
    yield from _flushed(resampler)


def _flushed(resampler: Any) -> "Iterator[NDArray[np.int16]]":
    if resampler is not None:
        for piece in resampler.resample(None):
            yield _mono(piece)


def _mono(frame: "AudioFrame") -> "NDArray[np.int16]":
    """The middle of two channels, or their difference where that is where the sound is (_TURNED_OVER)."""
    import numpy as np

    samples: NDArray[np.int16] = frame.to_ndarray()[0]
    if frame.layout.nb_channels == 1:
        return samples
    left, right = samples[::2].astype(np.float64), samples[1::2].astype(np.float64)
    middle, difference = (left + right) / 2, (left - right) / 2
    turned_over = difference @ difference > _TURNED_OVER * (middle @ middle)
    return np.clip(np.rint(difference if turned_over else middle), -32768, 32767).astype(np.int16)
