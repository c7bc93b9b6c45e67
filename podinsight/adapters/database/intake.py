"""Episodes that come by another way than a poll, in SQL."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, select, update

from podinsight.adapters.database.catalogue_tables import episodes, feeds, guid_aliases
from podinsight.adapters.database.engine import Database, storable
from podinsight.adapters.database.enqueue import Enqueue
from podinsight.adapters.database.episode_rows import audio_columns, episode_query, to_episode
from podinsight.adapters.database.feed_items import FeedItems, guid_key
from podinsight.adapters.database.feed_names import NAMES_LOCK, find_feed, is_slug_taken, lock_names, remember_names
from podinsight.adapters.database.lanes import LaneMoves
from podinsight.adapters.database.models import chunks, work
from podinsight.adapters.database.new_rows import batches
from podinsight.adapters.database.units import ENQUEUE_LOCK
from podinsight.domain import identity
from podinsight.domain.archive import ADOPTED
from podinsight.domain.episode import DIRECT_SLUG, Episode, FetchedAudio, TranscriptFiles
from podinsight.domain.feed import Feed, FeedItem
from podinsight.domain.hosts import HostLimits
from podinsight.domain.prices import Terms
from podinsight.domain.work import State
from podinsight.errors import Permanent
from podinsight.ports import Clock, Holding
from podinsight.topology import PRIORITIES

_NEVER = 1e18


def _to_feed(row: Row[Any]) -> Feed:
    plain = {name: getattr(row, name) for name in Feed.__dataclass_fields__ if name != "notes"}
    return Feed(**plain, notes=tuple(row.notes or ()))


class SqlIntake(Enqueue):
    """ports.Intake."""

    def __init__(self, db: Database, clock: Clock, limits: HostLimits, terms: Terms) -> None:
        super().__init__(db, clock, limits, terms)
        self._items = FeedItems(db, clock, limits)

    def page(self, after: int, limit: int, feed_id: str | None = None) -> list[Episode]:
        query = episode_query().where(episodes.c.seq > after).order_by(episodes.c.seq).limit(limit)
        if feed_id is not None:
            query = query.where(episodes.c.feed_id == feed_id)
        with self._db.read() as conn:
            return [to_episode(row) for row in conn.execute(query)]

    def find_feed(self, url: str) -> Feed | None:
        with self._db.read() as conn:
            row = self._feed_of_url(conn, url)
            return _to_feed(row) if row else None

    def find(self, feed_id: str, guids: Sequence[str]) -> dict[str, Episode]:
        keys = {guid: guid_key(guid) for guid in guids}
        with self._db.read() as conn:
            by_key = self._by_key(conn, feed_id, list(dict.fromkeys(keys.values())))
        return {guid: by_key[key] for guid, key in keys.items() if key in by_key}

    def in_folder(self, feed_id: str, folder: str) -> Episode | None:
        query = episode_query().where(episodes.c.feed_id == feed_id, episodes.c.folder == folder)
        with self._db.read() as conn:
            row = conn.execute(query).first()
            return to_episode(row) if row else None

    def add(self, feed_id: str, slug: str, items: Sequence[FeedItem]) -> list[Episode]:
        with self._db.write() as conn:
            lock_names(self._db, conn, feed_id)
            self._lock_feed(conn, feed_id, slug)
            self._merge_unknown(conn, feed_id, items)
            by_key = self._by_key(conn, feed_id, list({guid_key(item.guid) for item in items}))
            return [by_key[guid_key(item.guid)] for item in items]

    def archive_feed(self, slug: str, url: str | None) -> Feed:
        slug = _plain_slug(slug)
        with self._db.write() as conn:
            self._db.lock(conn, NAMES_LOCK)
            of_slug = conn.execute(select(feeds).where(feeds.c.slug == slug).with_for_update()).first()
            of_url = self._feed_of_url(conn, url) if url is not None else None
            if of_url is not None:
                self._lock_feed(conn, of_url.id, slug)
                this = of_url.id
            elif of_slug is None:
                this = self._new_feed(conn, slug, url)
            elif url is None:
                this = of_slug.id
            elif of_slug.url.startswith(ADOPTED):
                this = self._becomes(conn, of_slug.id, url)
            else:
                shown = identity.redact_url(of_slug.url)
                raise Permanent(f"the feed {slug} is followed at {shown}, not at {identity.redact_url(url)}")
            return _to_feed(conn.execute(select(feeds).where(feeds.c.id == this)).one())

    def adopt(self, feed_id: str, holding: Holding) -> tuple[Episode, tuple[str, ...]]:
        with self._transition() as (conn, moves):
            self._db.lock(conn, ENQUEUE_LOCK)
            self._lock_feed(conn, feed_id, None)
            if self._merge_unknown(conn, feed_id, [holding.item]):
                self._keep_folder(conn, feed_id, holding)
            episode = self._by_key(conn, feed_id, [guid_key(holding.item.guid)])[guid_key(holding.item.guid)]
            units = conn.execute(
                select(chunks).where(chunks.c.episode_id == episode.id).order_by(chunks.c.id).with_for_update()
            ).all()
            of_episode = select(work).where(work.c.episode_id == episode.id).order_by(work.c.stage)
            rows = {str(row.stage): row for row in conn.execute(of_episode.with_for_update())}
            made: list[str] = []
            if holding.audio is not None and self._is_open(rows.get("fetch")):
                self._end(conn, moves, episode, "fetch", rows.get("fetch"), {}, _fetched(holding.audio))
                made.append("fetch")
            running = any(unit.state == State.RUNNING for unit in units)
            if holding.transcript is not None and not running and self._is_open(rows.get("transcribe")):
                self._drop_chunks(conn, moves, units)  # what was to be decoded is there
                self._drop_plan(conn, moves, rows.get("plan"))
                params = {"model": holding.transcript.model}
                done = _transcribed(holding.transcript)
                self._end(conn, moves, episode, "transcribe", rows.get("transcribe"), params, done)
                made.append("transcribe")
            return episode, tuple(made)

    def _is_open(self, row: Row[Any] | None) -> bool:
        """Whether nobody has done it, nor does it now. (A transcribe row runs when one of its chunks does.)"""
        return row is None or row.state not in (State.DONE, State.RUNNING)

    def _end(
        self,
        conn: Connection,
        moves: LaneMoves,
        episode: Episode,
        stage: str,
        row: Row[Any] | None,
        params: Mapping[str, object],
        result: Mapping[str, object],
    ) -> None:
        """The row of a stage, `done` and to be projected; made if need be."""
        if row is not None:
            self._move(conn, moves, work, row, State.DONE, "", not_before=None, result=dict(result), projected=False)
            return
        rows = self._without_row(conn, [episode.id], stage)
        self._insert_work(conn, moves, stage, rows, PRIORITIES["medium"], params, State.DONE)
        this = (work.c.episode_id == episode.id) & (work.c.stage == stage)
        conn.execute(update(work).where(this).values(result=dict(result), projected=False))

    def _keep_folder(self, conn: Connection, feed_id: str, holding: Holding) -> None:
        """A new episode lies where its archive has it, unless that name is unsafe or taken."""
        if identity.safe_name(holding.folder) != holding.folder:
            return
        taken = select(episodes.c.seq).where(episodes.c.feed_id == feed_id, episodes.c.folder == holding.folder)
        if conn.execute(taken).first() is None:
            this = (episodes.c.feed_id == feed_id) & (episodes.c.guid_key == guid_key(holding.item.guid))
            conn.execute(update(episodes).where(this).values(folder=holding.folder))

    def _lock_feed(self, conn: Connection, feed_id: str, slug: str | None) -> None:
        """Locks a feed against polls, and names it if it has no name. Raises Permanent when it is not there."""
        row = conn.execute(select(feeds).where(feeds.c.id == feed_id).with_for_update()).first()
        if row is None:
            raise Permanent(f"no feed {feed_id}")
        if row.slug is None and slug is not None:
            named = identity.unique_slug(_plain_slug(slug), lambda text: is_slug_taken(conn, text), feed_id)
            conn.execute(update(feeds).where(feeds.c.id == feed_id).values(slug=named))

    def _merge_unknown(self, conn: Connection, feed_id: str, items: Sequence[FeedItem]) -> int:
        """Adds those whose GUIDs are not known; what a manifest or an archive says changes nothing of the others."""
        known = self._by_key(conn, feed_id, list({guid_key(item.guid) for item in items}))
        added = self._items.merge(conn, feed_id, [x for x in items if guid_key(x.guid) not in known])
        conn.execute(update(feeds).where(feeds.c.id == feed_id).values(episodes=feeds.c.episodes + added))
        return added

    def _by_key(self, conn: Connection, feed_id: str, keys: Sequence[str]) -> dict[str, Episode]:
        """GUID key, of now or of before → episode."""
        found: dict[str, Episode] = {}
        for batch in batches(keys):
            of_feed = episode_query().where(episodes.c.feed_id == feed_id, episodes.c.guid_key.in_(batch))
            found |= {row.guid_key: to_episode(row) for row in conn.execute(of_feed)}
            aliases = select(guid_aliases).where(
                guid_aliases.c.feed_id == feed_id,
                guid_aliases.c.guid_key.in_([key for key in batch if key not in found]),
            )
            older = {row.guid_key: row.episode_id for row in conn.execute(aliases)}
            by_id = episode_query().where(episodes.c.id.in_(list(older.values())))
            episodes_by_id = {row.id: to_episode(row) for row in conn.execute(by_id)} if older else {}
            found |= {key: episodes_by_id[this] for key, this in older.items() if this in episodes_by_id}
        return found

    def _feed_of_url(self, conn: Connection, url: str) -> Row[Any] | None:
        this = find_feed(conn, identity.normalise_url(url))
        return conn.execute(select(feeds).where(feeds.c.id == this)).first() if this is not None else None

    def _new_feed(self, conn: Connection, slug: str, url: str | None) -> str:
        """Of a URL, to be polled; or of nothing but its archive, never polled."""
        url = identity.normalise_url(url) if url is not None else None
        own = url or f"{ADOPTED}{slug}"
        this = identity.feed_id(url) if url else hashlib.sha256(own.encode()).hexdigest()[:16]
        values: dict[str, object] = {"id": this, "url": own, "slug": slug, "created_at": self._clock.now()}
        values |= {} if url else {"title": storable(slug), "next_poll_at": _NEVER}
        conn.execute(self._db.insert_new(feeds).values(values))
        return this

    def _becomes(self, conn: Connection, feed_id: str, url: str) -> str:
        """An adopted feed turns out to be the one of this URL: it keeps its id, as a feed that has moved does."""
        url = identity.normalise_url(url)
        conn.execute(update(feeds).where(feeds.c.id == feed_id).values(url=url, next_poll_at=0.0))
        remember_names(self._db, conn, feed_id, url)
        return feed_id


def _plain_slug(text: str) -> str:
    """An archive's own name for a feed where it is safe, so that new objects lie beside the old ones."""
    return text if identity.safe_name(text) == text and text != DIRECT_SLUG else identity.slug(text)[:80].rstrip("-")


def _fetched(audio: FetchedAudio) -> dict[str, object]:
    """What commit_fetch keeps, but for the time and the host: nothing was fetched."""
    return {
        "episode": audio_columns(audio),
        "copies": [[audio.attempt_key, audio.audio_key]] if audio.attempt_key != audio.audio_key else [],
        "detail": asdict(audio),
    }


def _transcribed(files: TranscriptFiles) -> dict[str, object]:
    return {
        "episode": {"transcript_key": files.transcript_key, "model": files.model or None},
        "copies": [list(pair) for pair in files.files],
        "detail": {"adopted": True},
    }
