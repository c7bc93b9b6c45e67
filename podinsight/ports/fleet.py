"""Machines, or processes, that are started and stopped by demand and budget (G5, G6, G9)."""

from collections.abc import Sequence
from typing import Protocol

from podinsight.domain.fleet import FleetState, Offer, Snapshot, Stopped, Unheld, Zeroed


class Fleet(Protocol):
    """A fleet of gpu workers behind one face: local processes, scaling groups, Batch, Kubernetes.

    The fleet as a whole is open or shut:

        open ──zero──► shut ──resume──► open

    open: `scale` sets how many there should be, and whatever dies is replaced. shut: minimum, desired and maximum are
    zero, and stay so over restarts, until `resume`. An instance's own way is in domain.fleet.

    For every adapter holds:
    - a provider, or one region of it, that refuses or does not answer is *unknown*: `state` names it and does not
      raise, nothing in it counts as zero, and what was asked of the fleet is done where it does answer;
    - scale-in (`scale` to fewer, `stop`) never takes an instance that holds a lease, whichever of the lease and the
      scale-in was first: more than desired run until the work is done, then they go without another word;
    - what is being stopped takes no more leases;
    - `zero` sets the sizes first, and then ends instances, those that hold leases too (they hand back): in the other
      order a group would start them again. It is idempotent, also when two do it at once or it was cut off: whoever
      comes later ends what is left, and the first snapshot is kept;
    - an instance that is gone already was stopped with success;
    - a call returns once the provider has taken it: what came of it shows `state`;
    - by, why: who orders it and the reason, for the record of sizes (ports.Workers.changes).
    """

    @property
    def name(self) -> str:
        """For a person: `local`, the name of a scaling group …"""
        ...

    def state(self) -> FleetState:
        """What there is now. Never raises for a provider that is away. What is gone may be listed for a while."""
        ...

    def offer(self) -> Offer:
        """What the next instance would be, and cost. Never raises: what is not known is reckoned as the dearest."""
        ...

    def scale(self, desired: int, by: str = "", why: str = "") -> int:
        """Sets how many there should be, between the minimums and maximums; returns what was set, over all groups.

        Raises:
            Refused: the fleet is shut.
            Unavailable: no part of the provider answers; what was set is not known.
        """
        ...

    def stop(self, ids: Sequence[str], by: str = "", why: str = "") -> Stopped:
        """Ends idle instances by name, and lowers the desired count with them, so that they are not replaced (but not
        below a minimum). One
        instance that cannot be stopped keeps no other from being stopped. Raises Unavailable as `scale` does."""
        ...

    def drop_minimum(self, groups: Sequence[str], by: str = "", why: str = "") -> Unheld:
        """Sets the minimum of these groups to zero, and nothing else: desired and maximum stay as they are, no instance
        ends, and what is desired can be lowered from now on. (AWS Batch takes a minimum without a desired count, and
        refuses one with a lower count.) One group that refuses keeps no other from it; one that has no minimum, or is
        not known, is done.

        While the fleet is shut there is no minimum, and the kept one stays in the snapshot: a resume brings it back.

        Raises:
            Unavailable: no part of the provider answers; what was set is not known.
        """
        ...

    def zero(self, why: str, by: str = "") -> Zeroed:
        """Shuts the fleet and ends every instance; what cannot be ended or reached is said in the answer. The snapshot
        keeps both as its reason (domain.fleet.named).

        Raises:
            Unavailable: no part of the provider answers; nothing is known to have changed.
        """
        ...

    def resume(self, snapshot: Snapshot, by: str = "", why: str = "") -> None:
        """Sets minimum, desired and maximum as they were and opens the fleet; saying it twice, or of an open fleet,
        changes nothing.

        Raises:
            Unavailable: a group of the snapshot cannot be reached: the fleet stays shut, and it can be said again.
        """
        ...
