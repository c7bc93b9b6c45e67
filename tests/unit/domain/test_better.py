"""A worse transcript never replaces a better one unless told to (T6)."""

import pytest

from podinsight.domain.better import quality, worse


def said(model: str = "base", words: int = 1000, coverage: object = 0.95, doubtful: float = 0.0) -> dict[str, object]:
    shares = {"coverage": coverage, "doubtful_share": doubtful}
    return {"source": "whisper", "model": model, "words": words} | shares


def of_version_1(model: str = "base", words: int = 1000) -> dict[str, object]:
    return {"source": "whisper", "model": model, "words": words}


PUBLISHED = {"source": "publisher", "model": "publisher", "words": 1000, "coverage": None, "doubtful_share": None}


@pytest.mark.parametrize(
    ("new", "old"),
    [
        (said("tiny"), said("base")),
        (said("base.en"), said("distil-large-v3")),
        (said("small"), said("turbo")),
        (said("base, tiny"), said("base")),  # memory ran out for some of it
        (said(coverage=0.90), said()),
        (said("large-v3", coverage=0.80), said("base")),  # a larger model that has heard less
        (said(doubtful=0.1), said()),
        (said("large-v3", words=1100), PUBLISHED),
        (said("base", 500), of_version_1("base", 1000)),
        (said("tiny"), of_version_1("base")),
        (said("somebody's own", 500, None), said("somebody's own", 1000, None)),
        (said(words=0, coverage=None), said()),
        (said(words=0, coverage=None), of_version_1("base", 1)),
    ],
)
def test_what_is_worse_says_why_and_the_other_way_round_is_not(new: dict[str, object], old: dict[str, object]) -> None:
    assert "the new one" in worse(quality(new), quality(old))
    assert worse(quality(old), quality(new)) == ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (said(), said()),
        (said(coverage=0.951), said(coverage=0.949)),  # other arithmetic, the same transcript
        (said("base.en"), said("base")),
        (said(words=960), of_version_1(words=1000)),
        (said("somebody's own", coverage=0.95), said("large")),  # nobody knows its size
        (said(words=0, coverage=None), said(words=0, coverage=None)),  # silence
        (PUBLISHED, PUBLISHED),
    ],
)
def test_what_is_as_good_may_replace_and_be_replaced(one: dict[str, object], other: dict[str, object]) -> None:
    assert worse(quality(one), quality(other)) == ""
    assert worse(quality(other), quality(one)) == ""


@pytest.mark.parametrize(
    "kpis", [{}, {"words": "many"}, {"words": True}, {"words": 1, "source": 7}, {"words": 1, "model": None}]
)
def test_a_document_that_says_nothing_is_refused(kpis: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"^kpis\.json (says neither|does not say)"):
        quality(kpis)
