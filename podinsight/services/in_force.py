"""The stop levels that the running stack holds: a shell whose settings say otherwise changes nothing there (G3, G7)."""

from collections.abc import Mapping
from typing import Final

from podinsight.domain.budget import Ceilings, Scope
from podinsight.ports import StatusStore

NAME: Final = "ceilings"  # under which they are kept, by those who hold them


def say(store: StatusStore, ceilings: Ceilings, now: float) -> None:
    """Leaves word of the stop levels by which work is claimed here, at this moment (epoch seconds)."""
    store.memory.remember(NAME, {"at": now, "micros": {scope.value: ceilings.get(scope) for scope in Scope}})


def held(store: StatusStore, now: float, seconds: float) -> Ceilings | None:
    """The stop levels of the stack as it last said them; None where nothing was said for so many seconds: none runs."""
    kept = store.memory.recall(NAME) or {}
    at, found = kept.get("at"), kept.get("micros")
    if not isinstance(at, float | int) or not isinstance(found, Mapping) or now - at > seconds:
        return None
    return {scope: most for scope in Scope if isinstance(most := found.get(scope.value), int)}
