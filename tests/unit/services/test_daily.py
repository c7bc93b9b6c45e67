"""The daily check (G5, G7)."""

from dataclasses import replace

import pytest

from podinsight.domain.alerts import Severity
from podinsight.domain.budget import Level, Scope
from podinsight.domain.days import begins_at, day_of
from podinsight.domain.findings import Finding
from podinsight.domain.money import micros
from podinsight.domain.prices import Price, PriceBook, Service
from podinsight.domain.quote import CPU
from podinsight.errors import Unavailable
from podinsight.ports import ObjectStore
from podinsight.services.daily import check_daily
from tests.support.guarding import Guard
from tests.support.rows import Rows


@pytest.fixture
def guard(rows: Rows, objects: ObjectStore) -> Guard:
    return Guard(rows, objects)


def next_day(guard: Guard, count: int = 1) -> str:
    """A minute after midnight, so many days later; what was today."""
    today = guard.today
    guard.clock.advance(begins_at(today) + 86_400 * count + 60 - guard.clock.now())
    return today


def check(guard: Guard) -> str:
    return check_daily(guard.ports, guard.rules)


def report(guard: Guard) -> tuple[str, str]:
    """Title and text of the one that is sent now."""
    (alert,) = [each.alert for each in guard.store.alerts.unsent(100) if each.alert.severity is Severity.SUMMARY]
    return alert.title, alert.body


def test_yesterday_is_reported_once(guard: Guard) -> None:
    guard.spend("1.25", "e1")
    guard.spend("0.75", "e2")
    guard.spend("0.50", service="idle")
    day = next_day(guard)
    assert f"{day} cost $2.50" in check(guard)
    title, body = report(guard)
    assert title == f"{day} cost $2.50"
    assert "2 episodes, $1.00 on average." in body
    assert "Services: gpu $2.00, idle $0.50" in body
    assert "Dearest: e1 $1.25, e2 $0.75" in body
    assert f"the month {day[:7]} so far: $2.50" in body
    assert "No red flags." in body
    assert check(guard) == f"{day} is reported already"
    guard.clock.advance(900)
    assert check(guard) == f"{day} is reported already"
    day = next_day(guard)
    assert f"{day} cost $0.00" in check(guard)


def test_the_red_flags_of_the_run_book(guard: Guard) -> None:
    """Over an alert level, idle, estimated, a dear item, findings, and nobody has swept."""
    guard.sweep()
    guard.spend("2.60", "e1")
    guard.spend("3.00", service="idle")
    guard.store.findings.report("sweep", [Finding("runs for nothing", "i-1", micros(12))])
    next_day(guard)
    check(guard)
    title, body = report(guard)
    assert title.endswith("; 5 red flags")
    for flag in (
        "it cost $5.60, over the alert level of $5.00",
        "53 % of what GPU machines cost was idle time ($3.00)",
        "1 episodes cost more than the alert level of one: e1",
        "1 findings are open ($12.00 a day)",
        "nobody has looked at the costs for",
    ):
        assert f"- {flag}" in body
    assert "- i-1 runs for nothing: $12.00 a day" in body


def test_storage_is_charged_once_where_it_has_a_price(guard: Guard) -> None:
    """G1: MB-hours of the audio that is known."""
    guard.rows.transcribes(3)  # 1000 bytes each
    day = next_day(guard)
    check(guard)
    assert guard.rows.lines("storage") == []
    guard.ports = replace(guard.ports, prices=PriceBook({CPU: Price(0, "x")}, {Service.STORAGE: Price(23_000, "list")}))
    next_day(guard)
    for _ in range(2):
        guard.store.memory.remember("daily", {})
        guard.store.memory.remember("standing", {})
        check(guard)
    (line,) = guard.rows.lines("storage")
    assert (line.entry.service, line.entry.quantity, line.entry.unit) == ("storage", 1, "MB-hours")
    assert line.bearer.day == day_of(begins_at(day) + 86_400)


def test_scenario_14_a_bill_that_is_a_day_stale_holds_nothing_up(guard: Guard) -> None:
    """The bill says $0 while $40 are spent: the ceiling acts, from the ledger; the bill is checked when it has come."""
    guard.billed({})
    guard.spend("39.99")
    guard.fleet.scale(1)
    assert "frozen" in guard.sweep()
    assert guard.control.gpu_frozen
    spent_on = next_day(guard)
    check(guard)
    assert not [each for each in guard.store.findings.open() if each.source == "bill"], "it has not come yet"
    next_day(guard)
    check(guard)
    assert not [each for each in guard.store.findings.open() if each.source == "bill"]
    assert f"{spent_on}: $0.00 (ledger $39.99)" in report_of(guard)
    next_day(guard)
    check(guard)
    (finding,) = [each.finding for each in guard.store.findings.open() if each.source == "bill"]
    assert (finding.subject, finding.day_micros) == (f"bill of {spent_on}", micros("39.99"))
    guard.billed({spent_on: micros("41")})
    next_day(guard)
    check(guard)
    assert not [each for each in guard.store.findings.open() if each.source == "bill"], "within a tenth"


def report_of(guard: Guard) -> str:
    return "\n".join(each.alert.body for each in guard.store.alerts.unsent(100))


def test_where_there_is_no_bill_it_is_not_spoken_of(guard: Guard) -> None:
    next_day(guard)
    check(guard)
    assert "ill" not in report(guard)[1]


def test_a_bill_that_cannot_be_read_is_said_and_not_asked_again_today(guard: Guard) -> None:
    """Each question costs $0.01."""

    class Counting:
        asked = 0

        def day(self, day: str) -> int | None:
            self.asked += 1
            raise Unavailable(f"no bill of {day} now")

    billing = Counting()
    guard.billed(billing)
    next_day(guard)
    assert "no bill of" in check(guard)
    assert "no bill of" in report(guard)[1]
    check(guard)
    assert billing.asked == 1
    next_day(guard)
    check(guard)
    assert billing.asked == 2


def test_a_part_that_fails_is_tried_again_and_keeps_no_other(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(before: float) -> int:
        raise Unavailable("the catalogue is away")

    guard.ports = replace(guard.ports, prices=PriceBook({}, {Service.STORAGE: Price(23_000, "list")}))
    guard.rows.transcribes(1)
    next_day(guard)
    with monkeypatch.context() as patch:
        patch.setattr(guard.store.catalogue, "audio_bytes", away)
        assert "standing costs: the catalogue is away" in check(guard)
        report(guard)
    check(guard)
    assert guard.rows.lines("storage")


def test_scenario_21_a_new_month_begins_without_a_false_alarm(guard: Guard) -> None:
    """No daily alarm of the month's sum, no negative spend; and what the old month had spent stops nothing."""
    guard.clock.advance(begins_at("2023-11-30") + 86_400 - 600 - guard.clock.now())
    guard.under(gpu_day=Level((), None))
    guard.billed({"2023-11-30": micros(4), "2023-11-29": 0, "2023-11-28": 0})
    guard.spend("95", day="2023-11-02")
    guard.spend("4")
    guard.rows.device("g1")
    guard.sweep()
    assert not guard.control.stops
    assert guard.saves(), "the month is nearly spent"
    guard.notifier.told.clear()
    for _ in range(20):
        guard.store.workers.heartbeat("g1")
        guard.sweep(60)
        check(guard)
    assert guard.today == "2023-12-01"
    assert not guard.control.stops
    assert not guard.saves(), "a new month"
    assert [key for key in guard.told() if key.startswith(("alert:", "stop:", "finding:bill"))] == []
    summary = [each for each in guard.notifier.told if each.severity is Severity.SUMMARY][-1]
    assert summary.title.startswith("2023-11-30 cost $4.")
    december = guard.store.purse.budget(Scope.MONTH, "2023-12")
    assert december.reserved == 0
    assert december.spent == guard.store.purse.budget(Scope.DAY, "2023-12-01").spent
    assert 0 < december.spent < micros("0.70"), "the idle time since midnight"
