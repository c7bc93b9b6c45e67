"""The rules of hosts, as the doorkeeper reads them (F5)."""

import time

import pytest

from podinsight.adapters.host_rules import KEPT_SECONDS, HostRules
from podinsight.domain.hosts import HostLimits, HostRule
from podinsight.errors import Unavailable
from podinsight.ports import HostRow
from tests.support.clock import ManualClock
from tests.support.lobby import HOST, KEY


class CountedHosts:
    """As much of ports.Hosts as rules need."""

    def __init__(self) -> None:
        self.down = False
        self.reads = 0
        self.cooling: float | None = None

    def limits(self) -> HostLimits:
        self._read()
        return HostLimits({KEY: 3}, 10, {KEY: 2.5}, 7.0)

    def row(self, host: str, day: str) -> HostRow:
        self._read()
        assert day == "2023-11-14"
        return HostRow(host, cooling_until=self.cooling)

    def _read(self) -> None:
        self.reads += 1
        if self.down:
            raise Unavailable("the database does not answer")


@pytest.fixture
def hosts() -> CountedHosts:
    return CountedHosts()


@pytest.fixture
def rules(hosts: CountedHosts) -> HostRules:
    return HostRules(hosts, ManualClock())  # type: ignore[arg-type]


def test_rules_are_by_suffix_with_the_stored_cool_down(hosts: CountedHosts, rules: HostRules) -> None:
    hosts.cooling = 5.0
    assert rules("traffic.libsyn.com") == (KEY, HostRule(3, 2.5, 5.0))
    assert rules("Other.Test:8080") == ("other.test", HostRule(10, 7.0, 5.0))


def test_rules_are_read_every_few_seconds_and_outlive_a_database_that_is_away(
    hosts: CountedHosts, rules: HostRules, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = rules(HOST)
    assert rules(HOST) == known
    assert hosts.reads == 2
    now = time.monotonic() + KEPT_SECONDS
    monkeypatch.setattr("podinsight.adapters.host_rules.time.monotonic", lambda: now)
    hosts.cooling = 9.0
    assert rules(HOST) == (KEY, HostRule(3, 2.5, 9.0))
    now += KEPT_SECONDS
    hosts.down = True
    assert rules(HOST) == (KEY, HostRule(3, 2.5, 9.0))
    with pytest.raises(Unavailable):
        rules("never.asked.test")
