"""Leases of the host gate that this process holds: renewed together, and given up in time by our own clock."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from podinsight.domain.hosts import HostRule
from podinsight.errors import PodinsightError
from podinsight.ports import HostGate

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5  # a sleeping thread does not notice that the machine was suspended


def elapsed() -> float:
    """Seconds that pass also while the machine is suspended, where the system counts them."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


@dataclass(eq=False)
class HeldLease:
    """One lease. until: when it must be given up, by `elapsed`. lost: why it was, else empty; lost once is for good."""

    host: str
    id: str
    rule: HostRule
    granted_at: float
    until: float
    lost: str = ""
    callbacks: list[Callable[[], None]] = field(default_factory=list)


class LeaseKeeper:
    """Two daemon threads while anything is held: one renews (and may hang on a server that does not answer), the other
    gives up in time what could not be renewed."""

    def __init__(self, gate: HostGate, renew_seconds: float, clock: Callable[[], float] = elapsed) -> None:
        self._gate = gate
        self._renew_seconds = renew_seconds
        self._clock = clock
        self._held: set[HeldLease] = set()
        self._changed = threading.Condition()
        self._threads: dict[str, threading.Thread] = {}

    def hold(self, lease: HeldLease) -> None:
        """From now on it is renewed."""
        with self._changed:
            self._held.add(lease)
            for name, loop in (("renewing", self._renewing), ("watching", self._watching)):
                if name not in self._threads:
                    self._threads[name] = threading.Thread(target=loop, name=f"host gate, {name}", daemon=True)
                    self._threads[name].start()

    def drop(self, lease: HeldLease) -> None:
        """It is not renewed any more, and cannot be lost: its callbacks would end what its holder does next."""
        with self._changed:
            self._held.discard(lease)
            lease.callbacks.clear()
            self._changed.notify_all()

    def look(self, lease: HeldLease) -> None:
        """Gives it up when its time is over, whoever sees it first."""
        if not lease.lost and self._clock() >= lease.until:
            self._lose(lease, f"it could not be renewed for {self._gate.lease_seconds:g} s")

    def on_lost(self, lease: HeldLease, callback: Callable[[], None]) -> None:
        """Calls it when the lease is lost, from another thread; at once when it is lost already."""
        with self._changed:
            if not lease.lost:
                lease.callbacks.append(callback)
                return
        callback()

    def _renewing(self) -> None:
        due = self._clock() + self._renew_seconds
        while self._go_on("renewing", due):
            if self._clock() >= due:
                due = self._clock() + (self._renew_seconds if self._renew() else self._renew_seconds / 4)

    def _go_on(self, name: str, due: float) -> bool:
        """Sleeps until then, or a little; False when nothing is held any more (and then the thread ends)."""
        with self._changed:
            if not self._held:
                del self._threads[name]
                return False
            self._changed.wait(max(0.0, min(due - self._clock(), LOOK_SECONDS)))
            return True

    def _watching(self) -> None:
        while True:
            with self._changed:
                held = list(self._held)
            for lease in held:
                self.look(lease)
            left = [lease.until for lease in held if not lease.lost]
            if not self._go_on("watching", min(left, default=self._clock() + LOOK_SECONDS)):
                return

    def _renew(self) -> bool:
        began = self._clock()
        with self._changed:
            held = [lease for lease in self._held if not lease.lost and began < lease.until]
        try:
            lost = set(self._gate.renew([(lease.host, lease.id) for lease in held]))
        except PodinsightError as error:
            log.warning("leases of the host gate could not be renewed: %s", error)
            return False
        for lease in held:
            self._renewed(lease, began, (lease.host, lease.id) in lost)
        return True

    def _renewed(self, lease: HeldLease, began: float, lost: bool) -> None:
        self.look(lease)  # the answer may have come too late
        if lost:
            self._lose(lease, "the gate has given its place away")
        with self._changed:
            dropped = lease not in self._held
            if not lease.lost:
                lease.until = began + self._gate.lease_seconds
        if dropped and not lost:
            self._put_away(lease)

    def _put_away(self, lease: HeldLease) -> None:
        """Given back while it was renewed: a gate that has lost its memory may have put it back."""
        try:
            self._gate.release(lease.host, lease.id, lease.rule, lease.granted_at)
        except PodinsightError as error:
            log.debug("a place at %s is left to expire: %s", lease.host, error)

    def _lose(self, lease: HeldLease, why: str) -> None:
        with self._changed:
            if lease.lost or lease not in self._held:
                return
            lease.lost = why
            callbacks = list(lease.callbacks)
        log.warning("the place at %s is lost: %s", lease.host, why)
        for callback in callbacks:
            try:
                callback()
            except Exception as error:  # the other leases must be looked after all the same
                log.debug("stopping a request to %s: %s", lease.host, error)
