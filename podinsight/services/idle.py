"""Idle time: what workers cost while they hold no work goes into the ledger (G1, G5)."""

from podinsight.domain.metering import Meter
from podinsight.domain.money import Micros, Unit
from podinsight.domain.prices import Price, Service
from podinsight.ports import Entry
from podinsight.services.guard import GuardPorts
from podinsight.topology import GPU


def meter(ports: GuardPorts) -> Micros:
    """Writes down what each gpu worker's idle time has cost since it was looked at last, at the price that is in force
    for it now; returns the sum of it. Twice at once counts once. What has no price is counted and not written.

    Raises:
        Unavailable: the database does not answer; the next one writes down what is missing.
    """
    spent = 0
    for each in ports.store.workers.meters(GPU.name):
        if each.due_ms or each.ended:
            price = each.price or ports.prices.device(each.device)
            entries = {day: _entry(each, price, ms) for day, ms in each.by_day()} if price.micros else {}
            if ports.store.workers.metered(each, entries):
                spent += sum(entry.micros for entry in entries.values())
    return spent


def _entry(meter: Meter, price: Price, ms: int) -> Entry:
    return Entry.priced("idle", Service.IDLE, ms, Unit.MILLISECONDS, price, meter.device, meter.worker)
