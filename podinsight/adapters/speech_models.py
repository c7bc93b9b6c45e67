"""Loading speech models: the device, what fits it, what the engine's errors mean. Importing this loads nothing."""

import ctypes
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from podinsight.adapters.device_memory import is_out_of_memory
from podinsight.adapters.whisper_models import WhisperOptions, find
from podinsight.errors import ConfigError, OutOfMemory, Permanent

SMALL_GPU_BYTES: Final = 6 * 2**30
LARGEST_BATCH: Final = 32
_RESERVED: Final = 512 * 2**20
# Bytes of a window under beam search for each byte of weights as they lie on disk (half precision): large-v3 takes
# about half a gigabyte a window and three gigabytes of weights, and what a window takes grows as the weights do.
_WINDOW_SHARE: Final = 0.2
# Of the cores each decodes windows of its own with a model of one thread: larger batches bring little there.
CPU_BATCH: Final = 4


def device(options: WhisperOptions) -> tuple[str, str]:
    """Device and compute type on this machine; raises as `choose`, and `Permanent` without the speech engine."""
    engine = ctranslate2()
    cuda = engine.get_cuda_device_count() if options.device != "cpu" else 0
    memory = gpu_memory() if cuda else None
    return choose(options, cuda, memory[0] if memory else None, engine.get_supported_compute_types)


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


def load(name: str, options: WhisperOptions, device: str, compute_type: str, threads: int) -> Any:
    """A faster_whisper.WhisperModel that `threads` threads may use at a time; on the CPU each computes by itself, which
    makes more of the cores than one that computes with all of them.

    Raises:
        Permanent: the model is not there or damaged. OutOfMemory: it does not fit.
    """
    folder = find(name, options)
    from faster_whisper import WhisperModel

    with translated(f"loading the speech model {name} on {device}"):
        return WhisperModel(
            str(folder),
            device=device,
            compute_type=compute_type,
            cpu_threads=1,
            num_workers=threads if device == "cpu" else 1,
            local_files_only=True,
        )


def batch_for(weights: int, free: int | None) -> int:
    """How many windows at a time fit into `free` bytes of a GPU's memory, from which `weights` bytes are still to be
    taken; 8 when nobody says how much there is."""
    if free is None:
        return 8
    window = max(int(weights * _WINDOW_SHARE), 16 * 2**20)
    return min(max((free - weights - _RESERVED) // window, 1), LARGEST_BATCH)


def gpu_memory() -> tuple[int, int] | None:
    """Bytes of memory of the first NVIDIA GPU and how many are free, by its driver's own library; None when it does
    not say."""

    class Memory(ctypes.Structure):
        _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))

    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    handle, memory = ctypes.c_void_p(), Memory()
    if nvml.nvmlInit_v2() or nvml.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(handle)):
        return None
    if nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)):
        return None
    return int(memory.total), int(memory.free)


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turns what the engine raises into `OutOfMemory` or `Permanent`, which say what was being done."""
    try:
        yield
    except (MemoryError, RuntimeError, ValueError, OSError) as error:
        text = str(error).partition("\n")[0]
        if is_out_of_memory(error):
            raise OutOfMemory(f"{doing}: out of memory" + (f" ({text})" if text else "")) from error
        raise Permanent(f"{doing}: {text}") from error


def language_code(known: list[str], asked: str | None) -> str | None:
    """Whisper's code for what a feed or a person wrote (`en-US` → `en`); None, to detect it, when it knows it not."""
    if len(known) == 1:
        return known[0]
    code = (asked or "").replace("_", "-").partition("-")[0].strip().lower()
    return code if code in known else None


def ctranslate2() -> Any:
    """The engine. Raises `Permanent` when it is not installed."""
    try:
        import ctranslate2 as engine
    except ImportError as error:
        raise Permanent(f"faster-whisper does not work here ({error}): pip install 'podinsight[speech]'") from error
    return engine


def weights_sha256(path: Path) -> str:
    """Of a file of weights; computed once for each version of it."""
    return _sha256(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _sha256(path: Path, _changed: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
