"""What costs by the day, whoever works: storage, the NAT gateway with its address, and metrics (G1).

Every whole UTC day is charged once, those on which nothing of podinsight ran as well, as soon as something runs again.
What has no price costs nothing and is not written: at home that is all of it (bootstrap.money.price_book).
"""

import logging
import math
from collections.abc import Iterator
from typing import Final

from podinsight.domain.days import begins_at, day_of, next_day
from podinsight.domain.money import Micros, Unit, usd
from podinsight.domain.prices import Service
from podinsight.domain.quote_lines import METRICS
from podinsight.ports import Bearer, By, Entry, StatusStore
from podinsight.services.guard import GuardPorts

MOST_DAYS: Final = 31
_MEMORY: Final = "standing"
_HOURS: Final = 24
_MEGABYTE: Final = 1_000_000
_DAY: Final = 86_400.0
_DAY_MS: Final = 86_400_000
_STAGE: Final = {  # what the ledger calls the stage of what belongs to none
    Service.STORAGE: "storage",
    Service.NAT_HOURS: "network",
    Service.ADDRESS_HOURS: "network",
    Service.METRICS: "metrics",
}
_log = logging.getLogger(__name__)


def charge_days(ports: GuardPorts, yesterday: str) -> str:
    """Writes down every day since the last one that was, up to yesterday, the newest `MOST_DAYS` at most; where none
    ever was, yesterday alone. Safe to repeat and to run twice at once: each day has its tokens.

    Returns what was charged, in a line; empty for nothing.

    Raises:
        Unavailable: the database does not answer; the next one writes down what is missing.
    """
    memory = ports.store.memory
    last = str((memory.recall(_MEMORY) or {}).get("day", ""))
    if last >= yesterday:  # also when a clock was set back
        return ""
    charged = sum(_charge(ports, day) for day in _days(last, yesterday))
    memory.remember(_MEMORY, {"day": yesterday})
    return f"{usd(charged)} of storage, gateway and metrics" if charged else ""


def _days(last: str, yesterday: str) -> Iterator[str]:
    """After `last` up to `yesterday`, in order; last: empty for never."""
    oldest = day_of(begins_at(yesterday) - (MOST_DAYS - 1) * _DAY)
    day = next_day(last) if last else yesterday
    if day < oldest:
        _log.warning("what costs by the day was not charged from %s until %s: too long ago", day, oldest)
        day = oldest
    while day <= yesterday:
        yield day
        day = next_day(day)


def _charge(ports: GuardPorts, day: str) -> Micros:
    purse, charged = ports.store.purse, 0
    for token, entries in (("storage", _storage(ports, day)), ("standing", _running(ports, day))):
        if entries and purse.charge(f"{token}:{day}", Bearer(day), entries):
            charged += sum(each.micros for each in entries)
    return charged


def _storage(ports: GuardPorts, day: str) -> list[Entry]:
    """A whole day of the audio that was there when it ended, as far as it is known now."""
    size = ports.store.catalogue.audio_bytes(before=begins_at(next_day(day)))
    return _priced(ports, Service.STORAGE, math.ceil(size * _HOURS / _MEGABYTE), Unit.MEGABYTE_HOURS)


def _running(ports: GuardPorts, day: str) -> list[Entry]:
    """Of a day on which something ran: one NAT gateway with one public address for all of its 24 hours, and METRICS
    metrics, as a quote reckons with them. A deployment that did nothing all day is taken to be torn down."""
    if not _ran(ports.store, day):
        return []
    return [
        *_priced(ports, Service.NAT_HOURS, _DAY_MS, Unit.MILLISECONDS),
        *_priced(ports, Service.ADDRESS_HOURS, _DAY_MS, Unit.MILLISECONDS),
        *_priced(ports, Service.METRICS, METRICS * _HOURS, Unit.METRIC_HOURS),
    ]


def _ran(store: StatusStore, day: str) -> bool:
    """Whether the ledger has a line of work, or of idle time, on this day, or a worker that is known lived on it."""
    if any(each.key not in _STAGE for each in store.purse.totals(By.SERVICE, day, day)):
        return True
    begin, end = begins_at(day), begins_at(next_day(day))
    return any(each.started_at < end and each.heartbeat_at >= begin for each in store.workers.list())


def _priced(ports: GuardPorts, service: Service, quantity: int, unit: Unit) -> list[Entry]:
    """One line; none for what costs nothing."""
    price = ports.prices.service(service)
    if not price.micros or not quantity:
        return []
    return [Entry.priced(_STAGE[service], service, quantity, unit, price)]
