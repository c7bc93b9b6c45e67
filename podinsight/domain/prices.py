"""What things cost: list prices with their date and source, and what somebody says instead (G5). Pure.

An unknown kind of device is never free: it is reckoned at the dearest list price of its family, marked as estimated.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from podinsight.domain.budget import Limits
from podinsight.domain.money import Micros
from podinsight.errors import ConfigError

CPU: Final = "cpu"
CUDA: Final = "cuda"

GPU_HOUR: Final[Micros] = 526_000  # list price of g4dn.xlarge (one T4) on demand, Linux, us-east-1
# Seconds of audio a second of that GPU, by the run-book of the batch that came before podinsight: 83 GPU hours for a
# thousand episodes of an hour.
GPU_SPEED: Final = 12.0


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
    """Micro-dollars for one priced unit (domain.money.PRICED): an hour, for a machine. source: `list 2026-06-01`,
    `settings`, `live`, `local` …; at most 40 characters, for the ledger. estimated: nobody knew the real one, so it is
    meant to be too high. origin: where whoever wrote it down has it from, in his words. market: it is what a market
    asks now, or stands in while that does not answer; a price that holds until somebody writes another is none."""

    micros: Micros
    source: str
    estimated: bool = False
    origin: str = ""
    market: bool = False


LOCAL: Final = Price(0, "local")


@dataclass(frozen=True)
class PriceBook:
    """devices: hour prices by kind of device (`cpu`, `cuda`, `g5.xlarge` …). services: by Service, of their unit.
    is_cloud: whether what stands beside machines is somebody's who sends a bill for it."""

    devices: Mapping[str, Price] = field(
        default_factory=lambda: {CPU: LOCAL, CUDA: Price(GPU_HOUR, "list g4dn.xlarge")}
    )
    services: Mapping[Service, Price] = field(default_factory=dict)
    is_cloud: bool = False

    def device(self, kind: str) -> Price:
        """An hour of a device of this kind; of one that is not in the book the dearest GPU that is, marked as
        estimated: never nothing, whatever the book says of others."""
        known = self.devices.get(kind)
        if known is not None:
            return known
        dearest = max((each.micros for name, each in self.devices.items() if name != CPU), default=0)
        return Price(dearest or GPU_HOUR, "dearest list price", estimated=True)

    def service(self, service: Service) -> Price:
        """Of what is not in the book nothing is paid where it is there anyway (this machine's disk and network).

        In a cloud it is never nothing: a machine is reckoned like one of an unknown kind, marked as estimated.

        Raises:
            ConfigError: in a cloud, of what nobody has priced and nothing can stand for.
        """
        known = self.services.get(service)
        if known is not None:
            return known
        if not self.is_cloud:
            return LOCAL
        if service in (Service.GPU, Service.IDLE):
            return replace(self.device(""), estimated=True)
        raise ConfigError(f"nobody knows what {service.value} costs here: name it in prices_file, under [services]")

    def over(self, lower: "PriceBook") -> "PriceBook":
        """This book's prices, and of `lower` those that it has not."""
        services = {**lower.services, **self.services}
        return PriceBook({**lower.devices, **self.devices}, services, self.is_cloud or lower.is_cloud)


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
