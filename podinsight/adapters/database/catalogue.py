"""Feeds and episodes in SQL."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from podinsight.adapters.database.catalogue_tables import episodes, feed_aliases, feeds
from podinsight.adapters.database.engine import Database, storable
from podinsight.adapters.database.episode_rows import episode_query, to_episode
from podinsight.adapters.database.feed_items import FeedItems
from podinsight.adapters.database.feed_names import (
    NAMES_LOCK,
    announces_move,
    find_feed,
    is_slug_taken,
    lock_names,
    new_url,
    remember_names,
)
from podinsight.domain import identity
from podinsight.domain.episode import DIRECT_SLUG, Episode
from podinsight.domain.feed import Document, Feed, FeedItem, ParsedFeed
from podinsight.domain.hosts import HostLimits
from podinsight.errors import Permanent
from podinsight.ports import Clock

_NEVER = 1e18
_BATCH = 500
_LONGEST_SLUG = 80
_MOST_NOTES, _LONGEST_NOTE = 50, 500


def to_feed(row: Row[Any]) -> Feed:
    plain = {name: getattr(row, name) for name in Feed.__dataclass_fields__ if name != "notes"}
    return Feed(**plain, notes=tuple(row.notes or ()))


class SqlCatalogue:
    """ports.Catalogue."""

    def __init__(self, db: Database, clock: Clock, limits: HostLimits) -> None:
        self._db, self._clock = db, clock
        self._items = FeedItems(db, clock, limits)

    def add_feed(self, url: str) -> tuple[Feed, bool]:
        url = identity.normalise_url(url)
        url_id = identity.feed_id(url)
        with self._db.write() as conn:
            self._db.lock(conn, NAMES_LOCK)
            known = find_feed(conn, url)
            this = feeds.c.id == (known or url_id)
            if known is None:
                conn.execute(insert(feeds).values(id=url_id, url=url, created_at=self._clock.now()))
            feed = to_feed(conn.execute(select(feeds).where(this)).one())
            if urlsplit(url).username is not None and identity.feed_id(feed.url) == url_id:
                # The same feed under another password: the newest holds.
                conn.execute(update(feeds).where(this).values(url=url))
                feed = replace(feed, url=url)
            return feed, known is None

    def set_user_agent(self, feed_id: str, user_agent: str | None) -> None:
        if user_agent is not None and not (user_agent.strip() and user_agent.isascii() and user_agent.isprintable()):
            raise Permanent("a user agent is printable ASCII")
        with self._db.write() as conn:
            of_feed = update(feeds).where(feeds.c.id == feed_id)
            if conn.execute(of_feed.values(user_agent=user_agent and user_agent.strip())).rowcount != 1:
                raise Permanent(f"no feed {feed_id}")

    def set_tier(self, feed_id: str, tier: str | None) -> None:
        with self._db.write() as conn:
            name = storable(tier).strip() if tier else None
            conn.execute(update(feeds).where(feeds.c.id == feed_id).values(tier=name or None))

    def feed(self, feed_id: str) -> Feed | None:
        with self._db.read() as conn:
            row = conn.execute(select(feeds).where(feeds.c.id == feed_id, feeds.c.id != DIRECT_SLUG)).first()
            return to_feed(row) if row else None

    def remove_feed(self, feed_id: str) -> None:
        with self._db.write() as conn:
            if conn.execute(select(episodes.c.seq).where(episodes.c.feed_id == feed_id).limit(1)).first():
                raise Permanent(f"feed {feed_id} has episodes and stays")
            conn.execute(delete(feed_aliases).where(feed_aliases.c.feed_id == feed_id))
            conn.execute(delete(feeds).where(feeds.c.id == feed_id))

    def feeds(self) -> list[Feed]:
        with self._db.read() as conn:
            rows = conn.execute(select(feeds).where(feeds.c.id != DIRECT_SLUG).order_by(feeds.c.created_at, feeds.c.id))
            return [to_feed(row) for row in rows]

    def due_feeds(self, limit: int, hold_seconds: float) -> list[Feed]:
        now = self._clock.now()
        with self._db.write() as conn:
            rows = conn.execute(
                select(feeds)
                .where(feeds.c.next_poll_at <= now)
                .order_by(feeds.c.next_poll_at)
                .limit(limit)
                .with_for_update(skip_locked=True)
            ).all()
            ids = [row.id for row in rows]
            conn.execute(update(feeds).where(feeds.c.id.in_(ids)).values(next_poll_at=now + hold_seconds))
            return [to_feed(row) for row in rows]

    def postpone_poll(self, feed_id: str, next_poll_at: float) -> None:
        with self._db.write() as conn:
            conn.execute(update(feeds).where(feeds.c.id == feed_id).values(next_poll_at=next_poll_at))

    def record_poll_error(self, feed_id: str, error: str, next_poll_at: float) -> None:
        with self._db.write() as conn:
            conn.execute(
                update(feeds)
                .where(feeds.c.id == feed_id)
                .values(error=storable(error), last_polled_at=self._clock.now(), next_poll_at=next_poll_at)
            )

    def record_poll(self, feed_id: str, document: Document, parsed: ParsedFeed | None, next_poll_at: float) -> int:
        now = self._clock.now()
        values: dict[str, object] = {"error": None, "last_polled_at": now, "next_poll_at": next_poll_at}
        with self._db.write() as conn:
            if announces_move(document, parsed):
                self._db.lock(conn, NAMES_LOCK)
            elif parsed is not None:
                lock_names(self._db, conn, feed_id)
            feed = conn.execute(select(feeds).where(feeds.c.id == feed_id).with_for_update()).first()
            if feed is None:
                raise Permanent(f"no feed {feed_id}")
            added = 0
            if parsed is not None:
                values |= {
                    "title": storable(parsed.title),
                    "link": parsed.link and storable(parsed.link),
                    "language": parsed.language and storable(parsed.language)[:40],
                    "image": parsed.image and storable(parsed.image),
                    "etag": document.etag and storable(document.etag),
                    "last_modified": document.last_modified and storable(document.last_modified),
                    "podcast_guid": parsed.podcast_guid and storable(parsed.podcast_guid)[:_LONGEST_NOTE],
                    "notes": [storable(note)[:_LONGEST_NOTE] for note in parsed.notes[:_MOST_NOTES]],
                }
                if feed.slug is None:
                    values["slug"] = self._free_slug(conn, parsed.title, feed_id)
                added = self._items.merge(conn, feed_id, parsed.items, reissued=True)
                values["episodes"] = feeds.c.episodes + added
                moved = new_url(conn, feed, document, parsed)
                if moved is not None:  # what validates a document elsewhere says nothing of the one there
                    values |= {"url": moved, "etag": None, "last_modified": None}
                    remember_names(self._db, conn, feed_id, feed.url, moved)
            conn.execute(update(feeds).where(feeds.c.id == feed_id).values(values))
        return added

    def add_direct(self, item: FeedItem) -> Episode:
        with self._db.write() as conn:
            conn.execute(
                self._db.insert_new(feeds).values(
                    id=DIRECT_SLUG,
                    url=f"{DIRECT_SLUG}:",
                    slug=DIRECT_SLUG,
                    title="Single episodes",
                    next_poll_at=_NEVER,
                    created_at=self._clock.now(),
                )
            )
            conn.execute(select(feeds.c.id).where(feeds.c.id == DIRECT_SLUG).with_for_update())
            added = self._items.merge(conn, DIRECT_SLUG, (item,))
            conn.execute(update(feeds).where(feeds.c.id == DIRECT_SLUG).values(episodes=feeds.c.episodes + added))
            found = episode_query().where(episodes.c.id == identity.episode_id(DIRECT_SLUG, item.guid))
            return to_episode(conn.execute(found).one())

    def episode(self, episode_id: str) -> Episode | None:
        with self._db.read() as conn:
            row = conn.execute(episode_query().where(episodes.c.id == episode_id)).first()
            return to_episode(row) if row else None

    def episodes(self, ids: Sequence[str]) -> list[Episode]:
        found: dict[str, Episode] = {}
        with self._db.read() as conn:
            for start in range(0, len(ids), _BATCH):
                for row in conn.execute(episode_query().where(episodes.c.id.in_(ids[start : start + _BATCH]))):
                    found[row.id] = to_episode(row)
        return [found[episode_id] for episode_id in ids if episode_id in found]

    def first_episodes(self, limit: int | None, feed_id: str | None = None) -> list[Episode]:
        query = episode_query().order_by(episodes.c.seq).limit(limit)
        if feed_id is not None:
            query = query.where(episodes.c.feed_id == feed_id)
        with self._db.read() as conn:
            return [to_episode(row) for row in conn.execute(query)]

    def audio_bytes(self, before: float | None = None) -> int:
        query = select(func.coalesce(func.sum(episodes.c.audio_bytes), 0)).where(episodes.c.audio_key.is_not(None))
        if before is not None:
            query = query.where(episodes.c.fetched_at < before)
        with self._db.read() as conn:
            return int(conn.execute(query).scalar_one())

    def unregistered(self, limit: int) -> list[Episode]:
        query = episode_query().where(episodes.c.unregistered.is_not(None)).order_by(episodes.c.unregistered)
        with self._db.read() as conn:
            return [to_episode(row) for row in conn.execute(query.limit(limit))]

    def registered(self, episode_ids: Sequence[str]) -> None:
        self._set_unregistered(episode_ids, None)

    def register_later(self, episode_ids: Sequence[str]) -> None:
        self._set_unregistered(episode_ids, self._clock.now())

    def _set_unregistered(self, episode_ids: Sequence[str], since: float | None) -> None:
        """Of those that wait. One that is locked is left as it is, to be registered once more, which does no harm: a
        poll changes many rows in an order of its own."""
        for start in range(0, len(episode_ids), _BATCH):
            batch = episode_ids[start : start + _BATCH]
            waiting = select(episodes.c.id).where(episodes.c.id.in_(batch), episodes.c.unregistered.is_not(None))
            with self._db.write() as conn:
                ids = conn.execute(waiting.with_for_update(skip_locked=True)).scalars().all()
                conn.execute(update(episodes).where(episodes.c.id.in_(ids)).values(unregistered=since))

    def _free_slug(self, conn: Connection, title: str, feed_id: str) -> str:
        wanted = identity.slug(storable(title))[:_LONGEST_SLUG].rstrip("-")
        return identity.unique_slug(wanted, lambda slug: is_slug_taken(conn, slug), feed_id)
