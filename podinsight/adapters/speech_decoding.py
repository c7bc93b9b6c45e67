"""Windows of samples → text with times, on one loaded Whisper model: features, encoder, beam search, alignment.

On a CPU the encoder takes most of the time, and it takes fewer than its 30 seconds; but without the silence that it
was trained to see behind the speech, the decoder finds no end and begins anew. So only the speech (and a second of
silence) is encoded, and the rest of the 30 seconds is what the encoder makes of silence, computed once a model. On a
GPU the encoder is cheap: there the silence is encoded too. Either way what the decoder gets for a window has one
shape and depends on nothing but the window, so batches of any size give the same tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from podinsight.adapters.speech_audio import RATE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from podinsight.adapters.speech_audio import Samples

    States = NDArray[np.float32]

FULL: Final = 30 * RATE
TAIL: Final = RATE  # of silence behind the speech
BEAM: Final = 5
TOKENS: Final = 224  # as Whisper's own limit for half a minute; fixed, so that batches do not change it
_HOP: Final = 160
_STATE: Final = 320  # samples behind one state of the encoder


@dataclass(frozen=True)
class Hint:
    """What the decoder is told before it listens. prompt, hotwords: as faster-whisper takes them."""

    language: str
    prompt: str | None = None
    hotwords: str | None = None


@dataclass(frozen=True)
class Effort:
    """How the words are searched for."""

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

    def states(self, windows: "Sequence[Samples]") -> "States":
        """[n, 1500, size of the model]: what the decoder listens to, on the CPU."""
        import numpy as np

        if self._silence is None:
            return self._encode(windows, FULL)
        full = [
            np.concatenate([own, self._silence[:, own.shape[1] : _filled(own.shape[1])]], axis=1)
            for own in map(self._trimmed, windows)
        ]
        return np.concatenate(full)

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
        results = self._generate(states, tokenizer, hint, effort)
        texts = [[token for token in result.sequences_ids[0] if token < tokenizer.eot] for result in results]
        frames = [max(len(samples) // _HOP, 2) for samples in windows]
        timed = self._timed(states, tokenizer, texts, frames)
        return [_decoded(result, words) for result, words in zip(results, timed, strict=True)]

    def _generate(self, states: "States", tokenizer: Any, hint: Hint, effort: Effort) -> Any:
        from faster_whisper.transcribe import get_suppressed_tokens

        before = tokenizer.encode(" " + hint.prompt.strip()) if hint.prompt else []
        prompt = self._model.get_prompt(tokenizer, before, without_timestamps=True, hotwords=hint.hotwords)
        return self._model.model.generate(
            _view(states),
            [prompt] * len(states),
            beam_size=effort.beam,
            no_repeat_ngram_size=effort.no_repeat,
            max_length=min(len(prompt) + TOKENS, self._model.max_length),
            suppress_blank=True,
            suppress_tokens=get_suppressed_tokens(tokenizer, [-1]),
            return_scores=True,
            return_no_speech_prob=True,
        )

    def _timed(
        self, states: "States", tokenizer: Any, texts: list[list[int]], frames: list[int]
    ) -> list[tuple[TimedWord, ...]]:
        """The words of each window with their times, by alignment: the model's attention says where it listened."""
        from faster_whisper.transcribe import merge_punctuations

        spoken = [index for index, text in enumerate(texts) if text]
        found: list[tuple[TimedWord, ...]] = [()] * len(texts)
        if not spoken:
            return found
        chosen = _view(states[spoken])
        aligned = self._model.find_alignment(
            tokenizer, [texts[index] for index in spoken], chosen, [frames[index] for index in spoken]
        )
        for index, words in zip(spoken, aligned, strict=True):
            merge_punctuations(words, "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、")
            found[index] = tuple(
                TimedWord(float(word["start"]), float(word["end"]), word["word"], float(word["probability"]))
                for word in words
                if word["word"]
            )
        return found

    def _trimmed(self, samples: "Samples") -> "States":
        size = min(-(-(len(samples) + TAIL) // _STATE) * _STATE, FULL)
        return self._encode([samples], size)

    def _encode(self, windows: "Sequence[Samples]", size: int) -> "States":
        import numpy as np

        model = self._model
        filled = [np.pad(samples[:size], (0, max(size - len(samples), 0))) for samples in windows]
        features = [model.feature_extractor(each, padding=0)[:, : size // _HOP] for each in filled]
        states = np.asarray(model.model.encode(_view(np.stack(features)), to_cpu=True))
        return states


SILENCE = 1500
BUCKET = 250


def _filled(size: int) -> int:
    return min(-(-(size + SILENCE) // BUCKET) * BUCKET, 1500)


def _view(array: "NDArray[np.float32]") -> Any:
    import ctranslate2
    import numpy as np

    return ctranslate2.StorageView.from_array(np.ascontiguousarray(array))


def _decoded(result: Any, words: tuple[TimedWord, ...]) -> Decoded:
    tokens = len(result.sequences_ids[0])
    average = result.scores[0] * tokens / (tokens + 1) if tokens else 0.0  # as faster-whisper's avg_logprob
    return Decoded(words, float(average), float(result.no_speech_prob), tokens, tokens >= TOKENS)
