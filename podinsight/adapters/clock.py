"""The Clock port."""

import time


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        return time.time()
