"""The Transcriber port on faster-whisper (CTranslate2). Importing this loads none of it."""

import threading
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import BinaryIO, Final

from podinsight.adapters import speech_decoding, speech_hearing, speech_windows, voice_activity
from podinsight.adapters.processors import cores, instructions, one_algebra_thread
from podinsight.adapters.speech_ahead import Ahead
from podinsight.adapters.speech_audio import RATE, WINDOW
from podinsight.adapters.speech_decoding import Decoder
from podinsight.adapters.speech_models import (
    CPU_BATCH,
    batch_for,
    device,
    gpu_memory,
    language_code,
    load,
    translated,
    weights_sha256,
)
from podinsight.adapters.speech_run import LoadedModel, Run, detected
from podinsight.adapters.speech_segments import monotone, segments
from podinsight.adapters.whisper_models import WhisperOptions, find
from podinsight.domain import coverage
from podinsight.domain.transcript import Part
from podinsight.ports import SpeechRequest

__all__ = ["WhisperOptions", "WhisperTranscriber"]

GPU_CALLERS: Final = 2  # so that one prepares windows while the device decodes the other's
RULES: Final = "windows 3"  # another number whenever the rules change what is heard


class WhisperTranscriber:
    """See ports.Transcriber. One model is kept per transcriber; asking for another replaces it."""

    def __init__(self, options: WhisperOptions) -> None:
        self._options = options
        self._loaded: LoadedModel | None = None
        self._batches: dict[str, int] = {}

    def transcribe(self, audio: BinaryIO, request: SpeechRequest, beat: Callable[[float], None]) -> Part:
        """See the port."""
        began = time.perf_counter()
        kind, compute_type = self.device()
        batch = request.batch or self.batch(request.model)
        loaded = self._load(request.model)
        language = language_code(loaded.model.supported_languages, request.language)
        beat(0.0)
        run = Run(loaded, request, language, batch, self._callers(kind), beat)
        with one_algebra_thread():
            run.hear(audio)
        heard = run.result()
        found = [segment for each in heard for segment in segments(each, request.words)]
        return Part(
            n=request.n,
            start=request.start,
            end=run.end,
            language=run.language,
            language_probability=run.probability,
            segments=tuple(monotone(found, request.start, run.end)),
            speech_seconds=_total(each.window.speech_seconds for each in heard),
            wall_seconds=time.perf_counter() - began,
            device_seconds=run.busy.seconds,
            device=kind,
            compute_type=compute_type,
            model=request.model,
            profile=self.profile(request.model),
            covered_seconds=_total(each.covered_seconds for each in heard),
            redecoded_seconds=_total(each.redecoded for each in heard),
            doubtful_seconds=_total(each.doubtful_seconds for each in heard),
        )

    def detect(self, audio: BinaryIO, model: str, beat: Callable[[float], None]) -> tuple[str, float]:
        """See the port."""
        loaded = self._load(model)
        known: list[str] = loaded.model.supported_languages
        beat(0.0)
        if len(known) == 1:
            return known[0], 1.0
        stop = threading.Event()
        ahead = Ahead(audio, SpeechRequest(0, 0.0, None, model, None), stop)
        try:
            for piece in ahead.pieces(lambda: beat(0.0)):
                if piece.windows:
                    return detected(loaded, piece)
                beat(0.0)
        finally:
            ahead.close()
        return "", 0.0

    def batch(self, model: str) -> int:
        """See the port. Raises `Permanent` when the model is not there."""
        if self.device()[0] == "cpu":
            return CPU_BATCH
        if model not in self._batches:
            here = self._loaded is not None and self._loaded.name == model
            weights = 0 if here else (find(model, self._options) / "model.bin").stat().st_size
            memory = gpu_memory()
            self._batches[model] = batch_for(weights, memory[1] if memory else None)
        return self._batches[model]

    def device(self) -> tuple[str, str]:
        """See the port."""
        return device(self._options)

    def profile(self, model: str) -> tuple[tuple[str, str], ...]:
        """See the port. Raises `Permanent` when the model is not there."""
        kind, compute_type = self.device()
        facts = {
            "engine": f"faster-whisper {version('faster-whisper')}",
            "runtime": f"ctranslate2 {version('ctranslate2')}",
            "device": kind,
            "instructions": instructions() if kind == "cpu" else "cuda",
            "compute_type": compute_type,
            "model": model,
            "model_sha256": weights_sha256(find(model, self._options) / "model.bin"),
            "decoding": _decoding(),
            "window": f"{WINDOW // RATE} s",
        }
        return tuple(facts.items())

    def _callers(self, kind: str) -> int:
        return (self._options.cpu_threads or cores()) if kind == "cpu" else GPU_CALLERS

    def _load(self, name: str) -> LoadedModel:
        if self._loaded is not None and self._loaded.name == name:
            return self._loaded
        kind, compute_type = self.device()
        self._loaded = None  # first, so that there is memory for the next one
        model = load(name, self._options, kind, compute_type, self._callers(kind))
        with translated(f"loading the speech model {name} on {kind}"):
            self._loaded = LoadedModel(name, model, Decoder(model))
        return self._loaded


def _total(seconds: Iterator[float]) -> float:
    return round(sum(seconds), 3)


def _decoding() -> str:
    """The rules that decide what is heard, with their constants."""
    facts = {
        "beam": speech_decoding.BEAM,
        "sure": speech_decoding.SURE,
        "tokens": speech_decoding.TOKENS,
        "hinted": speech_decoding.HINTED,
        "tail": f"{speech_decoding.TAIL / RATE:g} s",
        "silence": f"{speech_decoding.SILENCE / RATE:g} s",
        "enough": f"{speech_windows.ENOUGH / RATE:g} s",
        "long_pause": f"{speech_windows.LONG_PAUSE / RATE:g} s",
        "easing": speech_windows.EASING,
        "louder": speech_windows.LOUDER,
        "lead": f"{speech_windows.LEAD:g} s",
        "longest": f"{speech_windows.LONGEST / RATE:g} s",
        "reach": f"{speech_windows.REACH / RATE:g} s",
        "break": f"{speech_windows.BREAK / RATE:g} s",
        "depth": speech_hearing.DEPTH,
        "no_repeat": speech_hearing.NO_REPEAT,
        "missing": f"{coverage.MISSING_SECONDS:g} s",
        "logprob": coverage.LOGPROB,
        "crowded": f"{coverage.CROWDED_LETTERS_A_SECOND:g} letters/s",
        "compression": coverage.COMPRESSION,
        "speech": ", ".join(
            f"{name} {said}" for name, said in voice_activity.profile() if name.endswith(("old", "ms"))
        ),
    }
    return "; ".join([RULES, *(f"{name}={said}" for name, said in facts.items())])
