"""What to try next on a device without enough memory (pure): smaller batches of the same model, then smaller models."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

# Millions of parameters. Sources: the README of openai/whisper, and that of huggingface/distil-whisper.
PARAMETERS: Final = {
    "tiny": 39,
    "base": 74,
    "small": 244,
    "medium": 769,
    "large-v1": 1550,
    "large-v2": 1550,
    "large-v3": 1550,
    "large": 1550,
    "large-v3-turbo": 809,
    "turbo": 809,
    "tiny.en": 39,
    "base.en": 74,
    "small.en": 244,
    "medium.en": 769,
    "distil-small.en": 166,
    "distil-medium.en": 394,
    "distil-large-v2": 756,
    "distil-large-v3": 756,
    "distil-large-v3.5": 756,
}


@dataclass(frozen=True)
class Rung:
    """A model, and how many windows it decodes at a time."""

    model: str
    batch: int


def next_rung(rung: Rung, smaller: Sequence[str]) -> Rung | None:
    """The rung to try after `rung` did not fit: half the batch down to 1, then the next smaller model; None when
    there is none left.

    smaller: models that may be used instead of the one asked for, in falling size; empty: none may. A new model's
    batch is 0: what suits the device.
    """
    if rung.batch > 1:
        return Rung(rung.model, rung.batch // 2)
    below = smaller[smaller.index(rung.model) + 1 :] if rung.model in smaller else smaller
    return Rung(below[0], 0) if below else None


def smaller_models(asked: str, present: Collection[str]) -> tuple[str, ...]:
    """Those of the models in `present` that need less memory than `asked` and hear the same languages, in falling
    size. Empty for a model of somebody's own: nobody knows its size, nor what replaces it."""
    if asked not in PARAMETERS:
        return ()
    known = [
        model
        for model in set(present) & set(PARAMETERS)
        if PARAMETERS[model] < PARAMETERS[asked] and _english(model) == _english(asked)
    ]
    return tuple(sorted(known, key=lambda model: (-PARAMETERS[model], model)))


def _english(model: str) -> bool:
    """Distilled models were trained on English alone."""
    return model.endswith(".en") or model.startswith("distil-")
