"""What things cost: list prices with their date and source, and what somebody says instead (G5). Pure.

An unknown kind of device is never free: it is reckoned at the dearest list price of its family, marked as estimated.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from podinsight.domain.budget import Limits
from podinsight.domain.kpis import GPU_HOUR_USD, GPU_SPEED
from podinsight.domain.money import Micros, micros

CPU: Final = "cpu"
CUDA: Final = "cuda"


class Service(StrEnum):
    """What is paid for, as the ledger names it."""

    GPU = "gpu"  # a machine that decodes, while it holds work
    IDLE = "idle"  # the same machine without work
    CPU = "cpu"  # worker processes that fetch and plan
    NAT = "nat"  # bytes that come in through a NAT gateway
    NAT_HOURS = "nat_hours"  # the gateway itself
    ADDRESS_HOURS = "address_hours"  # its public IPv4 address
    EGRESS = "egress"
    STORAGE = "storage"
    LLM = "llm"
    METRICS = "metrics"


@dataclass(frozen=True)
class Price:
    """Micro-dollars for one priced unit (domain.money.PRICED). source: `list 2026-06-01`, `settings`, `live`,
    `local` …; at most 40 characters. estimated: nobody knew the real one, so it is meant to be too high."""

    micros: Micros
    source: str
    estimated: bool = False


LOCAL: Final = Price(0, "local")


@dataclass(frozen=True)
class PriceBook:
    """devices: hour prices by kind of device (`cpu`, `cuda`, `g5.xlarge` …). services: by Service, of their unit."""

    devices: Mapping[str, Price] = field(
        default_factory=lambda: {CPU: LOCAL, CUDA: Price(micros(str(GPU_HOUR_USD)), "list g4dn.xlarge")}
    )
    services: Mapping[Service, Price] = field(default_factory=dict)

    def device(self, kind: str) -> Price:
        """An hour of a device of this kind; of one that is not in the book the dearest GPU that is, marked as
        estimated: never nothing, whatever the book says of others."""
        known = self.devices.get(kind)
        if known is not None:
            return known
        dearest = max((each.micros for name, each in self.devices.items() if name != CPU), default=0)
        return Price(dearest or micros(str(GPU_HOUR_USD)), "dearest list price", estimated=True)

    def service(self, service: Service) -> Price:
        """Of what is not in the book nothing is paid: it is there anyway (this machine's disk and network)."""
        return self.services.get(service, LOCAL)

    def over(self, lower: "PriceBook") -> "PriceBook":
        """This book's prices, and of `lower` those that it has not."""
        return PriceBook({**lower.devices, **self.devices}, {**lower.services, **self.services})


@dataclass(frozen=True)
class Terms:
    """By what work is reserved and settled.

    least_speed: seconds of audio that the slowest device decodes in a second, where none was measured; what is
    reserved at a claim follows from it, and every renewal of the lease reserves what is missing. fetch_seconds and
    max_audio_bytes: what one download takes at worst.
    """

    prices: PriceBook = field(default_factory=PriceBook)
    limits: Limits = field(default_factory=Limits)
    least_speed: float = GPU_SPEED / 3
    fetch_seconds: float = 900.0
    max_audio_bytes: int = 4 * 2**30
