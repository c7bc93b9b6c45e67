"""The figures by which a run is judged (T9)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

SUCCESS_GOAL: Final = 0.98  # share of downloads that succeed: more than this (T9)
THROTTLED_GOAL: Final = 0.01  # share of requests answered 429: less than this (T9)
GPU_COST_TODAY: Final = "GPUCostToday"


@dataclass(frozen=True)
class Metric:
    """One value of one UTC day. unit: `share` (0 to 1), `GB`, `MB`, `count`, `h`, `USD` or `x` (times real
    time)."""

    name: str
    value: float
    unit: str
    dimensions: Mapping[str, str] = field(default_factory=dict)
