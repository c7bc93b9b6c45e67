"""Introduces workers to Flower.

Flower asks them for their queues once, when it starts; some of them do not listen yet then, and its broker page would
leave their queues out. So it is told to ask again a little later.
"""

import contextlib
import http.client
import threading

from podinsight.supervisor.processes import Child

ASK_AGAIN_AT = (5.0, 15.0)  # seconds of Flower's age: after a quick start of the workers, and after a slow one
_TIMEOUT_SECONDS = 5.0


class Introduction:
    """Call `tick` now and then with the Flower that runs."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._pid = 0
        self._due: list[float] = []

    def tick(self, flower: Child | None) -> bool:
        """Whether Flower was told just now."""
        if flower is None:
            return False
        if flower.pid != self._pid:
            self._pid, self._due = flower.pid, list(ASK_AGAIN_AT)
        if not self._due or flower.age() < self._due[0]:
            return False
        self._due.pop(0)
        threading.Thread(target=self._tell, name="introduce", daemon=True).start()
        return True

    def _tell(self) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_TIMEOUT_SECONDS)
            connection.request("GET", "/workers?refresh=1&json=1")
            connection.getresponse().read()
            connection.close()
