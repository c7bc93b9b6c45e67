"""What the provider says of this machine's near end."""

from typing import Protocol

from podinsight.domain.interruption import Notice


class Interruptions(Protocol):
    """Notices of interruption for this machine.

    - `look` answers within seconds and never raises: what cannot be asked counts as no notice, and is logged once;
    - a notice stands until the machine ends or the provider withdraws it; a stop goes before advice to rebalance.
    """

    def look(self) -> Notice | None: ...
