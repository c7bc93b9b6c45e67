"""Days and months of money: UTC, `2026-11-22` and `2026-11`."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

_DAY: Final = "%Y-%m-%d"
_SECONDS: Final = 86400
"""Of a POSIX day: epoch time knows no leap seconds."""


def day_of(at: float) -> str:
    """The UTC day of an epoch time, rounded down: `fromtimestamp` alone may round up, over midnight."""
    return datetime.fromtimestamp(at // _SECONDS * _SECONDS, UTC).date().isoformat()


def month_of(at: float) -> str:
    """The UTC month of an epoch time."""
    return month_of_day(day_of(at))


def month_of_day(day: str) -> str:
    """`2026-11` of `2026-11-22`.

    Raises:
        ValueError: not a day written like this.
    """
    begins_at(day)
    return day[:7]


@lru_cache(maxsize=128)
def begins_at(day: str) -> float:
    """The epoch time at which a UTC day begins. Raises ValueError for what is no day like `2026-11-22`."""
    found = datetime.strptime(day, _DAY).replace(tzinfo=UTC)
    if found.date().isoformat() != day:  # strftime writes the year 1 as `1`, or not, by the platform
        raise ValueError(f"{day!r} is no day like 2026-11-22")
    return found.timestamp()


def next_day(day: str) -> str:
    """The day after. Raises ValueError like `begins_at`."""
    return (datetime.fromtimestamp(begins_at(day), UTC) + timedelta(days=1)).date().isoformat()


def split_at_midnight(start: float, end: float) -> list[tuple[str, float]]:
    """The UTC days that [start, end) (epoch seconds) touches, in order, and how many seconds of each; empty when
    `end` is not after `start`."""
    pieces: list[tuple[str, float]] = []
    while start < end:
        day = day_of(start)
        until = min(end, begins_at(next_day(day)))
        pieces.append((day, until - start))
        start = until
    return pieces
