"""What the scripted cutter and transcriber take for audio: bytes at 64 kbit/s, and chunks of them with a label."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from podinsight.errors import Permanent
from podinsight.ports import Stretch

BYTES_PER_SECOND: Final = 8000
PAUSE_EVERY: Final = 20  # seconds; the last of them end in a pause, so that there is where to cut
PAUSE: Final = 0.6
MINUTE: Final = 60 * BYTES_PER_SECOND
_LABEL: Final = b"scripted chunk "


@dataclass(frozen=True)
class Recording:
    """An episode, or a chunk of one: what it holds of episode time [start, end), and where somebody speaks in it.

    digest: of the whole episode, also in a chunk. skip: bytes of the file before the sound.
    """

    digest: bytes
    start: float
    end: float
    speech: tuple[Stretch, ...]
    skip: int = 0


def read(audio: BinaryIO, beat: Callable[[], None]) -> Recording:
    """Reads all of it in bounded memory. Speech is in every second that is not all zeros, but for the pauses.

    Raises:
        Permanent: the bytes are none, or start with `unreadable`.
    """
    audio.seek(0)
    head = audio.read(MINUTE)
    if head.startswith(b"unreadable"):
        raise Permanent("unreadable audio: it says so itself")
    if head.startswith(_LABEL):
        return _labelled(audio, head[: head.index(b"\n") + 1], beat)
    audio.seek(0)
    digest, size = hashlib.sha256(), 0
    heard: list[Stretch] = []
    for second in _seconds(audio, beat):
        digest.update(second)
        at, size = size // BYTES_PER_SECOND, size + len(second)
        if second.strip(b"\0"):
            _add(heard, at, size)
    if not size:
        raise Permanent("unreadable audio: nothing in it could be decoded")
    return Recording(digest.digest(), 0.0, _clock(size), tuple(heard))


def label(whole: Recording, start: float, end: float) -> bytes:
    """The first line of a chunk's file; the bytes of [start, end) follow it."""
    facts = {"digest": whole.digest.hex(), "start": start, "speech": within(whole.speech, start, end)}
    return _LABEL + json.dumps(facts).encode() + b"\n"


def within(speech: tuple[Stretch, ...], start: float, end: float) -> list[Stretch]:
    """The parts of `speech` that lie in [start, end)."""
    return [(max(since, start), min(until, end)) for since, until in speech if since < end and until > start]


def _labelled(audio: BinaryIO, first: bytes, beat: Callable[[], None]) -> Recording:
    audio.seek(len(first))
    facts = json.loads(first.removeprefix(_LABEL))
    size = sum(len(second) for second in _seconds(audio, beat))
    start = float(facts["start"])
    speech = tuple((float(since), float(until)) for since, until in facts["speech"])
    end = _clock(round(start * BYTES_PER_SECOND) + size)
    return Recording(bytes.fromhex(facts["digest"]), start, end, speech, len(first))


def _seconds(audio: BinaryIO, beat: Callable[[], None]) -> Iterator[bytes]:
    held = b""
    while data := audio.read(MINUTE):
        held += data
        whole = len(held) // BYTES_PER_SECOND * BYTES_PER_SECOND
        for at in range(0, whole, BYTES_PER_SECOND):
            yield held[at : at + BYTES_PER_SECOND]
        held = held[whole:]
        beat()
    if held:
        yield held


def _add(heard: list[Stretch], second: int, until: int) -> None:
    end = _clock(until)
    if second % PAUSE_EVERY == PAUSE_EVERY - 1:
        end = min(end, round(second + 1 - PAUSE, 3))
    if heard and heard[-1][1] == second:
        heard[-1] = (heard[-1][0], end)
    else:
        heard.append((float(second), end))


def _clock(size: int) -> float:
    return round(size / BYTES_PER_SECOND, 3)
