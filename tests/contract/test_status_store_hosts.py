"""Hosts and metrics: rules, what the gate said, and the figures of a day (F5, F6, T9)."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from podinsight.adapters.database import SqlStore
from podinsight.domain.feed import Document
from podinsight.domain.hosts import HostNote
from podinsight.domain.metrics import Metric
from podinsight.domain.work import State
from podinsight.errors import Permanent
from podinsight.ports import HostRow
from podinsight.topology import STAGES
from tests.support.clock import ManualClock
from tests.support.rows import Rows, audio

DAY, NEXT_DAY = "2026-11-22", "2026-11-23"
NOON = 1_795_348_800.0  # 2026-11-22 12:00 UTC


@pytest.fixture
def clock() -> ManualClock:
    clock = ManualClock()
    clock.advance(NOON - clock.now())
    return clock


def test_rules_go_over_the_settings_and_can_be_taken_back(store: SqlStore) -> None:
    before = store.hosts.limits()
    assert (before.key("x.megaphone.fm"), before.limit("megaphone.fm")) == ("megaphone.fm", 5)
    store.hosts.set_rule("Megaphone.FM", 2, None)
    store.hosts.set_rule(".cdn.test", None, 0.5)
    store.hosts.set_rule("big.megaphone.fm", None, 3.0)
    limits = store.hosts.limits()
    assert (limits.limit("x.megaphone.fm"), limits.rate("x.megaphone.fm")) == (2, before.default_rate)
    assert (limits.key("a.cdn.test"), limits.limit("a.cdn.test"), limits.rate("a.cdn.test")) == ("cdn.test", 10, 0.5)
    assert limits.key("a.big.megaphone.fm") == "big.megaphone.fm"
    assert (limits.limit("big.megaphone.fm"), limits.rate("big.megaphone.fm")) == (2, 3.0)
    assert limits.key("notcdn.test") == "notcdn.test"
    for host in ("megaphone.fm", "cdn.test", "big.megaphone.fm"):
        store.hosts.set_rule(host, None, None)
    assert store.hosts.limits() == before
    assert store.hosts.rows(DAY) == []


@pytest.mark.parametrize(
    ("host", "limit", "rate"), [("h.test", 0, None), ("h.test", None, 0.0), ("h.test", 1, float("nan")), ("", 1, None)]
)
def test_a_rule_that_makes_no_sense_is_refused(
    store: SqlStore, host: str, limit: int | None, rate: float | None
) -> None:
    with pytest.raises(Permanent, match="at least 1"):
        store.hosts.set_rule(host, limit, rate)
    assert store.hosts.rows(DAY) == []


def test_counts_add_up_by_utc_day(store: SqlStore, clock: ManualClock) -> None:
    store.hosts.observe([])
    store.hosts.observe([HostNote("b.test", 3, 1, 1, 100), HostNote("a.test", 1), HostNote("b.test", 2, received=5)])
    store.hosts.observe([HostNote("a.test", 1, 1)])
    store.hosts.set_rule("ruled.test", 4, 2.0)
    assert store.hosts.rows(DAY) == [
        HostRow("a.test", requests=2, throttled=1),
        HostRow("b.test", requests=5, throttled=1, failed=1, received=105),
        HostRow("ruled.test", 4, 2.0),
    ]
    clock.advance(12 * 3600)
    store.hosts.observe([HostNote("a.test", 7)])
    assert [(row.host, row.requests) for row in store.hosts.rows(NEXT_DAY)] == [("a.test", 7), ("ruled.test", 0)]
    assert store.hosts.row("A.test:443", DAY) == HostRow("a.test", requests=2, throttled=1)
    assert store.hosts.row("nobody.test", DAY) == HostRow("nobody.test")


def test_what_the_gate_says_is_kept_until_it_says_otherwise(store: SqlStore) -> None:
    store.hosts.observe([HostNote("a.test", 1, 1, limit_now=2, cooling_until=NOON + 60)])
    store.hosts.set_rule("a.test", 6, None)
    store.hosts.observe([HostNote("a.test", 1), HostNote("a.test", cooling_until=NOON + 30)])
    assert store.hosts.row("a.test", DAY) == HostRow(
        "a.test", limit_set=6, limit_now=2, cooling_until=NOON + 60, requests=2, throttled=1
    )
    store.hosts.observe([HostNote("a.test", limit_now=0, cooling_until=NOON + 90)])
    (row,) = store.hosts.rows(DAY)
    assert (row.limit_now, row.cooling_until, row.limit_set) == (None, NOON + 90, 6)


def test_a_new_suffix_takes_over_what_the_hosts_below_it_were_told(store: SqlStore) -> None:
    """F6: the operator answers a 429 by a rule; Retry-After and the halved limit are not forgotten by it."""
    store.hosts.observe(
        [
            HostNote("traffic.show.test", 1, 1, limit_now=4, cooling_until=NOON + 3600),
            HostNote("b.show.test", limit_now=2, cooling_until=NOON + 7),
            HostNote("notshow.test", limit_now=1, cooling_until=NOON + 9000),
        ]
    )
    store.hosts.set_rule("show.test", 8, None, drain=20)
    row = store.hosts.row("show.test", DAY)
    assert (row.limit_set, row.limit_now, row.cooling_until) == (8, 2, NOON + 3600)
    store.hosts.set_rule("deep.b.show.test", 3, None, drain=20)
    row = store.hosts.row("deep.b.show.test", DAY)
    assert (row.limit_now, row.cooling_until) == (2, NOON + 3600), "what was above it holds for a part as well"


def test_requests_under_old_keys_may_end_before_new_ones_begin(store: SqlStore, clock: ManualClock) -> None:
    """F5: else the old and the new key let in as many each."""
    store.hosts.set_rule("show.test", 2, None, drain=20)
    assert store.hosts.row("show.test", DAY).cooling_until == NOON + 20
    clock.advance(100)
    store.hosts.set_rule("show.test", 3, 2.0, drain=20)
    assert store.hosts.row("show.test", DAY).cooling_until == NOON + 20, "the key is the same"


def test_a_rule_that_is_taken_back_leaves_its_cool_down(store: SqlStore) -> None:
    store.hosts.set_rule("big.megaphone.fm", 2, None)
    store.hosts.set_rule("show.test", 2, None)
    store.hosts.observe(
        [HostNote(name, 1, 1, limit_now=1, cooling_until=NOON + 3600) for name in ("big.megaphone.fm", "show.test")]
    )
    store.hosts.set_rule("big.megaphone.fm", None, None, drain=20)
    row = store.hosts.row("megaphone.fm", DAY)
    assert (row.limit_now, row.cooling_until) == (1, NOON + 3600), "its hosts fall under the suffix above"
    store.hosts.set_rule("show.test", None, None, drain=20)
    assert store.hosts.row("never.asked.show.test", DAY).cooling_until == NOON + 3600
    store.hosts.set_rule("ruled.show.test", 2, None, drain=20)
    assert store.hosts.row("ruled.show.test", DAY).cooling_until == NOON + 3600


def test_a_host_with_a_rule_does_not_wait_for_the_domain_above(store: SqlStore) -> None:
    store.hosts.set_rule("a.show.test", 2, None)
    store.hosts.observe([HostNote("show.test", 1, 1, cooling_until=NOON + 3600)])
    assert store.hosts.row("a.show.test", DAY).cooling_until is None


def test_notes_of_many_at_once_all_count(store: SqlStore, another: Callable[[], SqlStore]) -> None:
    stores = [another() for _ in range(4)]
    names = [f"h{n}.test" for n in range(20)]

    def note(number: int) -> None:
        for round_ in range(10):
            order = names if (number + round_) % 2 else names[::-1]
            stores[number].hosts.observe([HostNote(name, 1, cooling_until=NOON + round_) for name in order])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(note, range(4)))
    assert {(row.requests, row.cooling_until) for row in store.hosts.rows(DAY)} == {(40, NOON + 9)}


def value(store: SqlStore, name: str, **dimensions: str) -> float | None:
    found = [each.value for each in store.metrics.read(DAY) if (each.name, each.dimensions) == (name, dimensions)]
    return found[0] if found else None


def test_a_day_without_anything_has_no_figures(store: SqlStore) -> None:
    assert store.metrics.read(DAY) == []


def test_downloads_by_feed(rows: Rows) -> None:
    rows.worker()
    one, two, three, four = rows.fetches(4, feed="a")
    (other,) = rows.fetches(1, feed="b")
    rows.work.commit_fetch(rows.claim(one), replace(audio(), size=3_000_000), 1)
    rows.work.delay(rows.claim(two), "503", 0)
    rows.work.reconcile(60)
    rows.work.commit_fetch(rows.claim(two), replace(audio(), size=1_000_000), 1)
    rows.work.end(rows.claim(three), State.FAILED, "404")
    rows.work.end(rows.claim(four), State.REFUSED, "private address")
    rows.work.commit_fetch(rows.claim(other), replace(audio(), size=2_000_000), 1)
    assert value(rows.store, "DownloadSuccessRate", feed_slug="a") == 0.5
    assert value(rows.store, "DownloadSuccessRate", feed_slug="b") == 1.0
    assert value(rows.store, "DownloadSuccessRate") == 0.6
    assert value(rows.store, "AvgDownloadMB", phase="fetch") == value(rows.store, "AvgDownloadMB") == 2.0
    assert value(rows.store, "GBTransferred", phase="fetch") == value(rows.store, "GBTransferred") == 0.006


def test_a_fetch_that_is_lost_too_often_has_failed_and_one_started_over_may_succeed(rows: Rows) -> None:
    (lost,) = rows.fetches(1)
    for _ in range(STAGES["fetch"].max_losses + 1):
        rows.wait_out()
        rows.claim(lost, worker=rows.worker())
        rows.work.expire_worker("w1")
    assert value(rows.store, "DownloadSuccessRate") == 0.0
    rows.work.retry_failed("fetch", None)
    rows.fetch(lost)
    assert value(rows.store, "DownloadSuccessRate") == 0.5


def test_a_transcription_that_fails_is_no_download(rows: Rows) -> None:
    (episode_id,) = rows.transcribes(1)
    rows.work.end(rows.claim(episode_id, "transcribe", "g1"), State.FAILED, "no model")
    assert value(rows.store, "DownloadSuccessRate") == 1.0


def test_shares_of_429_and_all_bytes_by_host(store: SqlStore) -> None:
    store.hosts.observe([HostNote("a.test", 4, 1, received=2_000_000_000), HostNote("b.test", 6), HostNote("c.test")])
    assert store.metrics.read(DAY) == [
        Metric("PerHost429", 0.25, "share", {"hostname": "a.test"}),
        Metric("PerHost429", 0.0, "share", {"hostname": "b.test"}),
        Metric("PerHost429", 0.1, "share"),
        Metric("GBTransferred", 2.0, "GB", {"phase": "fetch"}),
        Metric("GBTransferred", 2.0, "GB"),
    ]
    assert store.metrics.read(NEXT_DAY) == []


def test_failed_fetches_of_a_host_are_found_under_a_younger_rule(rows: Rows) -> None:
    """`podrun retry --failed --host` (F14): the rows were made before the rule that now names their host's key."""
    rows.worker()
    ids = rows.fetches(1, "cdn1.big.test") + rows.fetches(1, "cdn2.big.test", "b") + rows.fetches(1, "notbig.test", "c")
    for episode_id in ids:
        rows.work.end(rows.claim(episode_id), State.FAILED, "404")
    rows.store.hosts.set_rule("big.test", 2, None)
    assert rows.work.retry_failed("fetch", "big.test") == 2
    assert rows.state(ids[2]) is State.FAILED


def test_the_host_that_answered_is_noted_by_the_rule_that_holds(rows: Rows) -> None:
    rows.store.hosts.set_rule("cdn.test", 2, None)
    (episode_id,) = rows.fetches(1, "start.cdn.test")
    episode = rows.store.catalogue.episode(episode_id)
    assert episode is not None
    assert episode.host == "cdn.test"
    rows.store.hosts.set_rule("end.test", 3, None)
    rows.work.commit_fetch(rows.claim(episode_id, worker=rows.worker()), audio("edge7.end.test"), 1)
    rows.project("fetch", episode_id)
    assert [each.host for each in rows.store.catalogue.episodes([episode_id])] == ["end.test"]


def test_a_feed_that_was_only_polled_counts_no_download(rows: Rows) -> None:
    feed, _new = rows.store.catalogue.add_feed("https://feeds.test/a.xml")
    rows.store.catalogue.record_poll(feed.id, Document(feed.url, None), None, 0)
    assert rows.store.metrics.read(DAY) == []
