"""The language of an episode is that of its speech, not of a greeting (T3)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from podinsight.adapters.speech_ahead import SpokenPiece
from podinsight.adapters.speech_audio import RATE, Window
from podinsight.adapters.speech_decoding import Decoder
from podinsight.adapters.speech_run import LoadedModel, detected
from podinsight.adapters.speech_windows import Piece, SpeechWindow

if TYPE_CHECKING:
    from podinsight.adapters.speech_audio import Samples
    from podinsight.adapters.speech_decoding import States

LANGUAGES: Final = ("cy", "de", "en")


class Polyglot(Decoder):
    """Hears a language for each number that the samples consist of."""

    def __init__(self) -> None:
        pass

    def states(self, windows: "Sequence[Samples]") -> "list[States]":
        return [window[None, None, :1] for window in windows]

    def language(self, states: "States") -> tuple[str, float]:
        return LANGUAGES[int(states.flat[0])], 0.9


def test_the_longest_window_of_a_piece_tells_the_language() -> None:
    seconds = (1, 7, 4)
    ends = np.cumsum(seconds) * RATE
    samples = np.repeat(np.arange(3, dtype=np.float32), np.array(seconds) * RATE)
    windows = tuple(
        SpeechWindow((Piece(int(end) - size * RATE, int(end), int(end) - size * RATE, int(end)),))
        for end, size in zip(ends, seconds, strict=True)
    )
    piece = SpokenPiece(Window(0, samples), windows)
    assert detected(LoadedModel("base", None, Polyglot()), piece) == ("de", 0.9)
