"""Feeds and episodes in SQL."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, Row, Select, bindparam, delete, insert, select, update

from podinsight.adapters.database.engine import Database, storable
from podinsight.adapters.database.models import episodes, feeds
from podinsight.domain import identity
from podinsight.domain.episode import DIRECT_SLUG, Episode
from podinsight.domain.feed import Document, Feed, FeedItem, ParsedFeed, TranscriptLink
from podinsight.errors import Permanent
from podinsight.ports import Clock

_NEVER = 1e18
_BATCH = 500
_LONGEST_SLUG = 80
_LONGEST_KEY = 500
_LARGEST = 2**63 - 1
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
        this = feeds.c.id == identity.feed_id(url)
        values = {"id": identity.feed_id(url), "url": url, "created_at": self._clock.now()}
        with self._db.write() as conn:
            new = conn.execute(self._db.insert_new(feeds).values(values).returning(feeds.c.id)).first() is not None
            if not new and urlsplit(url).username is not None:  # the same feed under another password: the newest holds
                conn.execute(update(feeds).where(this).values(url=url))
            return _to_feed(conn.execute(select(feeds).where(this)).one()), new

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
                .values(error=storable(error), last_polled_at=self._clock.now(), next_poll_at=next_poll_at)
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
                    "title": storable(parsed.title),
                    "link": parsed.link and storable(parsed.link),
                    "language": parsed.language and storable(parsed.language)[:40],
                    "image": parsed.image and storable(parsed.image),
                    "etag": document.etag and storable(document.etag),
                    "last_modified": document.last_modified and storable(document.last_modified),
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
            conn.execute(select(feeds.c.id).where(feeds.c.id == DIRECT_SLUG).with_for_update())
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
            for start in range(0, len(ids), _BATCH):
                for row in conn.execute(_EPISODE.where(episodes.c.id.in_(ids[start : start + _BATCH]))):
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

        wanted = identity.slug(storable(title))[:_LONGEST_SLUG].rstrip("-")
        return identity.unique_slug(wanted, taken, feed_id)

    def _merge_items(self, conn: Connection, feed_id: str, items: Sequence[FeedItem]) -> int:
        wanted: dict[str, FeedItem] = {}
        for item in items:
            wanted.setdefault(_guid_key(item.guid), item)
        known = {row.guid_key: row for row in self._rows_with(conn, feed_id, "guid_key", wanted)}
        self._update_known(conn, known, wanted)
        rows = [self._new_row(feed_id, key, item) for key, item in wanted.items() if key not in known]
        taken = {row.folder for row in self._rows_with(conn, feed_id, "folder", [str(row["folder"]) for row in rows])}
        for row in rows:
            if row["folder"] in taken:  # a GUID that spells the folder of another
                row["folder"] = identity.safe_name(f"{row['guid_key']} {row['id']}")
            taken.add(row["folder"])
        if rows:
            conn.execute(insert(episodes), rows)
        return len(rows)

    def _rows_with(self, conn: Connection, feed_id: str, column: str, values: Iterable[str]) -> list[Row[Any]]:
        """The feed's episodes whose `column` has one of the values: by key, for a feed may have very many."""
        names = ("guid_key", "folder", "seq", "url", "title", "host")
        query = select(*(episodes.c[name] for name in names)).where(episodes.c.feed_id == feed_id)
        wanted = list(values)
        return [
            row
            for start in range(0, len(wanted), _BATCH)
            for row in conn.execute(query.where(episodes.c[column].in_(wanted[start : start + _BATCH])))
        ]

    def _update_known(self, conn: Connection, known: Mapping[str, Row[Any]], items: Mapping[str, FeedItem]) -> None:
        changed: list[dict[str, object]] = []
        for key, old in known.items():
            url, title = storable(items[key].url), storable(items[key].title)
            if (old.url, old.title) != (url, title):
                # What a fetch learned of the host that answers holds until the enclosure names another.
                moved = identity.host_of(url) != identity.host_of(old.url)
                host = self._limits.key(identity.host_of(url)) if moved else old.host
                changed.append({"this": old.seq, "new_url": url, "new_title": title, "new_host": host})
        if changed:
            conn.execute(
                update(episodes)
                .where(episodes.c.seq == bindparam("this"))
                .values(url=bindparam("new_url"), title=bindparam("new_title"), host=bindparam("new_host")),
                changed,
            )

    def _new_row(self, feed_id: str, guid_key: str, item: FeedItem) -> dict[str, object]:
        guid = storable(item.guid)
        return {
            "id": identity.episode_id(feed_id, guid),
            "feed_id": feed_id,
            "guid": guid,
            "guid_key": guid_key,
            "folder": identity.safe_name(identity.normalise_guid(guid)),
            "title": storable(item.title),
            "url": storable(item.url),
            "host": self._limits.key(identity.host_of(item.url)),
            "mime": item.mime and storable(item.mime)[:100],
            "length": item.length if item.length is not None and 0 <= item.length <= _LARGEST else None,
            "published": item.published,
            "duration": item.duration,
            "image": item.image and storable(item.image),
            "transcripts": [asdict(link) for link in item.transcripts],
            "created_at": self._clock.now(),
        }


def _guid_key(guid: str) -> str:
    """What a GUID is known by: its normalised form, cut and hashed when an index could not hold it."""
    key = identity.normalise_guid(storable(guid))
    if len(key) <= _LONGEST_KEY:
        return key
    return f"{key[:_LONGEST_KEY]} {hashlib.sha256(key.encode()).hexdigest()}"
