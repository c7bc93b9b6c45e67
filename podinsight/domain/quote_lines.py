"""What a quote is made of (G4): a line for each thing that is paid for, low, likely and high. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import ceil
from typing import Final

from podinsight.domain.money import DOLLAR, Micros, Unit, cost, cost_of
from podinsight.domain.prices import Price, PriceBook, Service

SPOT_PERCENT: Final = 10  # of the GPU's high figure, should machines be taken away (G4)
RETRY_PERCENT: Final = 5  # the same, should chunks have to be done again

# Where nobody has measured them: what CPUs take for a download and a plan, and how large an hour of audio is.
DOWNLOAD_BYTES: Final = 5_000_000  # a second
PLAN_SPEED: Final = 100.0  # seconds of audio a second: decoded once and listened to for pauses
CPU_SPREAD: Final = 3.0
AUDIO_BYTES: Final = 16_000  # a second, at 128 kbit/s; half and twice as much are usual
BYTES_SPREAD: Final = 2.0
METRICS: Final = 10  # that a deployment writes to its monitoring while it works
_MONTH_HOURS: Final = 730


class Item(StrEnum):
    """The lines of a quote, in the order in which they are told."""

    CPU = "cpu"  # downloading and planning
    NAT = "nat"  # what comes in, and the gateway with its address until the work is done
    GPU = "gpu"  # what decodes, whatever it is
    IDLE = "start and idle"  # the same while it starts, and until it goes
    STORAGE = "storage"  # the audio, for a month
    METRICS = "metrics"
    SPOT = "spot interruptions"
    RETRIES = "retries"


@dataclass(frozen=True)
class Range:
    """A figure and what it lies between."""

    low: float
    likely: float
    high: float

    def __add__(self, other: "Range") -> "Range":
        return Range(self.low + other.low, self.likely + other.likely, self.high + other.high)

    def times(self, factor: float) -> "Range":
        return Range(self.low * factor, self.likely * factor, self.high * factor)


NOTHING: Final = Range(0.0, 0.0, 0.0)


def around(likely: float, spread: float) -> Range:
    """likely ÷ and × spread."""
    return Range(likely / spread, likely, likely * spread)


@dataclass(frozen=True)
class Amounts:
    """Money that lies between two amounts."""

    low: Micros = 0
    likely: Micros = 0
    high: Micros = 0

    def __add__(self, other: "Amounts") -> "Amounts":
        return Amounts(self.low + other.low, self.likely + other.likely, self.high + other.high)

    @property
    def usd(self) -> Range:
        """In dollars, for people."""
        return Range(self.low / DOLLAR, self.likely / DOLLAR, self.high / DOLLAR)


@dataclass(frozen=True)
class Line:
    """One thing that is paid for. quantity: in `unit`s (`h`, `GB`, `GB-months`, `metric-hours`, `%`).

    price: of one priced unit (domain.money.PRICED; an hour of a GPU); None where the line is a share of another.
    """

    item: Item
    quantity: Range
    unit: str
    cost: Amounts
    price: Price | None = None


def timed(item: Item, seconds: Range, price: Price) -> Line:
    """So many seconds at a price an hour."""
    amounts = Amounts(*(cost(each, price.micros) for each in (seconds.low, seconds.likely, seconds.high)))
    return Line(item, seconds.times(1 / 3600), "h", amounts, price)


def buffers(gpu: Line) -> tuple[Line, Line]:
    """What interruptions and retries may add to the high figure of the GPU; nobody counts on them."""

    def share(item: Item, percent: int) -> Line:
        return Line(item, Range(0, 0, percent), "%", Amounts(0, 0, -(-gpu.cost.high * percent // 100)))

    return share(Item.SPOT, SPOT_PERCENT), share(Item.RETRIES, RETRY_PERCENT)


@dataclass(frozen=True)
class Freight:
    """What comes in before anything is decoded.

    declared: bytes that feeds say; undeclared: seconds of audio of which none says how large it is; both still to be
    downloaded. planned: seconds of audio to find the pauses of.
    """

    declared: int = 0
    undeclared: Range = NOTHING
    planned: Range = NOTHING

    @property
    def bytes(self) -> Range:
        unsaid = self.undeclared
        return Range(
            self.declared + unsaid.low * AUDIO_BYTES / BYTES_SPREAD,
            self.declared + unsaid.likely * AUDIO_BYTES,
            self.declared + unsaid.high * AUDIO_BYTES * BYTES_SPREAD,
        )

    @property
    def cpu_seconds(self) -> Range:
        """Of worker processes: ⅓ of, as much as, and 3 × what DOWNLOAD_BYTES and PLAN_SPEED make of it."""
        found = self.bytes.times(1 / DOWNLOAD_BYTES) + self.planned.times(1 / PLAN_SPEED)
        return Range(found.low / CPU_SPREAD, found.likely, found.high * CPU_SPREAD)


def service_lines(freight: Freight, lasts: Range, prices: PriceBook) -> tuple[Line, ...]:
    """All but the device: CPU, NAT, storage, metrics. lasts: seconds until the work is done."""
    nat = prices.service(Service.NAT)
    gateway = [timed(Item.NAT, lasts, prices.service(each)) for each in (Service.NAT_HOURS, Service.ADDRESS_HOURS)]
    storage, metrics = prices.service(Service.STORAGE), prices.service(Service.METRICS)
    stored = freight.bytes.times(_MONTH_HOURS / 1e6)
    written = Range(*(METRICS * ceil(each / 3600) for each in (lasts.low, lasts.likely, lasts.high)))
    came_in = _counted(freight.bytes, Unit.BYTES, nat)
    return (
        timed(Item.CPU, freight.cpu_seconds, prices.service(Service.CPU)),
        Line(
            Item.NAT,
            freight.bytes.times(1e-9),
            "GB",
            sum((each.cost for each in gateway), came_in),
            nat,
        ),
        Line(
            Item.STORAGE,
            stored.times(1e3 / 1e6 / _MONTH_HOURS),
            "GB-months",
            _counted(stored, Unit.MEGABYTE_HOURS, storage),
            storage,
        ),
        Line(Item.METRICS, written, "metric-hours", _counted(written, Unit.METRIC_HOURS, metrics), metrics),
    )


def _counted(quantity: Range, unit: Unit, price: Price) -> Amounts:
    low, likely, high = (
        cost_of(ceil(each), unit, price.micros) for each in (quantity.low, quantity.likely, quantity.high)
    )
    return Amounts(low, likely, high)


def summed(lines: Iterable[Line]) -> tuple[Line, ...]:
    """Lines of the same item together, in the order of Item; a share of others stays the share that it was."""
    found: dict[Item, Line] = {}
    for line in lines:
        had = found.get(line.item)
        if had is None:
            found[line.item] = line
            continue
        quantity = had.quantity if line.price is None else had.quantity + line.quantity
        found[line.item] = replace(had, quantity=quantity, cost=had.cost + line.cost)
    return tuple(found[item] for item in Item if item in found)


def amount(lines: Sequence[Line]) -> Amounts:
    """All of them together."""
    return sum((line.cost for line in lines), Amounts())
