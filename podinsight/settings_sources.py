"""Where settings come from: names in the environment, their old aliases, and the TOML file. Pure but for the file."""

import difflib
import sys
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from podinsight.errors import ConfigError

PREFIX: Final = "PODINSIGHT_"
CONFIG: Final = "PODINSIGHT_CONFIG"
CONFIG_NAME: Final = "podinsight.toml"

ALIASES: Final = {
    "DATABASE_URL": "database_url",
    "WHISPER_DEVICE": "device",
    "WHISPER_CACHE_DIR": "model_cache_dir",
    "OPENAI_API_KEY": "llm_api_key",
    "LLM_BATCH_SIZE": "llm_batch_size",
    "LLM_TIMEOUT": "llm_timeout_seconds",
    "AWS_REGION": "s3_region",
}
BUCKET_ALIASES: Final = {"S3_SOURCE_BUCKET": "raw_url", "S3_CLIPS_BUCKET": "clips_url"}
OLD_NAMES: Final = (
    *((old, f"`{PREFIX}{new.upper()}`") for old, new in ALIASES.items()),
    *((old, f"`{PREFIX}{new.upper()}=s3://BUCKET`") for old, new in BUCKET_ALIASES.items()),
    ("REDIS_HOST", f"`{PREFIX}REDIS_URL=redis://HOST:6379/0`"),
    ("REDIS_PORT", "the port in that URL, read together with `REDIS_HOST` only"),
    ("USE_AWS", f"`{PREFIX}OBJECTS_URL=s3://BUCKET`; refused when it is true and that is not set"),
)
CELERY_DOORS: Final = ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL")
_CHECKOUT: Final = Path(__file__).resolve().parent.parent
_PATHS: Final = ("state_dir", "model_dir", "model_cache_dir")


@dataclass
class Layer:
    """Raw values by field, where each came from, and what was wrong on the way."""

    values: dict[str, object] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def put(self, name: str, value: object, source: str) -> None:
        self.values[name] = value
        self.sources[name] = source

    def over(self, lower: "Layer") -> "Layer":
        """This layer on top of another."""
        return Layer({**lower.values, **self.values}, {**lower.sources, **self.sources}, [*self.faults, *lower.faults])


def variable(name: str) -> str:
    """The environment name of a field."""
    return f"{PREFIX}{name.upper()}"


def closest(name: str, known: Collection[str]) -> str:
    return difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.0)[0]


def environment_layer(environ: Mapping[str, str], names: Collection[str]) -> Layer:
    """Values from PODINSIGHT_* names and, where those are missing, from old names. An empty value counts as not set."""
    layer = Layer()
    known = {variable(name): name for name in names}
    given = {name: value.strip() for name, value in environ.items() if value.strip()}
    for name, value in sorted(given.items()):
        if name in known:
            layer.put(known[name], value, f"environment {name}")
        elif name.upper().startswith(PREFIX) and name != CONFIG:
            layer.faults.append(
                f"{name} is unknown; the closest known name is {closest(name.upper(), [*known, CONFIG])}"
            )
    for name, value, source in _old_values(given):
        if name in names and name not in layer.values:
            layer.put(name, value, f"environment {source}")
    return layer


def _old_values(given: Mapping[str, str]) -> list[tuple[str, str, str]]:
    values = [(new, given[old], old) for old, new in ALIASES.items() if old in given]
    values += [(new, f"s3://{given[old]}", old) for old, new in BUCKET_ALIASES.items() if old in given]
    if "REDIS_HOST" in given:
        # Kubernetes sets REDIS_PORT=tcp://10.0.0.1:6379 for a service that is called redis.
        port = given.get("REDIS_PORT", "6379").rpartition(":")[2]
        values.append(("redis_url", f"redis://{given['REDIS_HOST']}:{port}/0", "REDIS_HOST"))
    return values


def default_state_dir(environ: Mapping[str, str]) -> Path:
    """`.podinsight` in the checkout, or the platform's place for a user's data when podinsight is installed."""
    if (_CHECKOUT / "pyproject.toml").is_file():
        return _CHECKOUT / ".podinsight"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "podinsight"
    data = environ.get("XDG_DATA_HOME", "")
    return (Path(data) if Path(data).is_absolute() else Path.home() / ".local" / "share") / "podinsight"


def use_aws_faults(environ: Mapping[str, str], values: Mapping[str, object]) -> list[str]:
    """USE_AWS alone used to choose S3; ignoring it would quietly put the objects in a local folder."""
    wanted = environ.get("USE_AWS", "").strip().lower() not in ("", "0", "false", "no", "off", "n", "f")
    if wanted and "objects_url" not in values:
        return [f"USE_AWS is gone: write {variable('objects_url')}=s3://BUCKET"]
    return []


def celery_faults(environ: Mapping[str, str]) -> list[str]:
    """Celery lets these override its configuration: a second door, through which processes would disagree."""
    return [
        f"{name} would go round podinsight's settings: unset it, and write {variable('redis_url')}=redis://HOST:6379/0"
        for name in CELERY_DOORS
        if environ.get(name)
    ]


def config_path(environ: Mapping[str, str], state_dir: Path) -> Path | None:
    """The TOML file to read, if there is one.

    Raises:
        ConfigError: PODINSIGHT_CONFIG names no file.
    """
    named = environ.get(CONFIG, "").strip()
    if not named:
        default = state_dir / CONFIG_NAME
        return default if default.is_file() else None
    path = Path(named).expanduser().absolute()
    if not path.is_file():
        raise ConfigError(
            f"{CONFIG}={named}: " + ("is a folder, not a file" if path.is_dir() else "there is no such file")
        )
    return path


def file_layer(path: Path, names: Collection[str]) -> Layer:
    """Values from a TOML file; its relative paths are relative to its folder.

    Raises:
        ConfigError: the file cannot be read or is no TOML.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML: {error}") from error
    layer = Layer()
    for key, value in content.items():
        if key not in names:
            layer.faults.append(f"{key} in {path} is unknown; the closest known name is {closest(key, names)}")
        elif key in _PATHS and isinstance(value, str) and value:
            layer.put(key, path.parent / Path(value).expanduser(), f"file {path}")
        else:
            layer.put(key, value, f"file {path}")
    return layer
