"""The cost guard: what it works with, and what it does when a stop level is reached (G3, G5)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from podinsight.domain.alerts import stop_alert
from podinsight.domain.budget import Limits
from podinsight.domain.control import GUARD, Control, Mode
from podinsight.domain.levels import Halt
from podinsight.domain.money import Micros
from podinsight.domain.pool import ECONOMY_ITEM, Rules
from podinsight.domain.prices import PriceBook
from podinsight.ports import Billing, Clock, Fleet, Notifier, ObjectStore, StatusStore


@dataclass(frozen=True)
class GuardPorts:
    """prices: the book; live prices are the fleet's own business."""

    store: StatusStore
    fleet: Fleet
    objects: ObjectStore
    clock: Clock
    notifier: Notifier
    billing: Billing
    prices: PriceBook


@dataclass(frozen=True)
class GuardRules:
    """scales: whether the fleet follows demand and budget; False: its size is fixed. speed: seconds of audio that a
    worker decodes in a second, until it was measured. model: of new transcriptions, by which speed is looked up.
    economy_hold_seconds: audio of episodes that wait while economy mode is on. halt: when items halt everything.
    economy_item: micro-dollars of one item from which to save; None: none but what its stop level makes of it."""

    limits: Limits
    fleet: Rules
    scales: bool
    speed: float
    model: str
    economy_hold_seconds: float
    halt: Halt = field(default_factory=Halt)
    economy_item: Micros | None = ECONOMY_ITEM


def freeze(store: StatusStore, why: str, key: str, mode: Mode | None = None) -> bool:
    """Freezes GPU work (mode HALTED: everything) and posts a critical alert, once for each key; CPU downloads go on
    under a freeze. Returns False when that much was stopped before, by anybody; then nothing changes."""
    written: list[Control] = []

    def stop(history: Sequence[Control]) -> Sequence[Control]:
        now = history[0] if history else Control()
        wanted = replace(now, gpu_frozen=True, mode=mode or now.mode)
        if (wanted.gpu_frozen, wanted.mode) != (now.gpu_frozen, now.mode):
            written.append(replace(wanted, by=GUARD, why=why, at=0.0))
        return written

    store.control.revise(stop, lambda was, now: stop_alert(key, was, now))
    return bool(written)


__all__ = ["GUARD", "GuardPorts", "GuardRules", "freeze"]
