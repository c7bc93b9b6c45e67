"""Dispatch learns what the gate says of hosts: cooling ones get nothing and cost nobody a slot, lowered ones less."""

from collections import Counter
from collections.abc import Sequence

import pytest

from podinsight.domain.hosts import HostNote
from podinsight.domain.work import Ticket
from tests.support.rows import Rows, audio


def hosts_of(rows: Rows, tickets: Sequence[Ticket]) -> Counter[str]:
    found = rows.store.catalogue.episodes([ticket.episode_id for ticket in tickets])
    return Counter(episode.host for episode in found)


def cool(rows: Rows, *hosts: str, seconds: float = 60) -> None:
    rows.store.hosts.observe([HostNote(host, cooling_until=rows.clock.now() + seconds) for host in hosts])


def test_a_cooling_host_gets_nothing_until_it_is_over(rows: Rows) -> None:
    rows.fetches(3, "hot.test")
    rows.fetches(2, "other.test", "b")
    cool(rows, "hot.test")
    assert hosts_of(rows, rows.work.dispatch("fetch", 9)) == {"other.test": 2}
    rows.clock.advance(59)
    assert rows.work.dispatch("fetch", 9) == []
    rows.clock.advance(1)
    assert hosts_of(rows, rows.work.dispatch("fetch", 9)) == {"hot.test": 3}


def test_cooling_hosts_push_no_other_out_of_the_window(rows: Rows) -> None:
    """Far more lanes of cooling hosts than are looked at, all of higher priority than the one that can be served."""
    names = [f"hot{n}.test" for n in range(20)]
    for n, name in enumerate(names):
        rows.fetches(1, name, f"f{n}", priority=9)
    rows.fetches(2, "open.test", "open", priority=0)
    cool(rows, *names)
    assert hosts_of(rows, rows.work.dispatch("fetch", 2)) == {"open.test": 2}


def test_neither_do_hosts_that_cool_down_by_a_younger_rule(rows: Rows) -> None:
    for n in range(20):
        rows.fetches(1, f"edge{n}.hot.test", f"f{n}", priority=9)
    rows.fetches(2, "open.test", "open", priority=0)
    rows.store.hosts.set_rule("hot.test", 3, None)
    cool(rows, "hot.test")
    assert hosts_of(rows, rows.work.dispatch("fetch", 2)) == {"open.test": 2}
    rows.clock.advance(60)
    assert sum(hosts_of(rows, rows.work.dispatch("fetch", 9)).values()) == 7


@pytest.mark.parametrize(("limit_now", "sent"), [(2, 2), (1, 1), (50, 5), (0, 5)])
def test_a_lowered_limit_holds_and_never_raises_one(rows: Rows, limit_now: int, sent: int) -> None:
    rows.fetches(9, "a.megaphone.fm")
    rows.store.hosts.observe([HostNote("megaphone.fm", limit_now=3), HostNote("megaphone.fm", limit_now=limit_now)])
    assert hosts_of(rows, rows.work.dispatch("fetch", 20)) == {"megaphone.fm": sent}
    assert rows.work.dispatch("fetch", 20) == []


def test_lowered_hosts_leave_their_slots_to_others(rows: Rows) -> None:
    for n in range(6):
        rows.fetches(9, f"low{n}.test", f"f{n}", priority=9)
    rows.fetches(9, "open.test", "open", priority=0)
    rows.store.hosts.observe([HostNote(f"low{n}.test", limit_now=1) for n in range(6)])
    found = hosts_of(rows, rows.work.dispatch("fetch", 10))
    assert found == {f"low{n}.test": 1 for n in range(6)} | {"open.test": 4}


def test_stored_rules_hold_in_dispatch(rows: Rows) -> None:
    rows.store.hosts.set_rule("slow.test", 2, None)
    rows.store.hosts.set_rule("megaphone.fm", 1, None)
    rows.store.hosts.set_rule("late.test", 4, None)
    rows.fetches(9, "slow.test")
    rows.fetches(9, "a.megaphone.fm", "b")
    rows.fetches(9, "late.test", "c")
    rows.store.hosts.set_rule("late.test", 3, 2.0)
    assert hosts_of(rows, rows.work.dispatch("fetch", 30)) == {"slow.test": 2, "megaphone.fm": 1, "late.test": 3}


def test_chunks_know_no_hosts(rows: Rows) -> None:
    (episode_id,) = rows.transcribes(1)
    cool(rows, "", "h.test", "cdn.test")
    assert [ticket.episode_id for ticket in rows.work.dispatch("chunk", 1)] == [episode_id]


def test_a_host_in_flight_under_a_lowered_limit_counts(rows: Rows) -> None:
    rows.worker()
    ids = rows.fetches(6, "h.test")
    leases = [rows.claim(episode_id) for episode_id in ids[:3]]
    rows.store.hosts.observe([HostNote("h.test", limit_now=2)])
    assert rows.work.dispatch("fetch", 9) == []
    for lease in leases[:2]:
        rows.work.commit_fetch(lease, audio(), 1)
    assert len(rows.work.dispatch("fetch", 9)) == 1
