"""Feeds one by one: their tier, their turn, and finding one (ports.Catalogue)."""

from podinsight.adapters.database import SqlStore
from podinsight.domain.episode import DIRECT_SLUG
from podinsight.domain.feed import FeedItem
from tests.support.clock import ManualClock


def test_a_feed_by_its_id(store: SqlStore) -> None:
    feed, _ = store.catalogue.add_feed("https://a.test/feed")
    store.catalogue.add_direct(FeedItem("1", "One", "https://a.test/1.mp3"))
    assert store.catalogue.feed(feed.id) == feed
    assert store.catalogue.feed("nobody") is None
    assert store.catalogue.feed(DIRECT_SLUG) is None, "that is no feed that is polled"


def test_tiers(store: SqlStore) -> None:
    one, _ = store.catalogue.add_feed("https://a.test/feed")
    other, _ = store.catalogue.add_feed("https://b.test/feed")
    store.catalogue.set_tier(one.id, "News/Daily ")
    assert [(feed.id, feed.tier) for feed in store.catalogue.feeds()] in (
        [(one.id, "News/Daily"), (other.id, None)],
        [(other.id, None), (one.id, "News/Daily")],
    )
    store.catalogue.set_tier(one.id, " ")
    store.catalogue.set_tier(other.id, None)
    assert {feed.tier for feed in store.catalogue.feeds()} == {None}


def test_a_poll_that_is_put_off_changes_nothing_else(store: SqlStore, clock: ManualClock) -> None:
    feed, _ = store.catalogue.add_feed("https://a.test/feed")
    store.catalogue.record_poll_error(feed.id, "broken", clock.now() + 10)
    before = store.catalogue.feed(feed.id)
    assert before is not None
    clock.advance(11)
    (taken,) = store.catalogue.due_feeds(5, 300.0)
    store.catalogue.postpone_poll(taken.id, clock.now() + 40)
    after = store.catalogue.feed(feed.id)
    assert after is not None
    assert (after.error, after.last_polled_at) == ("broken", before.last_polled_at)
    assert store.catalogue.due_feeds(5, 300.0) == []
    clock.advance(40)
    assert [each.id for each in store.catalogue.due_feeds(5, 300.0)] == [feed.id]
