"""What an hour of each worker costs, as its row says it where a market makes its price: one for the burn, for what is
reserved at a claim, for the ledger and for idle time (G1, G5)."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Row

from podinsight.adapters.database.fleet_tables import workers
from podinsight.domain.prices import Price
from podinsight.domain.quote import CPU, UNKNOWN_DEVICE
from podinsight.topology import GPU

UNPRICED: Final[Mapping[str, object]] = {"hour_micros": None, "price_source": None, "price_estimated": None}
PRICED_BY: Final = (workers.c.device, workers.c.pool, *(workers.c[name] for name in UNPRICED))
_SOURCE: Final = 40  # characters that the tables hold


def kind_of(worker: Row[Any] | None) -> str:
    """The kind of device that is paid for while this worker holds a lease; None: nobody knows it any more. What no one
    has named is priced, never free; a worker of another pool decodes nothing: it is a CPU's."""
    if worker is None:
        return UNKNOWN_DEVICE
    return str(worker.device or (UNKNOWN_DEVICE if worker.pool == GPU.name else CPU))


def price_of(worker: Row[Any] | None) -> Price | None:
    """An hour of this worker, where its row says it."""
    if worker is None or worker.hour_micros is None:
        return None
    return Price(int(worker.hour_micros), str(worker.price_source), bool(worker.price_estimated))


def values_of(price: Price | None) -> Mapping[str, object]:
    """A price as the row says it; None: it says none."""
    if price is None:
        return UNPRICED
    return {"hour_micros": price.micros, "price_source": price.source[:_SOURCE], "price_estimated": price.estimated}


def share(machine: Price, workers_there: int) -> Price:
    """What a worker costs that shares its machine with others, each rounded up: at one moment all that share it cost
    together never less than the machine. Over time they may cost less: whoever comes later makes the share of all
    smaller, and a lease is settled at the share in force when it ends, for all of it."""
    return Price(-(-machine.micros // max(1, workers_there)), machine.source, machine.estimated)
