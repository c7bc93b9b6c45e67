"""Windows for the speech model: stretches of speech put together, the pauses between them shortened. No model here.

Whisper was trained on half minutes: with less context it hears worse, and in a long pause it stops before the end. So
a window takes stretch after stretch up to LONGEST, and of each pause only what lies near the speech. Which windows
there are follows from the stretches and the samples of their piece of audio alone.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final

from podinsight.adapters.speech_audio import RATE
from podinsight.ports import Stretch

if TYPE_CHECKING:
    from podinsight.adapters.speech_audio import Samples

LONGEST: Final = 28 * RATE
REACH: Final = 3 * RATE // 10  # of a pause, on each side of a stretch (voice activity has put 0.2 s there already)
BREAK: Final = 5 * RATE  # after such a pause something else begins
ENOUGH: Final = 6 * RATE  # of a window: from there on it ends in the first long pause
LONG_PAUSE: Final = 7 * RATE // 10
EASING: Final = 0.06  # seconds of that less for each second more
# A voice that is quieter than another in the window is made as loud, by so much at most (6 dB): Whisper takes it for
# the background and passes over it.
LOUDER: Final = 2.0
# A window with less speech is heard with the one before or behind it: Whisper is too little sure of a word alone
# ("Okay.") to tell it from a breath.
ALONE: Final = 3 * RATE
# Seconds, at least, of what is decoded while the rest of a chunk is still read.
LEAD: Final = 20.0
_FRAME: Final = RATE // 50
_SEARCHED: Final = 3 * RATE


@dataclass(frozen=True)
class Piece:
    """Samples [first, last) of the audio, in which somebody speaks in [since, until); counted as in `Window`."""

    first: int
    last: int
    since: int
    until: int

    @property
    def size(self) -> int:
        return self.last - self.first


@dataclass(frozen=True)
class SpeechWindow:
    """Pieces of audio, one after the other; at least one."""

    pieces: tuple[Piece, ...]

    @property
    def size(self) -> int:
        return sum(piece.size for piece in self.pieces)

    @property
    def speech(self) -> tuple[Stretch, ...]:
        """Where somebody speaks, in seconds of episode time."""
        return tuple((piece.since / RATE, piece.until / RATE) for piece in self.pieces)

    @property
    def speech_seconds(self) -> float:
        return sum(piece.until - piece.since for piece in self.pieces) / RATE

    def episode_times(self, start: float, end: float) -> Stretch:
        """What is at `start` to `end` seconds of the window, in episode time: it lies in the piece of its middle."""
        ends = list(accumulate(piece.size for piece in self.pieces))
        index = min(bisect_right(ends, (start + end) / 2 * RATE), len(ends) - 1)
        piece = self.pieces[index]
        shift = (piece.first - (ends[index] - piece.size)) / RATE
        low, high = piece.first / RATE, piece.last / RATE
        return min(max(start + shift, low), high), min(max(end + shift, low), high)

    def samples(self, held: "Samples", first: int) -> "Samples":
        """Its samples out of `held`, whose first sample has the number `first`."""
        import numpy as np

        return np.concatenate([held[piece.first - first : piece.last - first] for piece in self.pieces])

    def split(self, at: int) -> "tuple[SpeechWindow | None, SpeechWindow | None]":
        """What lies before sample `at` and what lies after it; None for nothing."""
        before = tuple(_clipped(piece, piece.first, at) for piece in self.pieces if piece.since < at)
        after = tuple(_clipped(piece, at, piece.last) for piece in self.pieces if piece.until > at)
        return SpeechWindow(before) if before else None, SpeechWindow(after) if after else None

    def pauses(self) -> tuple[Stretch, ...]:
        """The pauses between the pieces, in seconds of episode time."""
        return tuple((left.until / RATE, right.since / RATE) for left, right in pairwise(self.pieces))


def lead(speech: Sequence[Stretch], start: float) -> float | None:
    """Where the first piece of a chunk ends, so that the device need not wait for all of it: in the middle of the first
    long pause after LEAD seconds, where a window ends in any case. None where there is none."""
    for (_, until), (since, _) in pairwise(speech):
        if until - start >= LEAD and since - until >= LONG_PAUSE / RATE:
            return (until + since) / 2
    return None


def compose(speech: Sequence[Stretch], held: "Samples", first: int) -> list[SpeechWindow]:
    """Windows over all speech in a piece of audio. A stretch that is longer than a window is cut where it is quietest.

    Args:
        speech: where somebody speaks, in seconds of episode time, in order, not overlapping.
        held: the samples. first: the number of the first one.
    """
    pieces = _pieces(_short_enough(speech, held, first), first, first + len(held))
    cuts = [0]
    while cuts[-1] < len(pieces):
        cuts.append(_cut(pieces, cuts[-1]))
    return _together([SpeechWindow(tuple(pieces[since:until])) for since, until in pairwise(cuts)])


def levelled(windows: Sequence[SpeechWindow], held: "Samples", first: int) -> "Samples":
    """The samples of a piece of audio with the quiet pieces of each window made louder (LOUDER)."""
    import numpy as np

    found = held.copy()
    for window in windows:
        spoken = [held[piece.since - first : piece.until - first] for piece in window.pieces]
        levels = [float(np.sqrt(np.mean(np.square(each)))) for each in spoken]
        loudest = max(levels)
        for piece, level in zip(window.pieces, levels, strict=True):
            if 0 < level < loudest:
                part = found[piece.first - first : piece.last - first]
                part *= np.float32(min(loudest / level, LOUDER))
                np.clip(part, -1, 1, out=part)
    return found


def _together(windows: Sequence[SpeechWindow]) -> list[SpeechWindow]:
    """The windows, each with little speech (ALONE) joined to the one before it, or else to the one behind it, where
    that does not get too long."""
    found: list[SpeechWindow] = []
    for window in windows:
        if found and _is_little(window, found[-1]) and found[-1].size + window.size <= LONGEST:
            found[-1] = SpeechWindow(found[-1].pieces + window.pieces)
        else:
            found.append(window)
    return found


def _is_little(*windows: SpeechWindow) -> bool:
    return any(sum(piece.until - piece.since for piece in window.pieces) < ALONE for window in windows)


def _cut(pieces: Sequence[Piece], since: int) -> int:
    """Where the window that begins with piece `since` ends: once it is long enough, in the first long pause, and what
    counts as long gets less with its length; else in the longest pause of its second half; else it takes what is left.
    """
    size = pieces[since].size
    places = []
    for n in range(since + 1, len(pieces)):
        pause = pieces[n].since - pieces[n - 1].until
        if pause >= BREAK or (size >= ENOUGH and pause >= LONG_PAUSE - EASING * (size - ENOUGH)):
            return n
        if size >= LONGEST // 2:
            places.append((pause, n))
        size += pieces[n].size
        if size > LONGEST:
            return max(places)[1] if places else n
    return len(pieces)


def quietest(held: "Samples", first: int, since: int, until: int) -> int:
    """The number of the sample in [since, until) around which a fifth of a second is quietest."""
    import numpy as np

    frames = max((until - since) // _FRAME, 1)
    part = held[since - first : since - first + frames * _FRAME]
    sums = np.abs(part[: len(part) // _FRAME * _FRAME]).reshape(-1, _FRAME).sum(axis=1, dtype=np.float64)
    if not len(sums):
        return since
    width = min(10, len(sums))
    loudness = np.convolve(sums, np.ones(width), "valid")
    return since + (int(loudness.argmin()) * _FRAME + width * _FRAME // 2)


def _short_enough(speech: Sequence[Stretch], held: "Samples", first: int) -> Iterator[tuple[int, int]]:
    """Stretches as numbers of samples inside the audio, none longer than a window."""
    longest = LONGEST - 2 * REACH
    for start, end in speech:
        since, until = max(round(start * RATE), first), min(round(end * RATE), first + len(held))
        while until - since > longest:
            pieces = -(-(until - since) // longest)
            middle = since + (until - since) // pieces
            reach = min(_SEARCHED, longest - (middle - since))
            cut = quietest(held, first, max(middle - _SEARCHED, since + _FRAME), middle + max(reach, _FRAME))
            yield since, cut
            since = cut
        if since < until:
            yield since, until


def _pieces(stretches: Iterator[tuple[int, int]], first: int, last: int) -> list[Piece]:
    bounds = list(stretches)
    edges = [first, *((left[1] + right[0]) // 2 for left, right in pairwise(bounds)), last]
    return [
        Piece(max(since - REACH, low), min(until + REACH, high), since, until)
        for (since, until), low, high in zip(bounds, edges, edges[1:], strict=False)
    ]


def _clipped(piece: Piece, first: int, last: int) -> Piece:
    low, high = max(piece.first, first), min(piece.last, last)
    return replace(piece, first=low, last=high, since=max(piece.since, low), until=min(piece.until, high))
