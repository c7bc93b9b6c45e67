import pytest

from podinsight.adapters.speech_models import choose, language_code, translated
from podinsight.adapters.whisper_models import WhisperOptions
from podinsight.errors import ConfigError, Permanent, Transient

CPU = {"float32", "int8", "int8_float32", "int16"}
GPU = {"float32", "float16", "int8", "int8_float16", "int8_float32"}
GIB = 2**30


def supported(device: str) -> set[str]:
    return GPU if device == "cuda" else CPU


@pytest.mark.parametrize(
    ("device", "compute_type", "cuda", "gpu_bytes", "expected"),
    [
        ("auto", "auto", 0, None, ("cpu", "int8")),
        ("auto", "auto", 1, 16 * GIB, ("cuda", "float16")),
        ("auto", "auto", 1, None, ("cuda", "float16")),
        ("auto", "auto", 1, 4 * GIB, ("cuda", "int8_float16")),
        ("cpu", "auto", 1, 16 * GIB, ("cpu", "int8")),
        ("cuda", "auto", 2, 16 * GIB, ("cuda", "float16")),
        ("auto", "float32", 0, None, ("cpu", "float32")),
        ("auto", "int8", 1, 16 * GIB, ("cuda", "int8")),
    ],
)
def test_the_device(
    device: str, compute_type: str, cuda: int, gpu_bytes: int | None, expected: tuple[str, str]
) -> None:
    assert choose(WhisperOptions(device, compute_type), cuda, gpu_bytes, supported) == expected


def test_an_old_gpu_computes_in_what_it_can() -> None:
    assert choose(WhisperOptions(), 1, 16 * GIB, lambda _: {"float32", "int8"}) == ("cuda", "int8")
    assert choose(WhisperOptions(), 1, 16 * GIB, lambda _: {"float32"}) == ("cuda", "float32")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (WhisperOptions("gpu"), "unknown speech device 'gpu'"),
        (WhisperOptions("cuda"), "no CUDA device"),
        (WhisperOptions("cpu", "float16"), "one of float32, int16, int8"),
    ],
)
def test_a_wrong_setting_says_what_to_write(options: WhisperOptions, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        choose(options, 0, None, supported)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("CUDA failed with error out of memory"), Transient),
        (RuntimeError("cuBLAS failed with status CUBLAS_STATUS_ALLOC_FAILED"), Transient),
        (RuntimeError("mkl_malloc: std::bad_alloc"), Transient),
        (MemoryError(), Transient),
        (RuntimeError("Library libcublas.so.12 is not found or cannot be loaded"), Permanent),
        (ValueError("Requested int8 compute type, but …"), Permanent),
    ],
)
def test_errors_of_the_engine(error: Exception, expected: type[Exception]) -> None:
    with pytest.raises(expected, match="loading"), translated("loading"):
        raise error


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("en", "en"), ("en-US", "en"), ("de_DE", "de"), (" DE ", "de"), ("xx", None), ("", None), (None, None)],
)
def test_the_language_of_a_feed(asked: str | None, expected: str | None) -> None:
    assert language_code(["en", "de"], asked) == expected
    assert language_code(["en"], asked) == "en"
