"""What the provider's bill says, a day or three late: to reconcile with, never to decide by (DESIGN.md, idea 6)."""

from typing import Protocol

from podinsight.domain.money import Micros


class Billing(Protocol):
    """The bill, without credits and refunds (G5)."""

    def day(self, day: str) -> Micros | None:
        """What a UTC day (`2026-11-22`) has cost as far as the bill knows by now; None where there is no bill at all.

        Raises:
            Unavailable: it cannot be read now.
        """
        ...
