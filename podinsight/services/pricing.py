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

    A live price holds, marked as a market's. Where there is none for this kind, the book's does. Where nobody can be
    asked, or what is said cannot be true (nothing, or less), the book's stands in for the market's, marked as
    estimated: a list price is above what a market asks. What is free in the book stands in for nothing: no market
    asks for it.
    """
    listed = book.device(kind)
    try:
        found = live.hour(kind, zone)
    except Unavailable as error:
        _log.warning("no live price of %s in %s, the list price holds: %s", kind, zone, error)
        return _stand_in(listed)
    if found is None:
        return listed
    if found.micros <= 0:
        _log.warning("%s in %s cannot cost %d micro-dollars an hour, the list price holds", kind, zone, found.micros)
        return _stand_in(listed)
    return replace(found, market=True)


def _stand_in(listed: Price) -> Price:
    return replace(listed, estimated=True, market=listed.micros > 0)


def keep(workers: Workers, state: FleetState) -> None:
    """Claims and idle time reckon from now on with what a market asks for each instance of the fleet. Where none asks
    anything, or any more, each process reckons with its own price book: what one's says is not for the workers of
    another, whose machine may have other settings. Of what starts the fleet may only guess: that takes no work yet.
    What a market asked last holds on where it does not answer and the book has nothing to stand in for it.

    Raises:
        Unavailable: the database does not answer.
    """
    started = [each for each in state.living if each.state is not InstanceState.STARTING]
    known = [each for each in started if each.rate.micros or not each.rate.estimated]
    workers.reprice(GPU.name, {each.id: each.rate if each.rate.market else None for each in known})
