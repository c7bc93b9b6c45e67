"""A span of any audio file as windows of the 16 kHz mono samples that speech models take, with PyAV.

Instead of faster_whisper.decode_audio, because that loses everything after the first broken packet and after a change
of format (inserted advertisements make both), and holds the whole file: an hour took four gigabytes with what the
model's features need, and said nothing for as long as it took to compute them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from podinsight.errors import Permanent

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


def windows(audio: BinaryIO, start: float, end: float | None, tick: Callable[[], None]) -> Iterator[Window]:
    """[start, end) of the first audio stream, in windows of at most five minutes that leave nothing out.

    Cuts are where it is quietest in the last half minute of a window: they follow from the sound alone. Decodes from
    the beginning, because seeking is not exact in MP3; `tick` is called after every minute of it. What `tick` raises,
    and what reading `audio` raises, comes through.

    Raises:
        Permanent: nothing could be decoded, or the audio ends before `start`.
    """
    import numpy as np

    first = origin = round(start * RATE)
    last = None if end is None else round(end * RATE)
    held: list[NDArray[np.int16]] = []
    size = position = ticked = 0
    for block in _blocks(audio):
        begin, position = position, position + len(block)
        held.append(block[max(origin - begin, 0) : None if last is None else max(last - begin, 0)])
        size += len(held[-1])
        if size >= WINDOW:
            pending = np.concatenate(held)
            cut = _quietest(pending[:WINDOW])
            yield Window(first, _floats(pending[:cut]))
            first, held, size = first + cut, [pending[cut:]], size - cut
        if last is not None and position >= last:
            break
        if position - ticked >= _BEAT_EVERY:
            ticked = position
            tick()
    if position == 0:
        raise Permanent("unreadable audio: nothing in it could be decoded")
    if position <= origin:
        raise Permanent(f"the audio ends at {position / RATE:.3f} s, before the chunk that starts at {start:.3f} s")
    if size:
        yield Window(first, _floats(np.concatenate(held)))


def _quietest(samples: "NDArray[np.int16]") -> int:
    """Where to cut: the middle of the quietest half second of the last half minute."""
    import numpy as np

    tail = np.abs(samples[-CUT_WITHIN:].astype(np.int64)).reshape(-1, _FRAME).sum(axis=1)
    loudness = np.convolve(tail, np.ones(5, np.int64), "valid")
    return len(samples) - CUT_WITHIN + int(loudness.argmin()) * _FRAME + 5 * _FRAME // 2


def _floats(samples: "NDArray[np.int16]") -> "Samples":
    import numpy as np

    return samples.astype(np.float32) / np.float32(32768)


def _blocks(audio: BinaryIO) -> "Iterator[NDArray[np.int16]]":
    import av

    try:
        with av.open(audio, mode="r", metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise Permanent("unreadable audio: the file has no audio stream")
            yield from _resampled(_frames(container))
    except av.error.FFmpegError as error:
        raise Permanent(f"unreadable audio: {error.strerror or error}") from error


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
            resampler, shape = AudioResampler(format="s16", layout="mono", rate=RATE), found
        for piece in resampler.resample(frame):
            yield piece.to_ndarray()[0]
    yield from _flushed(resampler)


def _flushed(resampler: Any) -> "Iterator[NDArray[np.int16]]":
    if resampler is not None:
        for piece in resampler.resample(None):
            yield piece.to_ndarray()[0]
