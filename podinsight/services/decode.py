"""Decoding on a device whose memory may not do: down a ladder of batches and models (T8)."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import BinaryIO, Final, TypeVar
from weakref import WeakKeyDictionary

from podinsight.domain.ladder import Rung, next_rung
from podinsight.domain.transcript import Part
from podinsight.errors import OutOfMemory, Permanent
from podinsight.ports import SpeechRequest, Transcriber

_log = logging.getLogger(__name__)
_Found = TypeVar("_Found")
OpenAudio = Callable[[], AbstractContextManager[BinaryIO]]
Beat = Callable[[float], None]

# By transcriber, that is by process and device: model asked for → what was found to fit instead of it, and for which
# episode.
_fitting: Final[WeakKeyDictionary[Transcriber, dict[str, tuple[Rung, str]]]] = WeakKeyDictionary()


def decode(
    transcriber: Transcriber,
    open_audio: OpenAudio,
    request: SpeechRequest,
    beat: Beat,
    smaller: Sequence[str],
    episode: str = "",
) -> Part:
    """Transcribes one chunk; where memory does not do, with half the batch down to 1, then with smaller models.

    What was found to fit is where the next chunk of this process begins; of another episode it begins with the model
    that was asked for, because memory may have been short for a moment only. The part says which model it was.

    Args:
        open_audio: opens the chunk's audio; once for every try.
        smaller: models that may be used instead, in falling size (domain.ladder.smaller_models); empty: none may.
        episode: whose chunk it is.

    Raises:
        Permanent: nothing fits; the text says what was tried and what to do. Or as ports.Transcriber says.
    """

    def run(rung: Rung) -> Part:
        with open_audio() as audio:
            return transcriber.transcribe(audio, replace(request, model=rung.model, batch=rung.batch), beat)

    return _descend(transcriber, Rung(request.model, request.batch), smaller, episode, beat, run)


def detect(
    transcriber: Transcriber, open_audio: OpenAudio, model: str, beat: Beat, smaller: Sequence[str], episode: str = ""
) -> tuple[str, float]:
    """The language, as ports.Transcriber.detect gives it, found with a smaller model where memory does not do.

    Raises: as `decode`.
    """

    def run(rung: Rung) -> tuple[str, float]:
        with open_audio() as audio:
            return transcriber.detect(audio, rung.model, beat)

    return _descend(transcriber, Rung(model, 1), smaller, episode, beat, run)


def _descend(
    transcriber: Transcriber,
    asked: Rung,
    smaller: Sequence[str],
    episode: str,
    beat: Beat,
    run: Callable[[Rung], _Found],
) -> _Found:
    rung = _first(transcriber, asked, smaller, episode)
    tried: list[Rung] = []
    while True:
        rung = rung if rung.batch else Rung(rung.model, transcriber.batch(rung.model))
        try:
            found = run(rung)
        except OutOfMemory as error:
            tried.append(rung)
            lower = next_rung(rung, smaller)
            if lower is None:
                raise Permanent(_nothing_fits(tried, smaller, error)) from error
            _log.warning("not enough memory for %s: going on with %s (%s)", _said(rung), _said(lower), error)
            rung = lower
        else:
            if tried:
                _fitting.setdefault(transcriber, {})[asked.model] = rung, episode
            return found
        beat(0.0)


def _first(transcriber: Transcriber, asked: Rung, smaller: Sequence[str], episode: str) -> Rung:
    """Where to begin: what fitted before, but no larger batch than asked for, and a smaller model for the rest of its
    episode alone. The one asked for had been tried down to batches of 1, and is tried so again."""
    fits, heard = _fitting.get(transcriber, {}).get(asked.model, (asked, episode))
    if fits.model not in (asked.model, *smaller):
        return asked
    if fits.model != asked.model and heard != episode:
        return Rung(asked.model, 1)
    return Rung(fits.model, min(fits.batch, asked.batch or fits.batch))


def _said(rung: Rung) -> str:
    return f"{rung.model} in batches of {rung.batch}" if rung.batch else rung.model


def _nothing_fits(tried: Sequence[Rung], smaller: Sequence[str], error: OutOfMemory) -> str:
    models = dict.fromkeys(rung.model for rung in tried)
    batches = {model: [str(rung.batch) for rung in tried if rung.model == model] for model in models}
    listed = "; ".join(f"{model} in batches of {', '.join(batches[model])}" for model in models)
    allow = "" if smaller else ", allow smaller models (setting smaller_models)"
    return (
        f"not enough memory to transcribe: tried {listed} ({error}). Ask for a smaller model (setting model){allow}, "
        "or use a machine with more memory"
    )
