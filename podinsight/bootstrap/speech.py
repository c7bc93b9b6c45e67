"""The device and the models that speech is decoded with."""

from functools import cache
from pathlib import Path

from podinsight.adapters.faster_whisper_speech import WhisperTranscriber
from podinsight.adapters.whisper_models import ModelInfo, WhisperOptions, available, fetch, find
from podinsight.errors import ConfigError, Permanent
from podinsight.settings import Settings


def whisper_options(settings: Settings) -> WhisperOptions:
    """Where speech runs and where its weights are."""
    return WhisperOptions(
        device=settings.device,
        compute_type=settings.compute_type,
        cpu_threads=settings.cpu_threads,
        model_dir=settings.model_dir,
        cache_dir=settings.model_cache_dir or settings.state_dir / "models",
    )


def decoding_device(settings: Settings) -> str:
    """What this machine decodes speech on (`cpu`, `cuda`); empty when it cannot. Loads no model."""
    return _device_here(whisper_options(settings))


@cache
def _device_here(options: WhisperOptions) -> str:
    try:
        return WhisperTranscriber(options).device()[0]
    except (ConfigError, Permanent):
        return ""


def list_models(settings: Settings) -> list[ModelInfo]:
    """The speech models on this machine. Raises Permanent when the extra `speech` is not installed."""
    return available(whisper_options(settings))


def find_model(settings: Settings, name: str) -> Path:
    """The folder of a model that is on this machine. Raises Permanent, naming the three ways to get it."""
    return find(name, whisper_options(settings), download=False)


def fetch_model(settings: Settings, name: str) -> Path:
    """The folder of a model, downloaded if need be. Raises Permanent, naming the three ways to get it."""
    return fetch(name, whisper_options(settings))
