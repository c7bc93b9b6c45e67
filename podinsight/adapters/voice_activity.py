"""Where somebody speaks: Silero's voice activity model (it comes with faster-whisper) over audio of any length."""

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from podinsight.errors import Permanent
from podinsight.ports import Stretch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FRAME: Final = 512  # samples: what the model looks at to say one probability
FRAME_MS: Final = 32
# Below the model's own 0.5 and 0.35, since a word that is lost here is lost for good, and what is no speech costs time
# alone. Quiet is short, since long windows are split at these pauses: of pauses of 0.3 s put into recordings of human
# speech, six frames find all but one in a hundred and nine frames three in four.
THRESHOLD: Final = 0.35
QUIET_THRESHOLD: Final = 0.2
QUIET_FRAMES: Final = 6
SPEECH_FRAMES: Final = 3
PAD_MS: Final = 200
_FRAMES_AT_ONCE: Final = 1024
_CONTEXT: Final = 64  # samples of the frame before that the model wants in front of each frame


def profile() -> tuple[tuple[str, str], ...]:
    """What the stretches depend on besides the samples."""
    facts: dict[str, object] = {
        "engine": f"silero of faster-whisper {version('faster-whisper')}",
        "runtime": f"onnxruntime {version('onnxruntime')}",
        "threshold": THRESHOLD,
        "quiet_threshold": QUIET_THRESHOLD,
        "quiet_ms": QUIET_FRAMES * FRAME_MS,
        "speech_ms": SPEECH_FRAMES * FRAME_MS,
        "pad_ms": PAD_MS,
    }
    return tuple((name, str(value)) for name, value in facts.items())


class VoiceActivity:
    """The probability of speech in each frame of a stream of 16 kHz samples, as `feed` after `feed` hands them over.

    The model's state goes from batch to batch, and batches are cut at the same frames however the samples come, so
    these are the probabilities of a run over the whole file, bit for bit, with half a minute of it in memory.
    """

    def __init__(self) -> None:
        try:
            import numpy as np
            from faster_whisper.vad import get_vad_model
        except ImportError as error:
            raise Permanent(f"faster-whisper does not work here ({error}): pip install 'podinsight[speech]'") from error

        self._session: Any = get_vad_model().session  # of one thread
        self._state = np.zeros((1, 1, 128), np.float32), np.zeros((1, 1, 128), np.float32)
        self._context = np.zeros(_CONTEXT, np.float32)
        self._held: list[NDArray[np.int16]] = []
        self._size = 0
        self._found: list[NDArray[np.float32]] = []

    def feed(self, block: "NDArray[np.int16]") -> None:
        import numpy as np

        self._held.append(block)
        self._size += len(block)
        batch = _FRAMES_AT_ONCE * FRAME
        if self._size >= batch:
            pending = np.concatenate(self._held)
            whole = self._size // batch * batch
            for first in range(0, whole, batch):
                self._listen(pending[first : first + batch])
            self._held, self._size = [pending[whole:]], self._size - whole

    def finish(self) -> "NDArray[np.float32]":
        """The probabilities of all frames; the last frame is filled with silence."""
        import numpy as np

        if self._size:
            pending = np.concatenate(self._held)
            self._listen(np.pad(pending, (0, -len(pending) % FRAME)))
            self._held, self._size = [], 0
        return np.concatenate(self._found) if self._found else np.empty(0, np.float32)

    def _listen(self, samples: "NDArray[np.int16]") -> None:
        import numpy as np

        frames = (samples.astype(np.float32) / np.float32(32768)).reshape(-1, FRAME)
        before = np.vstack([self._context, frames[:-1, -_CONTEXT:]])
        h, c = self._state
        found, h, c = self._session.run(None, {"input": np.hstack([before, frames]), "h": h, "c": c})
        self._state, self._context = (h, c), frames[-1, -_CONTEXT:]
        self._found.append(found.reshape(-1))


def stretches(probabilities: Sequence[float], seconds: float) -> tuple[Stretch, ...]:
    """Where somebody speaks, to the millisecond, in audio of that length, from the probability of each frame.

    Speech begins with a frame at THRESHOLD and ends where QUIET_FRAMES frames without one begin that is under
    QUIET_THRESHOLD; less than SPEECH_FRAMES is none. Each stretch is made wider by PAD_MS on both sides, for the soft
    beginnings and ends of words, but by no more than a third of the pause, so that every pause stays one.
    """
    runs = [
        (first * FRAME_MS, last * FRAME_MS) for first, last in _runs(probabilities) if last - first >= SPEECH_FRAMES
    ]
    length = round(seconds * 1000)
    found = []
    for n, (first, last) in enumerate(runs):
        before = (first - runs[n - 1][1]) // 3 if n else first
        after = (runs[n + 1][0] - last) // 3 if n + 1 < len(runs) else length - last
        found.append(((first - min(PAD_MS, before)) / 1000, min(last + min(PAD_MS, after), length) / 1000))
    return tuple((since, until) for since, until in found if since < until)


def _runs(probabilities: Sequence[float]) -> Iterator[tuple[int, int]]:
    """Frames [first, last) of each run of speech."""
    first = quiet = None
    for n, probability in enumerate(probabilities):
        if probability >= THRESHOLD:
            first, quiet = n if first is None else first, None
        elif first is not None:
            if quiet is None and probability < QUIET_THRESHOLD:
                quiet = n
            if quiet is not None and n + 1 - quiet >= QUIET_FRAMES:
                yield first, quiet
                first = quiet = None
    if first is not None:
        yield first, len(probabilities) if quiet is None else quiet
