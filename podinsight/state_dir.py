"""The state folder: made for its owner alone, since feeds' URLs and the database may hold what is private."""

import os
from pathlib import Path

from podinsight.errors import ConfigError


def make_state_dir(path: Path) -> None:
    """Makes the folder, and those above it, unless it is there.

    Raises:
        ConfigError: it cannot be made, or nothing can be written into it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        in_the_way = "is not a folder" if path.exists() else "cannot be made: there is a file in its path"
        why = in_the_way if isinstance(error, FileExistsError) else f"cannot be made: {error.strerror}"
        raise ConfigError(_said(path, why)) from error
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigError(_said(path, "cannot be written"))


def _said(path: Path, why: str) -> str:
    return f"the state folder {path} {why}; PODINSIGHT_STATE_DIR names another one"
