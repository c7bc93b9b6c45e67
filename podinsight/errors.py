"""The error tree follows what the caller does next (STYLE.md, convention 7)."""


class PodinsightError(Exception):
    """Base of every error that podinsight raises on purpose; its text is meant for a person."""


class Transient(PodinsightError):
    """May pass by itself: the work row is delayed and tried again, up to its attempts.

    `retry_after` is the number of seconds the other side asked for, if it did. `ours`: the fault lies in a part of
    our own (the object store), so no attempt is charged to the unit.
    """

    def __init__(self, message: str, retry_after: float | None = None, *, ours: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.ours = ours


class OutOfMemory(Transient):
    """The device has not enough memory for this batch or model: a smaller one may do."""


class Permanent(PodinsightError):
    """Will not pass by itself: the work row fails with this reason."""


class NotThere(Permanent):
    """The server turned the request down for good: `status` is 401, 403, 404 or 410. The feed may know a fresh URL."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Busy(PodinsightError):
    """The host gate does not let us in now: the row is delayed for `seconds`, and no attempt is charged."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class GateAway(Busy):
    """The host gate itself does not answer, so nothing may be requested anywhere. Rows are delayed as by `Busy`."""


class Refused(PodinsightError):
    """Policy says no (private address, paused, draining …): nothing was done."""


class LeaseLost(PodinsightError):
    """The lease was taken back: whoever holds the old token must stop and commit nothing."""


class Abandoned(PodinsightError):
    """The process was asked to stop: the unit is handed back, no attempt is charged."""


class ConfigError(PodinsightError):
    """A setting is wrong or unknown; the text says which one and what to write instead."""


class Unavailable(PodinsightError):
    """A part of the stack that the command needs (broker, database, workers) does not answer."""
