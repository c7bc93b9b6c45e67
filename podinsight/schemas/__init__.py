"""JSON Schemas (draft 2020-12) of what podinsight writes, one file a version: `transcript-2.json` is that of
`podinsight/transcript/2`. A shape that changes gets a new version and a new file; docs/outputs.md says what is what.
"""

import json
from functools import cache
from importlib.resources import files
from typing import Any


def names() -> list[str]:
    """`kpis-2`, `transcript-2` …, sorted."""
    found = (each.name for each in files(__name__).iterdir())
    return sorted(name.removesuffix(".json") for name in found if name.endswith(".json"))


def read(name: str) -> dict[str, Any]:
    """The schema of that name. Raises KeyError when there is none."""
    if name not in names():
        raise KeyError(f"no schema {name!r}: there are {', '.join(names())}")
    document: dict[str, Any] = json.loads(text(f"{name}.json"))
    return document


@cache
def text(file: str) -> str:
    """A file that is shipped beside the schemas."""
    return files(__name__).joinpath(file).read_text("utf-8")
