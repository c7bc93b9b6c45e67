"""What an hour of a machine costs now: the live price where one is known, else the list price (G5); and that this holds
for whatever is reckoned with it (G1, G2)."""

import logging
from dataclasses import replace

from podinsight.domain.fleet import FleetState, InstanceState
from podinsight.domain.prices import Price, PriceBook
from podinsight.errors import Unavailable
from podinsight.ports import LivePrices, Workers
from podinsight.topology import GPU

_log = logging.getLogger(__name__)


def hour(book: PriceBook, live: LivePrices, kind: str, zone: str) -> Price:
    """An hour of a machine of this kind in this zone.

    A live price holds. Where there is none for this kind, the book's does. Where nobody can be asked, or what is said
    cannot be true (nothing, or less), the book's holds, marked as estimated: a list price is above what a market asks.
    """
    listed = book.device(kind)
    try:
        found = live.hour(kind, zone)
    except Unavailable as error:
        _log.warning("no live price of %s in %s, the list price holds: %s", kind, zone, error)
        return replace(listed, estimated=True)
    if found is None:
        return listed
    if found.micros <= 0:
        _log.warning("%s in %s cannot cost %d micro-dollars an hour, the list price holds", kind, zone, found.micros)
        return replace(listed, estimated=True)
    return found


def keep(workers: Workers, state: FleetState) -> None:
    """Claims and idle time reckon from now on with what the fleet says that each of its instances costs. Of one that
    starts it may only guess: that takes no work yet, and the price book holds until it has started.

    Raises:
        Unavailable: the database does not answer.
    """
    started = (each for each in state.living if each.state is not InstanceState.STARTING)
    workers.reprice(GPU.name, {each.id: each.rate for each in started})
