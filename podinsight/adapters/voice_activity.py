"""Where somebody speaks: Silero's voice activity model (it comes with faster-whisper) over audio of any length."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from podinsight.adapters.processors import cores
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
# Behind loud speech the model takes quiet speech for the background, whatever its level: quiet that is longer than
# this is listened to once more by itself, unless nothing can be heard in it (GAP_LEVEL, of full scale). What is found
# there counts where so many frames are speech within a second and a half: the model takes some chords for short words.
GAP_FRAMES: Final = 24
GAP_SPEECH_FRAMES: Final = 8
GAP_LEVEL: Final = 0.001
WARM_FRAMES: Final = 32
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
        "gap_ms": GAP_FRAMES * FRAME_MS,
        "gap_speech_ms": GAP_SPEECH_FRAMES * FRAME_MS,
        "gap_level": GAP_LEVEL,
        "alone_ms": _FRAMES_AT_ONCE * FRAME_MS,
        "warm_ms": WARM_FRAMES * FRAME_MS,
    }
    return tuple((name, str(value)) for name, value in facts.items())


class VoiceActivity:
    """The probability of speech in each frame of a stream of 16 kHz samples, as `feed` after `feed` hands them over.

    Batches of half a minute are cut at the same frames however the samples come, and each is listened to by itself,
    with the end of the one before for the model to find its feet: so several threads listen, and the probabilities are
    the same with any number of them. Where a batch is quiet for long (GAP_FRAMES), what a run over the quiet
    alone takes for speech counts as well.

    Args:
        threads: how many listen at a time; so many batches and one more are in memory. 0: one for each core.
    """

    def __init__(self, threads: int = 0) -> None:
        try:
            import numpy as np
            from faster_whisper.vad import get_vad_model
        except ImportError as error:
            raise Permanent(f"faster-whisper does not work here ({error}): pip install 'podinsight[speech]'") from error

        self._session: Any = get_vad_model().session  # of one thread for each call
        self._threads = threads or cores()
        self._pool = ThreadPoolExecutor(self._threads, "voice-activity")
        self._before = np.zeros(WARM_FRAMES * FRAME + _CONTEXT, np.int16)
        self._held: list[NDArray[np.int16]] = []
        self._size = 0
        self._found: list[Future[NDArray[np.float32]]] = []

    def feed(self, block: "NDArray[np.int16]") -> None:
        import numpy as np

        self._held.append(block)
        self._size += len(block)
        batch = _FRAMES_AT_ONCE * FRAME
        if self._size >= batch:
            pending = np.concatenate(self._held)
            whole = self._size // batch * batch
            for first in range(0, whole, batch):
                self._submit(pending[first : first + batch])
            self._held, self._size = [pending[whole:]], self._size - whole

    def finish(self) -> "NDArray[np.float32]":
        """The probabilities of all frames; the last frame is filled with silence."""
        import numpy as np

        if self._size:
            pending = np.concatenate(self._held)
            self._submit(np.pad(pending, (0, -len(pending) % FRAME)))
            self._held, self._size = [], 0
        self._pool.shutdown()
        return np.concatenate([each.result() for each in self._found]) if self._found else np.empty(0, np.float32)

    def _submit(self, samples: "NDArray[np.int16]") -> None:
        import numpy as np

        if len(self._found) >= self._threads:
            self._found[-self._threads].result()
        heard = np.concatenate([self._before, samples])
        self._before = heard[-len(self._before) :]
        self._found.append(self._pool.submit(self._listen, heard))

    def _listen(self, samples: "NDArray[np.int16]") -> "NDArray[np.float32]":
        """Of the frames behind WARM_FRAMES."""
        import numpy as np

        scaled = samples.astype(np.float32) / np.float32(32768)
        found = self._heard(scaled)[WARM_FRAMES:]
        frames = scaled[WARM_FRAMES * FRAME :]  # the first one with its context
        for first, last in _spans(found < THRESHOLD, GAP_FRAMES):
            quiet = frames[first * FRAME : last * FRAME + _CONTEXT].copy()
            quiet[:_CONTEXT] = 0
            if np.abs(quiet).max() >= GAP_LEVEL:
                again = np.maximum(self._heard(quiet), found[first:last])
                near = np.convolve(again >= THRESHOLD, np.ones(min(2 * GAP_FRAMES, len(again))), "same")
                found[first:last] = np.where(near >= GAP_SPEECH_FRAMES, again, found[first:last])
        return found

    def _heard(self, samples: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """Of each frame behind the first _CONTEXT samples, by a model that has heard nothing yet."""
        import numpy as np

        frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME + _CONTEXT)[::FRAME]
        silent = np.zeros((1, 1, 128), np.float32)
        found, _, _ = self._session.run(None, {"input": frames, "h": silent, "c": silent})
        heard: NDArray[np.float32] = found.reshape(-1).copy()
        return heard


def _spans(holds: "NDArray[np.bool_]", least: int) -> list[tuple[int, int]]:
    """Frames [first, last) of each run of True of at least that length."""
    import numpy as np

    edges = np.flatnonzero(np.diff(np.concatenate([[False], holds, [False]])))
    pairs = zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    return [(first, last) for first, last in pairs if last - first >= least]


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
