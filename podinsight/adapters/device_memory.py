"""Telling from an error of the speech engine that a device has no memory left."""

import errno
from typing import Final

# Seen of CTranslate2 4 on a CPU under a limit of address space: "mkl_malloc: failed to allocate memory" and oneDNN's
# "could not create a memory object". In its library besides: "failed to allocated memory", "CUDA failed with error"
# and CUDA's "out of memory", "CUBLAS_STATUS_ALLOC_FAILED".
_SAID: Final = (
    "out of memory",
    "bad_alloc",
    "alloc_failed",
    "failed to allocate",
    "cannot allocate memory",
    "could not create a memory object",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it means that a smaller batch or model may do."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError | OSError | ValueError) and any(said in text for said in _SAID)
