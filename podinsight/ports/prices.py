"""Prices as they are now, where somebody knows them (Spot markets)."""

from typing import Protocol

from podinsight.domain.prices import Price


class LivePrices(Protocol):
    """What an hour of a machine costs now."""

    def hour(self, kind: str, zone: str) -> Price | None:
        """None: nobody has a live price for this kind; then the price book holds.

        Raises:
            Unavailable: it cannot be asked now. Who asks takes the list price, marked as estimated (G5), never nothing.
        """
        ...
