"""The Transcriber port on faster-whisper (CTranslate2). Importing this loads none of it."""

import ctypes
import hashlib
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO, Final

from podinsight.adapters.speech_audio import RATE, WINDOW, Window, windows
from podinsight.adapters.whisper_models import WhisperOptions, find
from podinsight.domain.transcript import Part, Segment
from podinsight.errors import ConfigError, OutOfMemory, Permanent
from podinsight.ports import SpeechRequest

__all__ = ["DECODING", "WhisperOptions", "WhisperTranscriber"]

# Plain and reproducible: no sampling, and no window depends on the text of the one before.
DECODING: Final[dict[str, Any]] = {
    "beam_size": 5,
    "condition_on_previous_text": False,
    "temperature": 0.0,
    "vad_filter": True,
}
SMALL_GPU_BYTES: Final = 6 * 2**30


@dataclass(frozen=True)
class _Loaded:
    name: str
    model: Any


class WhisperTranscriber:
    """See ports.Transcriber. One model is kept per transcriber; asking for another replaces it."""

    def __init__(self, options: WhisperOptions) -> None:
        self._options = options
        self._loaded: _Loaded | None = None

    def transcribe(self, audio: BinaryIO, request: SpeechRequest, beat: Callable[[float], None]) -> Part:
        """See the port. Also raises `Transient` when the device has no memory left now."""
        began = time.perf_counter()
        device, compute_type = self._device()
        model = self._load(request.model, device, compute_type)
        hearing = _Hearing(model, request, beat)
        beat(0.0)
        for window in windows(audio, request.start, request.end, hearing.tick, request.offset):
            hearing.tick()
            hearing.hear(window)
        return Part(
            n=request.n,
            start=request.start,
            end=hearing.end,
            language=hearing.language,
            language_probability=hearing.probability,
            segments=tuple(hearing.segments),
            speech_seconds=round(hearing.speech_seconds, 3),
            wall_seconds=time.perf_counter() - began,
            device_seconds=hearing.device_seconds,
            device=device,
            compute_type=compute_type,
            model=request.model,
            profile=self.profile(request.model),
            covered_seconds=round(min(hearing.speech_seconds, sum(s.end - s.start for s in hearing.segments)), 3),
        )

    def detect(self, audio: BinaryIO, model: str, beat: Callable[[float], None]) -> tuple[str, float]:
        """See the port."""
        device, compute_type = self._device()
        loaded = self._load(model, device, compute_type)
        beat(0.0)
        known: list[str] = loaded.supported_languages
        if len(known) == 1:
            return known[0], 1.0
        for window in windows(audio, 0.0, None, lambda: beat(0.0)):
            with _translated(f"detecting the language with {model}"):
                language, probability, _all = loaded.detect_language(window.samples, vad_filter=True)
            return language, round(float(probability), 4)
        return "", 0.0

    def batch(self, model: str) -> int:
        """See the port."""
        return 1

    def device(self) -> tuple[str, str]:
        """See the port."""
        return self._device()

    def profile(self, model: str) -> tuple[tuple[str, str], ...]:
        """See the port. Raises `Permanent` when the model is not there."""
        device, compute_type = self._device()
        weights = find(model, self._options) / "model.bin"
        facts = {
            "engine": f"faster-whisper {version('faster-whisper')}",
            "runtime": f"ctranslate2 {version('ctranslate2')}",
            "device": device,
            "instructions": _instructions() if device == "cpu" else "cuda",
            "compute_type": compute_type,
            "model": model,
            "model_sha256": _sha256(weights, weights.stat().st_mtime_ns),
            "decoding": ", ".join(f"{name}={value}" for name, value in sorted(DECODING.items())),
            "window": f"{WINDOW // RATE} s",
        }
        return tuple(facts.items())

    def _device(self) -> tuple[str, str]:
        ctranslate2 = _ctranslate2()
        cuda = ctranslate2.get_cuda_device_count() if self._options.device != "cpu" else 0
        return choose(self._options, cuda, gpu_memory() if cuda else None, ctranslate2.get_supported_compute_types)

    def _load(self, name: str, device: str, compute_type: str) -> Any:
        if self._loaded is not None and self._loaded.name == name:
            return self._loaded.model
        folder = find(name, self._options)
        self._loaded = None  # first, so that there is memory for the next one
        from faster_whisper import WhisperModel

        with _translated(f"loading the speech model {name} on {device}"):
            model = WhisperModel(
                str(folder),
                device=device,
                compute_type=compute_type,
                cpu_threads=self._options.cpu_threads or _cores(),
                local_files_only=True,
            )
        self._loaded = _Loaded(name, model)
        return model


class _Hearing:
    """One request under way. The language is that of the first window in which somebody speaks."""

    def __init__(self, model: Any, request: SpeechRequest, beat: Callable[[float], None]) -> None:
        self._model, self._request, self._beat = model, request, beat
        self._asked = _language(model, request.language)
        self._done = 0.0
        self.language, self.probability = "", 0.0
        self.segments: list[Segment] = []
        self.end = request.start
        self.speech_seconds = self.device_seconds = 0.0

    def tick(self) -> None:
        self._beat(self._done)

    def hear(self, window: Window) -> None:
        began = time.perf_counter()
        name = self._request.model
        self.end = round(window.end, 3)
        with _translated(f"transcribing with {name}"):
            found, info = self._model.transcribe(window.samples, language=self._asked, **DECODING)
        if not self.speech_seconds:
            self.language, self.probability = info.language, round(float(info.language_probability), 4)
        self.speech_seconds += float(info.duration_after_vad)
        if self.speech_seconds:
            self._asked = self.language
        for raw in _each(found, name):
            segment = _segment(raw, window.start, self.end)
            if segment is not None:
                self.segments.append(segment)
            self._progress(min(raw.end + window.start, window.end))
        self.device_seconds += time.perf_counter() - began
        self._progress(window.end)

    def _progress(self, until: float) -> None:
        self._done = max(self._done, until - self._request.start)
        self._beat(self._done)


def choose(
    options: WhisperOptions, cuda_devices: int, gpu_bytes: int | None, supported: Callable[[str], set[str]]
) -> tuple[str, str]:
    """Device and compute type: CUDA when there is one and it is allowed, else the CPU with int8.

    Args:
        options: what the settings ask for.
        cuda_devices: how many CUDA devices there are.
        gpu_bytes: memory of the first one, None when unknown.
        supported: device → compute types that it can do.

    Raises:
        ConfigError: the settings ask for what is not there.
    """
    if options.device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"unknown speech device {options.device!r}: write auto, cpu or cuda")
    if options.device == "cuda" and not cuda_devices:
        raise ConfigError("the speech device is set to cuda, and there is no CUDA device: write auto or cpu")
    device = "cuda" if cuda_devices and options.device != "cpu" else "cpu"
    types = supported(device)
    if options.compute_type != "auto":
        if options.compute_type not in types:
            known = ", ".join(sorted(types))
            raise ConfigError(f"{device} cannot compute in {options.compute_type!r}: write auto or one of {known}")
        return device, options.compute_type
    wanted = ["int8"]
    if device == "cuda":
        small = gpu_bytes is not None and gpu_bytes < SMALL_GPU_BYTES
        wanted = ["int8_float16", "float16", "int8"] if small else ["float16", "int8_float16", "int8"]
    return device, next((each for each in wanted if each in types), "float32")


def gpu_memory() -> int | None:
    """Bytes of memory of the first NVIDIA GPU by its driver's own library, None when it does not say."""

    class Memory(ctypes.Structure):
        _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))

    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    device, memory = ctypes.c_void_p(), Memory()
    if nvml.nvmlInit_v2() or nvml.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(device)):
        return None
    return None if nvml.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory)) else int(memory.total)


def _segment(raw: Any, shift: float, end: float) -> Segment | None:
    text = raw.text.strip()
    if not text:
        return None
    start = min(round(raw.start + shift, 3), end)
    return Segment(
        start,
        max(min(round(raw.end + shift, 3), end), start),
        text,
        round(float(raw.avg_logprob), 6),
        round(float(raw.no_speech_prob), 6),
        round(float(raw.compression_ratio), 6),
    )


def _each(found: Any, name: str) -> Iterator[Any]:
    """faster-whisper decodes while it is being iterated: its errors come from here."""
    segments = iter(found)
    while True:
        with _translated(f"transcribing with {name}"):
            raw = next(segments, None)
        if raw is None:
            return
        yield raw


def _language(model: Any, asked: str | None) -> str | None:
    """Whisper's code for what a feed or a person wrote (`en-US` → `en`); None, to detect it, when it knows it not."""
    known: list[str] = model.supported_languages
    if len(known) == 1:
        return known[0]
    code = (asked or "").replace("_", "-").partition("-")[0].strip().lower()
    return code if code in known else None


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        raise OutOfMemory(f"{doing}: out of memory") from error
    except (RuntimeError, ValueError, OSError) as error:
        text = str(error).partition("\n")[0]
        if "out of memory" in text.lower() or "bad_alloc" in text or "alloc_failed" in text.lower():
            raise OutOfMemory(f"{doing}: out of memory ({text})") from error
        raise Permanent(f"{doing}: {text}") from error


def _ctranslate2() -> Any:
    try:
        import ctranslate2
    except ImportError as error:
        raise Permanent(f"faster-whisper does not work here ({error}): pip install 'podinsight[speech]'") from error
    return ctranslate2


def _cores() -> int:
    import psutil

    try:
        return len(psutil.Process().cpu_affinity()) or 1
    except AttributeError:  # macOS has no affinity
        return psutil.cpu_count() or 1


@lru_cache(maxsize=8)
def _sha256(path: Path, _changed: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@lru_cache(maxsize=1)
def _instructions() -> str:
    """The machine and the widest vector instructions it has: CTranslate2 rounds differently with each."""
    machine = platform.machine()
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return machine
    words = set(text.split())
    widest = next((flag for flag in ("avx512f", "avx2", "avx", "asimd") if flag in words), "plain")
    vendor = next((name for name in ("GenuineIntel", "AuthenticAMD") if name in words), "")
    return " ".join(filter(None, (machine, widest, vendor)))
