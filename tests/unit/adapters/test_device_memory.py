"""What the speech engine says when a device has no memory left: as it was seen, and from the engine itself (T8)."""

import errno
import os
import subprocess
import sys

import pytest

from podinsight.adapters.device_memory import is_out_of_memory

ENGINE = """
import resource
from pathlib import Path
import numpy
import psutil
from faster_whisper import WhisperModel
from faster_whisper.transcribe import get_ctranslate2_storage
from podinsight.adapters.device_memory import is_out_of_memory
from podinsight.adapters.whisper_models import WhisperOptions, find

model = WhisperModel(str(find("tiny.en", WhisperOptions(), download=False)), device="cpu", compute_type="int8")

def encode(batch):
    model.model.encode(get_ctranslate2_storage(numpy.zeros((batch, 80, 3000), numpy.float32)))

encode(1)
room = psutil.Process().memory_info().vms + 300 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (room, resource.RLIM_INFINITY))
try:
    encode(32)
except Exception as error:
    said = error
else:
    raise SystemExit("a batch of 32 fitted")
encode(1)
print(is_out_of_memory(said), said)
"""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("CUDA failed with error out of memory"),
        RuntimeError("cuBLAS failed with status CUBLAS_STATUS_ALLOC_FAILED"),
        RuntimeError("mkl_malloc: failed to allocate memory"),
        RuntimeError("could not create a memory object"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_out_of_memory(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA failed with error CUDA driver version is insufficient for CUDA runtime version"),
        OSError(errno.ENOSPC, "No space left on device"),
        KeyError("out of memory"),
    ],
)
def test_other_faults(error: Exception) -> None:
    assert not is_out_of_memory(error)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits address space")
def test_the_real_engine_survives_a_batch_that_does_not_fit_and_a_smaller_one_fits() -> None:
    """It raises what is known here instead of ending the process, and goes on working."""
    pytest.importorskip("faster_whisper")
    ran = subprocess.run(
        [sys.executable, "-c", ENGINE],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"OMP_NUM_THREADS": "2"},
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("True "), ran.stdout
