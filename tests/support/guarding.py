"""A cost guard for tests: rows with prices, a fleet on a simulated clock, a notifier that keeps what it was told."""

from dataclasses import replace
from typing import Any, cast

from podinsight.adapters.database import SqlStore
from podinsight.adapters.memory import MemoryBilling, MemoryNotifier, NoBilling
from podinsight.adapters.memory_fleet import Make, MemoryFleet
from podinsight.domain.budget import Limits
from podinsight.domain.control import Control
from podinsight.domain.days import day_of
from podinsight.domain.fleet import Group
from podinsight.domain.money import DOLLAR, Micros, Unit, micros
from podinsight.domain.pool import Rules
from podinsight.domain.prices import CUDA, Price
from podinsight.errors import Transient
from podinsight.ports import Bearer, Billing, Entry, Fleet, ObjectStore
from podinsight.services.guard import GuardPorts, GuardRules
from podinsight.services.resume import ResumePorts, resume
from podinsight.services.sweep import sweep
from tests.conftest import LIMITS, STALE_SECONDS
from tests.support.rows import Rows
from tests.support.spending import TERMS, Paying

FLEET_RULES = Rules(most=4, drain=120, patience=0, grace=60, settle=20, start=15, sweep=60, stop=20, least_billed=0)


class Away:
    """An object store, or whatever else, of which nothing answers."""

    def __getattr__(self, name: str) -> Any:
        def refuse(*_args: object, **_more: object) -> None:
            raise Transient(f"{name} does not answer", ours=True)

        return refuse


class Guard:
    """One database with the prices of tests.support.spending.TERMS, and everything around it."""

    def __init__(self, rows: Rows, objects: ObjectStore, hour: Micros = 10 * DOLLAR) -> None:
        self.clock = rows.clock
        self.rows = Paying(SqlStore(rows.store.db, rows.clock, LIMITS, STALE_SECONDS, TERMS), rows.clock)
        self.store = self.rows.store
        make = Make(start_seconds=5, stop_seconds=1, rate=Price(hour, "list"))
        self.fleet = MemoryFleet(rows.clock, [Group("zone", 0, 0, 4)], make)
        self.notifier = MemoryNotifier()
        self.ports = GuardPorts(self.store, self.fleet, objects, rows.clock, self.notifier, NoBilling(), TERMS.prices)
        self.rules = GuardRules(Limits(), FLEET_RULES, True, 1.0, "tiny.en", 1800.0)

    def under(self, **levels: Any) -> None:
        self.rules = replace(self.rules, limits=replace(self.rules.limits, **levels))

    def without(self, *parts: str) -> None:
        """These ports do not answer from now on."""
        self.ports = replace(self.ports, **{part: cast(Any, Away()) for part in parts})

    def billed(self, billing: Billing | dict[str, Micros]) -> None:
        self.ports = replace(self.ports, billing=MemoryBilling(billing) if isinstance(billing, dict) else billing)

    def with_fleet(self, fleet: Fleet) -> None:
        self.ports = replace(self.ports, fleet=fleet)

    def sweep(self, seconds: float = 0.0) -> str:
        self.clock.advance(seconds)
        return sweep(self.ports, self.rules)

    def go_on(self, by: str = "ada") -> None:
        """A person lifts the last stop."""
        resume(ResumePorts(self.store, self.fleet, self.clock), self.rules.limits, by, "all is well")

    def spend(self, usd: str, episode_id: str = "", device: str = CUDA, day: str = "", service: str = "gpu") -> None:
        """So much that nobody reserved, today."""
        token = f"spent-{self.clock.now()}-{episode_id}-{usd}-{device}-{service}"
        entry = Entry("transcribe", service, micros(usd), Unit.EACH, 1, device)
        assert self.store.purse.charge(token, Bearer(day or self.today, episode_id), [entry])

    @property
    def today(self) -> str:
        return day_of(self.clock.now())

    @property
    def control(self) -> Control:
        return self.store.control.read()

    def saves(self) -> bool:
        """Whether economy mode is on."""
        return self.control.economy

    def told(self) -> list[str]:
        """The keys of the alerts that were sent."""
        return [each.key for each in self.notifier.told]
