"""Windows of samples → text with times, on one loaded Whisper model: features, encoder, search, alignment.

On a CPU the encoder takes most of the time, and it takes fewer than its 30 seconds; but without the silence that it
was trained to see behind the speech, the decoder finds no end and begins anew. So only the speech (and a second of
silence) is encoded, and behind it comes what the encoder makes of silence, computed once a model; some seconds of it
do, and each second less is less to attend to for every token. On a GPU the encoder is cheap: there all 30 seconds are
encoded. Either way what the decoder gets for a window depends on nothing but the window, so batches of any size give
the same tokens.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from podinsight.adapters.speech_audio import RATE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from podinsight.adapters.speech_audio import Samples

    States = NDArray[np.float32]

FULL: Final = 30 * RATE
TAIL: Final = RATE  # of silence encoded behind the speech
SILENCE: Final = 5 * RATE  # behind that
# A greedy search as sure as this (average log-probability) is left as it is: a wider one finds nearly always the same.
SURE: Final = -0.2
BEAM: Final = 5
TOKENS: Final = 224  # as Whisper's own limit for half a minute; fixed, so that batches do not change it
# Tokens of hotwords and prompt: more of them and the model says what it was told instead of what it hears.
HINTED: Final = 112
_LOOP: Final = 3  # times
_HOP: Final = 160
_STATE: Final = 320  # samples behind one state of the encoder
_STEP: Final = RATE  # lengths are whole seconds, so that windows can share a batch


@dataclass(frozen=True)
class Hint:
    """What the decoder is told before it listens. prompt, hotwords: as faster-whisper takes them."""

    language: str
    prompt: str | None = None
    hotwords: str | None = None


@dataclass(frozen=True)
class Effort:
    """How the words are searched for. beam: how wide where the greedy search is not sure (SURE)."""

    beam: int = BEAM
    no_repeat: int = 0  # n-grams of this length are not said twice


@dataclass(frozen=True)
class TimedWord:
    """A word as the text has it, with its space before it; start and end in seconds of the window."""

    start: float
    end: float
    text: str
    probability: float


@dataclass(frozen=True)
class Decoded:
    """What was found in a window. limited: only the limit of tokens ended it."""

    words: tuple[TimedWord, ...]
    avg_logprob: float
    no_speech_prob: float
    tokens: int
    limited: bool


class Decoder:
    """Decodes batches of windows. What CTranslate2 raises comes through. Several threads may use it at a time.

    Args:
        model: a faster_whisper.WhisperModel.
    """

    def __init__(self, model: Any) -> None:
        import numpy as np

        self._model = model
        self._trims = model.model.device == "cpu"
        self._silence: States | None = self._encode([np.zeros(FULL, np.float32)], FULL) if self._trims else None

    def states(self, windows: "Sequence[Samples]") -> "list[States]":
        """What the decoder listens to, for each window, on the CPU: [1, number of states, size of the model]."""
        import numpy as np

        silence = self._silence
        if silence is None:
            encoded = self._encode(windows, FULL)
            return [encoded[n : n + 1] for n in range(len(windows))]
        found = []
        for samples in windows:
            own = self._encode([samples], min(_whole(len(samples) + TAIL, _STATE), FULL))
            size = min(_whole(len(samples) + TAIL + SILENCE, _STEP), FULL) // _STATE
            found.append(np.concatenate([own, silence[:, own.shape[1] : size]], axis=1))
        return found

    def language(self, states: "States") -> tuple[str, float]:
        """The most probable language of one window and its probability."""
        token, probability = self._model.model.detect_language(_view(states))[0][0]
        return str(token)[2:-2], float(probability)

    def decode(self, windows: "Sequence[Samples]", hint: Hint, effort: Effort) -> list[Decoded]:
        """What is said in each window, of at most 29 s."""
        from faster_whisper.tokenizer import Tokenizer

        model = self._model
        tokenizer = Tokenizer(model.hf_tokenizer, model.model.is_multilingual, "transcribe", hint.language)
        states = self.states(windows)
        found = []
        for samples, own, result in zip(windows, states, self._search(states, tokenizer, hint, effort), strict=True):
            said = said_once(result.sequences_ids[0])
            words = self._timed(own, tokenizer, [token for token in said if token < tokenizer.eot], len(samples))
            found.append(Decoded(words, _average(result), float(result.no_speech_prob), len(said), len(said) >= TOKENS))
        return found

    def _search(self, states: "Sequence[States]", tokenizer: Any, hint: Hint, effort: Effort) -> list[Any]:
        """Greedy, and with the beam where that is not sure; the surer of the two."""
        results = self._generate(states, tokenizer, hint, replace(effort, beam=1))
        unsure = [n for n, result in enumerate(results) if _average(result) < SURE]
        wider = self._generate([states[n] for n in unsure], tokenizer, hint, effort)
        for n, result in zip(unsure, wider, strict=True):
            results[n] = max(results[n], result, key=_average)
        return results

    def _generate(self, states: "Sequence[States]", tokenizer: Any, hint: Hint, effort: Effort) -> list[Any]:
        import numpy as np
        from faster_whisper.transcribe import get_suppressed_tokens

        prompt = _prompt(tokenizer, hint)
        alike: defaultdict[int, list[int]] = defaultdict(list)
        for n, own in enumerate(states):
            alike[own.shape[1]].append(n)
        results: list[Any] = [None] * len(states)
        for numbers in alike.values():
            found = self._model.model.generate(
                _view(np.concatenate([states[n] for n in numbers])),
                [prompt] * len(numbers),
                beam_size=effort.beam,
                no_repeat_ngram_size=effort.no_repeat,
                max_length=self._model.max_length,
                suppress_blank=True,
                suppress_tokens=get_suppressed_tokens(tokenizer, [-1]),
                return_scores=True,
                return_no_speech_prob=True,
            )
            for n, result in zip(numbers, found, strict=True):
                results[n] = result
        return results

    def _timed(self, states: "States", tokenizer: Any, text: list[int], size: int) -> tuple[TimedWord, ...]:
        """The words of a window of `size` samples with their times, by alignment: the model's attention says where it
        listened."""
        from faster_whisper.transcribe import merge_punctuations

        if not text:
            return ()
        own = _view(states[:, : min(_whole(size + TAIL, _STATE), FULL) // _STATE])
        words = self._model.find_alignment(tokenizer, [text], own, max(size // _HOP, 2))[0]
        merge_punctuations(words, "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、")
        return tuple(
            TimedWord(float(word["start"]), float(word["end"]), word["word"], float(word["probability"]))
            for word in words
            if word["word"]
        )

    def _encode(self, windows: "Sequence[Samples]", size: int) -> "States":
        import numpy as np

        model = self._model
        filled = [np.pad(samples[:size], (0, max(size - len(samples), 0))) for samples in windows]
        features = [model.feature_extractor(each, padding=0)[:, : size // _HOP] for each in filled]
        states: States = np.asarray(model.model.encode(_view(np.stack(features)), to_cpu=True))
        return states


def _prompt(tokenizer: Any, hint: Hint) -> list[int]:
    """As faster-whisper's get_prompt, but what both take together leaves room for all TOKENS: its own lets the two
    take all there is. Of hotwords the first count, of a prompt the last, as there."""
    hotwords, before = (tokenizer.encode(" " + text.strip()) if text else [] for text in (hint.hotwords, hint.prompt))
    hotwords = hotwords[: HINTED // 2 if before else HINTED]
    before = before[-(HINTED - len(hotwords)) :]
    told = [tokenizer.sot_prev, *hotwords, *before] if hotwords or before else []
    return [*told, *tokenizer.sot_sequence, tokenizer.no_timestamps]


def _view(array: "NDArray[np.float32]") -> Any:
    import ctranslate2
    import numpy as np

    return ctranslate2.StorageView.from_array(np.ascontiguousarray(array))


def said_once(tokens: list[int]) -> list[int]:
    """Tokens that only the limit has ended, without the repeats at their end: the model has found no end behind the
    speech and said its last words again and again."""
    if len(tokens) < TOKENS:
        return tokens
    for length in range(1, len(tokens) // _LOOP + 1):
        end = len(tokens)
        while end > length and tokens[end - 1] == tokens[end - 1 - length]:
            end -= 1
        if len(tokens) - end >= (_LOOP - 1) * length:
            return tokens[:end]
    return tokens


def _whole(size: int, unit: int) -> int:
    return -(-size // unit) * unit


def _average(result: Any) -> float:
    """Log-probability of a token, as faster-whisper's avg_logprob."""
    tokens = len(result.sequences_ids[0])
    return float(result.scores[0] * tokens / (tokens + 1)) if tokens else 0.0
