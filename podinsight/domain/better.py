"""Which of two transcripts of an episode is the better one (T6). Pure: a stated score over their kpis.json.

score = coverage − doubtful_share / 2 + 0.02 × size, with sizes tiny 0, base 1, small 2, medium 3, large 4; what a
publisher wrote and passed the check (F12) scores above every model: 1 + 0.02 × 5. A step in size is worth two
hundredths of the speech: a choice of ours, so that missing words weigh more than the model that missed them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from podinsight.domain.transcript import PUBLISHER

SIZES: Final = ("tiny", "base", "small", "medium", "large")
SIZE_WORTH: Final = 0.02
AS_GOOD: Final = 0.005  # of the score: what another machine's arithmetic may change
FEWER_WORDS: Final = 0.9  # of the words that were there, where coverage cannot be compared

_PUBLISHER_SIZE: Final = float(len(SIZES))
_NAMES: Final = re.compile(r"(?<![a-z])(tiny|base|small|medium|large|turbo)(?![a-z])")


@dataclass(frozen=True)
class Quality:
    """What is known of how good a transcript is. size: index in SIZES of its smallest model, None when nobody knows.

    coverage: share of the speech that has words; doubtful: share of the speech whose words are in doubt.
    """

    source: str
    size: float | None
    coverage: float | None
    doubtful: float
    words: int

    def score(self, size: float, coverage: float) -> float:
        return coverage - self.doubtful / 2 + SIZE_WORTH * size


def quality(kpis: Mapping[str, object]) -> Quality:
    """Of a kpis.json of any version; what it does not say is not known.

    Raises:
        ValueError: it says nothing that could be compared.
    """
    source, model, words = kpis.get("source", ""), kpis.get("model", ""), kpis.get("words")
    if not isinstance(source, str) or not isinstance(model, str) or isinstance(words, bool):
        raise ValueError("kpis.json says neither source nor model")
    if not isinstance(words, int):
        raise ValueError("kpis.json does not say how many words there are")
    if source == PUBLISHER:
        return Quality(source, _PUBLISHER_SIZE, 1.0, 0.0, words)
    sizes = [_size(name) for name in model.split(",")]
    known = [size for size in sizes if size is not None]
    size = min(known) if len(known) == len(sizes) else None
    return Quality(source, size, _share(kpis, "coverage"), _share(kpis, "doubtful_share") or 0.0, words)


def worse(new: Quality, old: Quality) -> str:
    """Why `new` must not replace `old`; empty when it may, because it is better or as good.

    What is not known of one of the two counts as equal; the words are counted then, so that a transcript does not lose
    to a larger model that has heard less.
    """
    if new.words == 0 and old.words > 0:
        return f"the new one has no words, this one {old.words}"
    sizes = (0.0, 0.0) if new.size is None or old.size is None else (new.size, old.size)
    measured = new.coverage is not None and old.coverage is not None
    covered = (new.coverage or 0.0, old.coverage or 0.0) if measured else (1.0, 1.0)
    scores = new.score(sizes[0], covered[0]), old.score(sizes[1], covered[1])
    if scores[0] < scores[1] - AS_GOOD:
        return f"the new one scores {scores[0]:.3f}, this one {scores[1]:.3f}"
    if not measured and new.words < FEWER_WORDS * old.words:
        return f"the new one has {new.words} words, this one {old.words}"
    return ""


def _size(model: str) -> float | None:
    found = _NAMES.search(model.strip().lower())
    if found is None:
        return None
    return float(SIZES.index("large" if found.group() == "turbo" else found.group()))


def _share(kpis: Mapping[str, object], name: str) -> float | None:
    value = kpis.get(name)
    return None if isinstance(value, bool) or not isinstance(value, int | float) else float(value)
