"""A scaler for tests: rows, and a fleet of which a machine costs a thousand micro-dollars a second."""

from podinsight.adapters.apprise_notifier import AppriseNotifier
from podinsight.adapters.memory import NoBilling
from podinsight.adapters.memory_fleet import Make, MemoryFleet
from podinsight.domain.budget import Level, Limits
from podinsight.domain.control import Control
from podinsight.domain.days import day_of
from podinsight.domain.fleet import Group
from podinsight.domain.money import Unit
from podinsight.domain.pool import Rules
from podinsight.domain.prices import Price, PriceBook
from podinsight.ports import Bearer, Entry, Fleet, ObjectStore
from podinsight.services.guard import GuardPorts, GuardRules
from podinsight.services.scale import scale
from tests.support.rows import Rows

RULES = Rules(most=4, drain=120, patience=0, grace=60, settle=20, start=15, sweep=60, stop=20, least_billed=0)
MAKE = Make(start_seconds=5, stop_seconds=1, rate=Price(3_600_000, "list"))  # a thousand micro-dollars a second


class Guarded:
    """Rows of a database, a fleet, and a scaler that runs every five seconds. A minute of audio takes a minute."""

    def __init__(self, rows: Rows, objects: ObjectStore, groups: int = 1) -> None:
        self.rows, self.clock = rows, rows.clock
        self.fleet = MemoryFleet(rows.clock, [Group(f"zone-{n}", 0, 0, 4) for n in range(groups)], MAKE)
        self.rules = GuardRules(Limits(gpu_day=Level()), RULES, True, 1.0, "tiny.en", 7200.0)
        self.objects = objects

    def ports(self, fleet: Fleet | None = None) -> GuardPorts:
        return GuardPorts(
            self.rows.store,
            fleet or self.fleet,
            self.objects,
            self.clock,
            AppriseNotifier({}),
            NoBilling(),
            PriceBook(),
        )

    def run(self, seconds: float) -> list[int]:
        """How many instances lived after each decision."""
        lived = []
        for _ in range(int(seconds // 5)):
            self.clock.advance(5)
            self.decide()
            lived.append(len(self.fleet.state().living))
        return lived

    def decide(self) -> str:
        return scale(self.ports(), self.rules)

    def spend(self, amount: int) -> None:
        entry = Entry("transcribe", "gpu", 1, Unit.EACH, amount, "cuda")
        self.rows.store.purse.charge(f"spent-{self.clock.now()}", Bearer(day_of(self.clock.now())), [entry])

    @property
    def control(self) -> Control:
        return self.rows.store.control.read()
