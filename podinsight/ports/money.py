"""Money: what was spent, what is reserved, and what still fits under the ceilings (G1, G2, G3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, Self

from podinsight.domain.budget import Account, Budget, Ceilings, Refusal, Scope
from podinsight.domain.money import Micros, Unit, cost_of
from podinsight.domain.prices import Price, Service
from podinsight.domain.quote import CPU


@dataclass(frozen=True)
class Reservation:
    """What one unit of work may cost at worst. Raises ValueError for less than nothing or an empty token.

    token: of the lease the work is done under; one token reserves once. unit_kind, unit_id: the row (`chunk`, 7).
    gpu: it counts in the GPU budget of its day.
    """

    token: str
    micros: Micros
    unit_kind: str = ""
    unit_id: int = 0
    episode_id: str = ""
    feed_id: str = ""
    run_id: str = ""
    gpu: bool = True

    def __post_init__(self) -> None:
        if self.micros < 0 or not self.token:
            raise ValueError(f"{self.micros} micro-dollars cannot be reserved under {self.token!r}")


@dataclass(frozen=True)
class OpenReservation:
    """A reservation that is neither settled nor released. at: epoch seconds; day: UTC, the one that bears its cost."""

    reservation: Reservation
    at: float
    day: str


@dataclass(frozen=True)
class Entry:
    """One line of the ledger. Raises ValueError for a quantity or a price below zero.

    service: what was paid for (`gpu`, `idle`, `cpu`, `egress`, `storage`, `llm`, `metrics` …). quantity: in whole
    `unit`s. price: micro-dollars for domain.money.PRICED of them. device_kind: on which kind of device; empty for none.
    price_source: where the price comes from; estimated: it is the list price, because nobody knew the real one.
    """

    stage: str
    service: str
    quantity: int
    unit: Unit
    price: Micros
    device_kind: str = ""
    price_source: str = "list"
    estimated: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        cost_of(self.quantity, self.unit, self.price)

    @classmethod
    def priced(
        cls,
        stage: str,
        service: Service,
        quantity: int,
        unit: Unit,
        price: Price,
        device_kind: str = "",
        note: str = "",
    ) -> Self:
        """A line at a price of the price book or a market, with where that is from. Raises as above."""
        return cls(stage, service.value, quantity, unit, price.micros, device_kind, price.source, price.estimated, note)

    @property
    def micros(self) -> Micros:
        """What it cost: quantity × price, rounded up."""
        return cost_of(self.quantity, self.unit, self.price)

    @property
    def gpu(self) -> bool:
        """Whether it counts in the GPU budget of its day; so does a CPU that has a price."""
        return bool(self.device_kind) and (self.device_kind != CPU or self.price > 0)


@dataclass(frozen=True)
class Bearer:
    """Whose cost it is that nobody reserved (idle time, egress, storage). day: UTC, `2026-11-22`."""

    day: str
    episode_id: str = ""
    feed_id: str = ""
    run_id: str = ""


@dataclass(frozen=True)
class LedgerLine:
    """A stored entry. id: grows with time. at: epoch seconds when it was written; day: the one that bears it."""

    id: int
    at: float
    bearer: Bearer
    token: str
    entry: Entry


class By(StrEnum):
    """What the ledger can be summed up by."""

    DAY = "day"
    MONTH = "month"
    STAGE = "stage"
    SERVICE = "service"
    FEED = "feed"
    ITEM = "item"
    RUN = "run"
    DEVICE = "device"


@dataclass(frozen=True)
class Total:
    """Lines of the ledger with the same key (empty: of none). estimated: micro-dollars at prices nobody was sure of.

    gpu_ms, idle_ms, cpu_ms: milliseconds of devices at work, of devices without work, and of fetching and planning.
    bytes: of transfers, whatever their service.
    """

    key: str
    micros: Micros
    estimated: Micros
    lines: int
    gpu_ms: int = 0
    idle_ms: int = 0
    cpu_ms: int = 0
    bytes: int = 0


class Purse(Protocol):
    """Reservations before spending, and the ledger after. Every change is one transaction.

    A reservation is `open`, then `settled` or `released`; one that was released may still be settled (a worker that was
    given up had spent after all), one that is settled stays so. No call counts twice under one token, whoever repeats
    it. Reserved and spent are never below zero, and spent is always the sum of the ledger, to the micro-dollar.
    """

    def reserve(self, asked: Reservation, ceilings: Ceilings, burn: Micros = 0) -> Refusal | None:
        """Reserves in the budget of the episode, the run, the day (UTC, now), the GPU day, the month and the project,
        as far as they apply, or in none.

        None: reserved, now or before under this token. A refusal changes nothing. Under each ceiling fits what is
        spent, reserved and asked, and in those of the day, the GPU day, the month and the project also `burn`: what the
        fleet costs until somebody looks again. A ceiling laid down with `limit` holds beside the one given here.

        Raises:
            Permanent: the token was settled or released, or reserves something else.
            ValueError: a burn below zero.
        """
        ...

    def settle(self, token: str, entries: Sequence[Entry]) -> bool:
        """What was really spent, more or less than was reserved, in place of the reservation; it counts on the day of
        the reservation. Returns False when that was done before; then nothing changes.

        Raises:
            Permanent: nothing was reserved under this token.
        """
        ...

    def release(self, token: str) -> bool:
        """Nothing was spent. Returns False when there was no open reservation of this token; then nothing changes."""
        ...

    def charge(self, token: str, bearer: Bearer, entries: Sequence[Entry]) -> bool:
        """Writes down what was spent without a reservation; no ceiling can refuse what has happened. Returns False when
        this token has been used; then nothing changes."""
        ...

    def limit(self, scope: Scope, key: str, ceiling: Micros | None) -> None:
        """Lays down a ceiling for one budget alone, such as `--max-usd` for its run; None takes it back."""
        ...

    def budget(self, scope: Scope, key: str) -> Budget:
        """One budget; all zero when nothing was ever reserved in it."""
        ...

    def budgets(self, wanted: Sequence[Account]) -> list[Budget]:
        """These budgets at one moment, in the order of the scopes."""
        ...

    def spent(self, scope: Scope, key: str) -> Micros: ...
    def open(self, scope: Scope, key: str) -> Micros:
        """What open reservations hold of this budget."""
        ...

    def unsettled(self, before: float, limit: int) -> list[OpenReservation]:
        """Open reservations made before this time, the oldest first."""
        ...

    def entries(
        self, since: str, until: str, *, episode_id: str = "", after: int = 0, limit: int = 1000
    ) -> list[LedgerLine]:
        """Lines of these UTC days (both included) by id; `after`: the last id of the page before."""
        ...

    def totals(self, by: By, since: str, until: str, *, over: Micros | None = None) -> list[Total]:
        """Sums of these UTC days (both included), the dearest first, days and months in their order. over: only sums
        above it."""
        ...
