"""Adapters that need nothing: shipped code for tests and dry runs, each passing its port's suite."""

from collections.abc import Collection, Mapping, Sequence

from podinsight.domain.alerts import Alert, Severity
from podinsight.domain.money import Micros
from podinsight.domain.prices import Price
from podinsight.domain.table import Partition
from podinsight.errors import ConfigError, Unavailable


class MemoryQueue:
    """ports.JobQueue: remembers what was published; `down` makes it refuse, as a broker that is away does."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, tuple[str, ...]]] = []
        self.down = False

    def publish(self, task: str, args: Sequence[str]) -> None:
        if self.down:
            raise Unavailable(f"the broker did not take a {task} message: it is down")
        self.messages.append((task, tuple(args)))

    def take(self) -> list[tuple[str, tuple[str, ...]]]:
        """The messages so far; the queue is empty afterwards."""
        taken, self.messages = self.messages, []
        return taken


class NoTable:
    """ports.SegmentTable where segments are registered nowhere: a folder needs no catalogue. It refuses them all."""

    name = ""

    def register(self, partitions: Sequence[Partition]) -> Mapping[Partition, str]:
        return dict.fromkeys(partitions, "no table is set")


class MemoryTable:
    """ports.SegmentTable: locations by feed_slug and guid.

    down: it does not answer. made: False before the DDL ran. refuses: reasons by GUID.
    """

    def __init__(self, name: str = "shows.pod_insight_transcripts") -> None:
        self.name = name
        self.partitions: dict[tuple[str, str], str] = {}
        self.refuses: dict[str, str] = {}
        self.down, self.made = False, True

    def register(self, partitions: Sequence[Partition]) -> Mapping[Partition, str]:
        if not partitions:
            return {}
        if self.down:
            raise Unavailable(f"the catalogue does not answer for {self.name}")
        if not self.made:
            raise ConfigError(f"there is no table {self.name}: `podrun table ddl` prints the statement that makes it")
        for each in partitions:
            if each.guid not in self.refuses:
                self.partitions.setdefault((each.feed_slug, each.guid), each.folder)
        return {each: self.refuses[each.guid] for each in partitions if each.guid in self.refuses}


class NoBilling:
    """ports.Billing where nobody sends a bill."""

    def day(self, day: str) -> Micros | None:
        return None


class MemoryBilling:
    """ports.Billing of what it was told; a day without an entry has not cost anything yet, as late bills say."""

    def __init__(self, days: Mapping[str, Micros]) -> None:
        self.days = dict(days)

    def day(self, day: str) -> Micros | None:
        return self.days.get(day, 0)


class MemoryNotifier:
    """ports.Notifier that keeps what it was told. quiet: severities of which nobody is to be told. down: keys of alerts
    that cannot be sent."""

    def __init__(self, quiet: Collection[Severity] = ()) -> None:
        self.told: list[Alert] = []
        self.quiet = set(quiet)
        self.down: set[str] = set()

    def send(self, alert: Alert) -> bool:
        if alert.severity in self.quiet:
            return False
        if alert.key in self.down:
            raise Unavailable("1 of 1 addresses could not be told (memory)")
        self.told.append(alert)
        return True


class NoPrices:
    """ports.LivePrices where no machine has a price that changes."""

    def hour(self, kind: str, zone: str) -> Price | None:
        return None


class MemoryPrices:
    """ports.LivePrices of what it was told, by kind and zone. down: it does not answer."""

    def __init__(self, prices: Mapping[tuple[str, str], Micros]) -> None:
        self.prices = dict(prices)
        self.down = False

    def hour(self, kind: str, zone: str) -> Price | None:
        if self.down:
            raise Unavailable(f"nobody says what {kind} costs in {zone} now")
        found = self.prices.get((kind, zone))
        return None if found is None else Price(found, "live")
