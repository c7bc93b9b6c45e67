"""Money: whole micro-dollars, never floats; what costs is counted in whole units and rounded up."""

import re
from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from enum import StrEnum
from typing import Final

Micros = int  # micro-dollars: 1 USD = 1_000_000

DOLLAR: Final[Micros] = 1_000_000
MOST: Final[Micros] = 10**15  # a billion dollars: whatever is more was mistyped, and sums of it would not fit a column


_THOUSANDS: Final = re.compile(r"[1-9]\d{0,2}(,\d{3})+(\.\d+)?")


class Unit(StrEnum):
    """What quantities in the ledger count, in whole numbers."""

    MILLISECONDS = "ms"
    BYTES = "bytes"
    MEGABYTE_HOURS = "MB-hours"
    METRIC_HOURS = "metric-h"
    TOKENS = "tokens"
    EACH = "each"


# How many units a price is for: an hour; a GB; a GB, and a metric, for a month of 730 hours; a million tokens; one.
PRICED: Final[Mapping[Unit, int]] = {
    Unit.MILLISECONDS: 3_600_000,
    Unit.BYTES: 10**9,
    Unit.MEGABYTE_HOURS: 730_000,
    Unit.METRIC_HOURS: 730,
    Unit.TOKENS: 10**6,
    Unit.EACH: 1,
}


def micros(usd: str | Decimal | int) -> Micros:
    """Micro-dollars of dollars; what is finer is rounded up.

    Raises:
        ValueError: no number, below zero, or more than a billion.
    """
    try:
        amount = Decimal(usd)
    except InvalidOperation:
        raise ValueError(f"{usd!r} is no number of dollars") from None
    if not amount.is_finite() or not 0 <= amount <= MOST // DOLLAR:  # a product might overflow
        raise ValueError(f"{usd!r} is not between 0 and {MOST // DOLLAR} dollars")
    return int((amount * DOLLAR).to_integral_value(ROUND_CEILING))


def parse_usd(text: str) -> Micros:
    """Micro-dollars of what a person writes: `3`, `$2.50`, `1,000.00`. A comma stands before three digits alone: who
    means cents by it must not get a hundred times as much. Raises ValueError like `micros`."""
    amount = text.strip().removeprefix("$")
    if "_" in amount or ("," in amount and not _THOUSANDS.fullmatch(amount)):
        raise ValueError(f"{text!r} is no number of dollars: write 2.50, with a point before the cents")
    return micros(amount.replace(",", ""))


def usd(amount: Micros) -> str:
    """`$1.50`, `$1.234567`: two places at least, and as many as it needs; a minus stands before the sign."""
    whole, rest = divmod(abs(amount), DOLLAR)
    places = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"{'-' if amount < 0 else ''}${whole:,}.{places}"


def milliseconds(seconds: float) -> int:
    """Whole milliseconds of a time as it is written in decimals, rounded up.

    Raises:
        ValueError: below zero or not finite.
    """
    exact = Decimal(str(seconds))
    if not exact.is_finite() or exact < 0:
        raise ValueError(f"{seconds} seconds cannot be paid for")
    return int((exact * 1000).to_integral_value(ROUND_CEILING))


def cost(seconds: float, hour_micros: Micros) -> Micros:
    """What so many seconds cost at a price an hour. Formula: ⌈ms × price ÷ 3,600,000⌉, in whole numbers."""
    return cost_of(milliseconds(seconds), Unit.MILLISECONDS, hour_micros)


def cost_of(quantity: int, unit: Unit, price: Micros) -> Micros:
    """What a quantity costs at the price of its unit (`PRICED`), rounded up.

    Raises:
        ValueError: a quantity or a price below zero.
    """
    if quantity < 0 or price < 0:
        raise ValueError(f"{quantity} {unit} at {price} micro-dollars cannot be paid for")
    return -(-quantity * price // PRICED[unit])
