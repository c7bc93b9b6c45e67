"""The ladder down from a device without enough memory (T8)."""

import pytest

from podinsight.domain.ladder import PARAMETERS, Rung, next_rung, smaller_models


def way_down(rung: Rung, smaller: tuple[str, ...], usual: int = 4) -> list[tuple[str, int]]:
    taken = []
    lower: Rung | None = rung
    while lower is not None:
        rung = lower if lower.batch else Rung(lower.model, usual)
        taken.append((rung.model, rung.batch))
        lower = next_rung(rung, smaller)
    return taken


def test_batches_are_halved_to_one_before_a_smaller_model_is_tried() -> None:
    assert way_down(Rung("base", 13), ("tiny",)) == [
        *(("base", batch) for batch in (13, 6, 3, 1)),
        *(("tiny", batch) for batch in (4, 2, 1)),
    ]


def test_without_smaller_models_it_ends_at_a_batch_of_one() -> None:
    assert way_down(Rung("base", 2), ()) == [("base", 2), ("base", 1)]
    assert next_rung(Rung("base", 1), ()) is None


def test_every_smaller_model_is_tried_once_in_order() -> None:
    models = [model for model, _ in way_down(Rung("large-v3", 1), ("medium", "small", "tiny"), usual=1)]
    assert models == ["large-v3", "medium", "small", "tiny"]


@pytest.mark.parametrize(
    ("asked", "present", "expected"),
    [
        ("large-v3", {"tiny", "base", "large-v3-turbo", "tiny.en"}, ("large-v3-turbo", "base", "tiny")),
        ("base.en", {"tiny.en", "tiny", "base", "small.en"}, ("tiny.en",)),
        ("medium.en", {"distil-medium.en", "distil-small.en", "small"}, ("distil-medium.en", "distil-small.en")),
        ("tiny", {"tiny", "base"}, ()),
        ("large-v3", {"large-v2"}, ()),
        ("/models/finnish", {"tiny", "base"}, ()),
        ("base", {"tiny", "finnish"}, ("tiny",)),
    ],
)  # fmt: skip
def test_smaller_models_hear_the_same_languages_and_need_less_memory(
    asked: str, present: set[str], expected: tuple[str, ...]
) -> None:
    assert smaller_models(asked, present) == expected


def test_the_table_has_every_model_that_faster_whisper_names() -> None:
    faster_whisper = pytest.importorskip("faster_whisper")
    assert set(faster_whisper.available_models()) == set(PARAMETERS)
