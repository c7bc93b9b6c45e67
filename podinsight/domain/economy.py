"""Economy mode (G8): what waits in it, and what is decoded by a smaller model. Pure; standard library.

When it begins and ends says domain.pool.economy; that half as many workers run in it says domain.brain.
"""

from collections.abc import Mapping, Sequence
from typing import Final

HELD_FOR_ECONOMY: Final = "economy: a long episode waits until economy mode ends"
ASKED: Final = "economy_from"  # in the params of a transcribe row: the model that was asked for


def smaller_for(params: Mapping[str, object], smaller: Sequence[str]) -> str | None:
    """The model that an episode is begun with instead; None: with the one that was asked for.

    Args:
        params: of its transcribe row.
        smaller: what this machine has below the model in the params, in falling size.

    One step is taken, once: an episode that is handed back does not sink from model to model.
    """
    return smaller[0] if smaller and ASKED not in params else None


def saving(params: Mapping[str, object], model: str) -> dict[str, object]:
    """The params of a row that is decoded by a smaller model."""
    return {**params, "model": model, ASKED: params["model"]}
