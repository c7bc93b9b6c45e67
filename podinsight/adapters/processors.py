"""This machine's processors, and how numpy's linear algebra shares them with the speech engine."""

import platform
from contextlib import AbstractContextManager
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any


def cores() -> int:
    """How many cores this process may use."""
    import psutil

    try:
        return len(psutil.Process().cpu_affinity()) or 1
    except AttributeError:  # macOS has no affinity
        return psutil.cpu_count() or 1


@lru_cache(maxsize=1)
def instructions() -> str:
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


def one_algebra_thread() -> AbstractContextManager[Any]:
    """While it is entered, numpy's products take one thread. OpenBLAS lets the other threads spin for a while after
    each product, and they take the cores from those that decode: a third of the time of a small model."""
    limited: AbstractContextManager[Any] = _algebra().limit(limits=1, user_api="blas")
    return limited


@lru_cache(maxsize=1)
def _algebra() -> Any:
    """Found once: it looks through all libraries that are loaded, so numpy has to be."""
    import_module("numpy")
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
