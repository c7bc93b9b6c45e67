"""What the cost guard finds, says and remembers, on every database; and who tells people."""

from collections.abc import Callable

import pytest

from podinsight.adapters.apprise_notifier import AppriseNotifier
from podinsight.adapters.database import SqlStore
from podinsight.adapters.memory import MemoryNotifier
from podinsight.domain.alerts import Alert, Severity
from podinsight.domain.findings import Finding
from podinsight.errors import Unavailable
from podinsight.ports import Notifier
from tests.support.clock import ManualClock

IDLE = Finding("has been idle for 700 s", "i-1", 12_000_000, "it goes")
MINIMUM = Finding("keeps one machine", "group a", 24_000_000)


def alert(key: str, severity: Severity = Severity.WARNING) -> Alert:
    return Alert(key, severity, f"about {key}", "text")


# ------------------------------------------------------------------------------------------------------------ alerts


def test_an_alert_is_posted_once_for_each_key(store: SqlStore, clock: ManualClock) -> None:
    first = alert("a", Severity.CRITICAL)
    assert [store.alerts.post(each) for each in (first, alert("b"), alert("a"))] == [True, True, False]
    posted = store.alerts.unsent(10)
    assert [(each.at, each.alert, each.tries) for each in posted] == [
        (clock.now(), first, 0),
        (clock.now(), alert("b"), 0),
    ]
    assert [each.alert.key for each in store.alerts.unsent(1)] == ["a"]
    store.alerts.sent(posted[0].id)
    assert [each.alert.key for each in store.alerts.unsent(10)] == ["b"]
    assert not store.alerts.post(first), "not even once it was sent"


def test_one_that_failed_waits_longer_each_time_up_to_an_hour(store: SqlStore, clock: ManualClock) -> None:
    store.alerts.post(alert("a"))
    for tries, wait in enumerate([60, 120, 240, 480, 960, 1920, 3600, 3600], start=1):
        (posted,) = store.alerts.unsent(10)
        store.alerts.failed(posted.id, "no\0body")
        clock.advance(wait - 1)
        assert store.alerts.unsent(10) == []
        clock.advance(1)
        assert [each.tries for each in store.alerts.unsent(10)] == [tries]


def test_what_no_database_takes_is_left_out(store: SqlStore) -> None:
    store.alerts.post(Alert("k" * 500, Severity.SUMMARY, "nul \0 and \ud800", "b" * 20_000))
    (posted,) = store.alerts.unsent(10)
    assert (posted.alert.key, posted.alert.title, len(posted.alert.body)) == ("k" * 200, "nul  and ?", 8000)


# ---------------------------------------------------------------------------------------------------------- findings


def test_a_source_reports_all_that_it_finds_now(
    store: SqlStore, clock: ManualClock, another: Callable[[], SqlStore]
) -> None:
    assert store.findings.report("sweep", [IDLE, MINIMUM]) == [MINIMUM, IDLE]
    began = clock.now()
    clock.advance(60)
    later = Finding("has been idle for 760 s", "i-1", 12_000_000, "it goes")
    assert another().findings.report("sweep", [later]) == []
    (found,) = store.findings.open()
    assert (found.finding, found.source, found.first_at, found.last_at) == (later, "sweep", began, clock.now())
    assert store.findings.report("sweep", [IDLE, MINIMUM]) == [MINIMUM], "what comes back is new"


def test_people_are_told_of_what_is_new_with_it_or_not_at_all(store: SqlStore) -> None:
    """O7: a sweep that is killed between the two must not have found it without a word."""

    def dies(_found: Finding) -> Alert:
        raise KeyError("killed")

    with pytest.raises(KeyError):
        store.findings.report("sweep", [IDLE], dies)
    assert (store.findings.open(), store.alerts.unsent(9)) == ([], [])
    for found in ([IDLE], [IDLE, MINIMUM]):
        store.findings.report("sweep", found, lambda each: alert(each.subject))
    assert [each.alert.key for each in store.alerts.unsent(9)] == ["i-1", "group a"]


def test_each_source_has_its_own_and_the_dearest_come_first(store: SqlStore) -> None:
    store.findings.report("sweep", [IDLE])
    store.findings.report("bill", [IDLE, MINIMUM])
    first = store.findings.open()[0]
    assert (first.source, first.finding.subject) == ("bill", "group a")
    store.findings.report("bill", [])
    assert [each.source for each in store.findings.open()] == ["sweep"]


# ------------------------------------------------------------------------------------------------------------ memory


def test_what_was_remembered_last_is_recalled(store: SqlStore, another: Callable[[], SqlStore]) -> None:
    assert store.memory.recall("brain") is None
    store.memory.remember("brain", {"desired": 3, "since": 1.5, "list": [1, "a", None]})
    store.memory.remember("sweep", {})
    assert another().memory.recall("brain") == {"desired": 3, "since": 1.5, "list": [1, "a", None]}
    another().memory.remember("brain", {"desired": 0})
    assert (store.memory.recall("brain"), store.memory.recall("sweep")) == ({"desired": 0}, {})


# --------------------------------------------------------------------------------------------------------- notifiers


@pytest.mark.parametrize("notifier", [MemoryNotifier(quiet=list(Severity)), AppriseNotifier({})])
def test_of_what_nobody_wants_to_hear_nobody_is_told(notifier: Notifier) -> None:
    assert notifier.send(alert("a")) is False


def test_the_one_in_memory_keeps_what_it_was_told() -> None:
    notifier = MemoryNotifier(quiet={Severity.SUMMARY})
    notifier.down.add("b")
    assert notifier.send(alert("a"))
    with pytest.raises(Unavailable):
        notifier.send(alert("b"))
    assert not notifier.send(alert("c", Severity.SUMMARY))
    assert [each.key for each in notifier.told] == ["a"]
