"""Feeds and episodes in SQL."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, delete, insert, select, update

from podinsight.adapters.database.engine import Database, storable
from podinsight.adapters.database.models import episodes, feeds
from podinsight.domain import identity
from podinsight.domain.episode import DIRECT_SLUG, Episode
from podinsight.domain.feed import Document, Feed, FeedItem, ParsedFeed, TranscriptLink
from podinsight.errors import Permanent
from podinsight.ports import Clock

_NEVER = 1e18
_EPISODE = select(episodes, feeds.c.slug.label("feed_slug"), feeds.c.language.label("language")).join(
    feeds, feeds.c.id == episodes.c.feed_id
)


def episode_query() -> Select[Any]:
    """Episodes with the slug and language of their feed: what `to_episode` reads."""
    return _EPISODE


def to_episode(row: Row[Any]) -> Episode:
    links = tuple(TranscriptLink(**link) for link in row.transcripts)
    names = [name for name in Episode.__dataclass_fields__ if name != "transcripts"]
    return Episode(**{name: getattr(row, name) for name in names}, transcripts=links)


def _to_feed(row: Row[Any]) -> Feed:
    return Feed(**{name: getattr(row, name) for name in Feed.__dataclass_fields__})


class SqlCatalogue:
    """ports.Catalogue."""

    def __init__(self, db: Database, clock: Clock, limits: identity.HostLimits) -> None:
        self._db, self._clock, self._limits = db, clock, limits

    def add_feed(self, url: str) -> tuple[Feed, bool]:
        url = identity.normalise_url(url)
        with self._db.write() as conn:
            row = conn.execute(select(feeds).where(feeds.c.url == url)).first()
            if row is None:
                values = {"id": identity.feed_id(url), "url": url, "created_at": self._clock.now()}
                conn.execute(insert(feeds).values(values))
                return _to_feed(conn.execute(select(feeds).where(feeds.c.url == url)).one()), True
            return _to_feed(row), False

    def remove_feed(self, feed_id: str) -> None:
        with self._db.write() as conn:
            if conn.execute(select(episodes.c.seq).where(episodes.c.feed_id == feed_id).limit(1)).first():
                raise Permanent(f"feed {feed_id} has episodes and stays")
            conn.execute(delete(feeds).where(feeds.c.id == feed_id))

    def feeds(self) -> list[Feed]:
        with self._db.read() as conn:
            rows = conn.execute(select(feeds).where(feeds.c.id != DIRECT_SLUG).order_by(feeds.c.created_at, feeds.c.id))
            return [_to_feed(row) for row in rows]

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
            return [_to_feed(row) for row in rows]

    def record_poll_error(self, feed_id: str, error: str, next_poll_at: float) -> None:
        with self._db.write() as conn:
            conn.execute(
                update(feeds)
                .where(feeds.c.id == feed_id)
                .values(error=error, last_polled_at=self._clock.now(), next_poll_at=next_poll_at)
            )

    def record_poll(self, feed_id: str, document: Document, parsed: ParsedFeed | None, next_poll_at: float) -> int:
        now = self._clock.now()
        values: dict[str, object] = {"error": None, "last_polled_at": now, "next_poll_at": next_poll_at}
        with self._db.write() as conn:
            feed = conn.execute(select(feeds).where(feeds.c.id == feed_id).with_for_update()).first()
            if feed is None:
                raise Permanent(f"no feed {feed_id}")
            added = 0
            if parsed is not None:
                values |= {
                    "title": parsed.title,
                    "link": parsed.link,
                    "language": (parsed.language or None) and str(parsed.language)[:40],
                    "image": parsed.image,
                    "etag": document.etag,
                    "last_modified": document.last_modified,
                }
                if feed.slug is None:
                    values["slug"] = self._free_slug(conn, parsed.title, feed_id)
                added = self._merge_items(conn, feed_id, parsed.items)
                values["episodes"] = feeds.c.episodes + added
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
            added = self._merge_items(conn, DIRECT_SLUG, (item,))
            conn.execute(update(feeds).where(feeds.c.id == DIRECT_SLUG).values(episodes=feeds.c.episodes + added))
            found = _EPISODE.where(episodes.c.id == identity.episode_id(DIRECT_SLUG, item.guid))
            return to_episode(conn.execute(found).one())

    def episode(self, episode_id: str) -> Episode | None:
        with self._db.read() as conn:
            row = conn.execute(_EPISODE.where(episodes.c.id == episode_id)).first()
            return to_episode(row) if row else None

    def episodes(self, ids: Sequence[str]) -> list[Episode]:
        found: dict[str, Episode] = {}
        with self._db.read() as conn:
            for start in range(0, len(ids), 500):
                for row in conn.execute(_EPISODE.where(episodes.c.id.in_(ids[start : start + 500]))):
                    found[row.id] = to_episode(row)
        return [found[episode_id] for episode_id in ids if episode_id in found]

    def first_episodes(self, limit: int | None, feed_id: str | None = None) -> list[Episode]:
        query = _EPISODE.order_by(episodes.c.seq).limit(limit)
        if feed_id is not None:
            query = query.where(episodes.c.feed_id == feed_id)
        with self._db.read() as conn:
            return [to_episode(row) for row in conn.execute(query)]

    def _free_slug(self, conn: Connection, title: str, feed_id: str) -> str:
        def taken(slug: str) -> bool:
            return (
                slug == DIRECT_SLUG or conn.execute(select(feeds.c.id).where(feeds.c.slug == slug)).first() is not None
            )

        return identity.unique_slug(identity.slug(title), taken, feed_id)

    def _merge_items(self, conn: Connection, feed_id: str, items: Sequence[FeedItem]) -> int:
        known = {
            str(row.guid_key): row
            for row in conn.execute(
                select(episodes.c.guid_key, episodes.c.seq, episodes.c.url, episodes.c.title).where(
                    episodes.c.feed_id == feed_id
                )
            )
        }
        fresh: dict[str, dict[str, object]] = {}
        for item in items:
            guid_key = identity.normalise_guid(item.guid)
            old = known.get(guid_key)
            if old is None:
                fresh.setdefault(guid_key, self._new_row(feed_id, guid_key, item))
            elif (old.url, old.title) != (item.url, item.title):
                conn.execute(update(episodes).where(episodes.c.seq == old.seq).values(url=item.url, title=item.title))
        if fresh:
            conn.execute(insert(episodes), list(fresh.values()))
        return len(fresh)

    def _new_row(self, feed_id: str, guid_key: str, item: FeedItem) -> dict[str, object]:
        return {
            "id": identity.episode_id(feed_id, guid_key),
            "feed_id": feed_id,
            "guid": item.guid,
            "guid_key": guid_key,
            "folder": identity.safe_name(guid_key),
            "title": item.title,
            "url": item.url,
            "host": self._limits.key(identity.host_of(item.url)),
            "mime": item.mime and item.mime[:100],
            "length": item.length,
            "published": item.published,
            "duration": item.duration,
            "image": item.image,
            "transcripts": [asdict(link) for link in item.transcripts],
            "created_at": self._clock.now(),
        }
