"""Items of a feed become episodes: who is known, who has a new GUID, who is new (F10).

An item is the episode that has its GUID, or had it issued anew (`guid_aliases`). A new GUID is a known episode when the
enclosure has that episode's fingerprint and nothing else that the feed says has changed; in doubt it is an episode of
its own, for an episode that is fetched twice costs a download, and one that is merged wrongly is lost.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from podinsight.adapters.database.catalogue_tables import episodes, guid_aliases
from podinsight.adapters.database.engine import Database, storable
from podinsight.adapters.database.hosts import stored_limits
from podinsight.domain import identity
from podinsight.domain.enclosure import fingerprint
from podinsight.domain.feed import FeedItem
from podinsight.domain.hosts import HostLimits
from podinsight.ports import Clock

_BATCH = 500
_LONGEST_KEY = 500
_LARGEST = 2**63 - 1
# What a feed stops saying stays as it was last said.
_LASTING = (
    *("mime", "length", "published", "duration", "season", "number", "image"),
    *("transcripts", "chapters", "persons"),
)

Known = dict[str, Row[Any]]


def guid_key(guid: str) -> str:
    """What a GUID is known by: its normalised form, cut and hashed when an index could not hold it."""
    key = identity.normalise_guid(storable(guid))
    if len(key) <= _LONGEST_KEY:
        return key
    return f"{key[:_LONGEST_KEY]} {hashlib.sha256(key.encode()).hexdigest()}"


class FeedItems:
    """Merges the items of one feed, whose row the caller has locked."""

    def __init__(self, db: Database, clock: Clock, limits: HostLimits) -> None:
        self._db, self._clock, self._limits = db, clock, limits

    def merge(self, conn: Connection, feed_id: str, items: Sequence[FeedItem], reissued: bool = False) -> int:
        """Adds and updates episodes, in feed order; returns how many are new.

        reissued: the items are a whole document of the feed, in which known episodes may have new GUIDs. Without the
        rest of the document nothing tells a new GUID from a new episode at the same address.
        """
        wanted: dict[str, FeedItem] = {}
        for item in items:
            wanted.setdefault(guid_key(item.guid), item)
        limits = stored_limits(conn, self._limits)
        known: Known = {row.guid_key: row for row in self._rows_with(conn, feed_id, "guid_key", wanted)}
        prints = {key: _fingerprint(item, known.get(key)) for key, item in wanted.items()}
        known |= self._renamed(conn, feed_id, known, wanted, prints)
        if reissued:
            known |= self._reissued(conn, feed_id, known, wanted, prints)
        self._update(conn, limits, {key: (old, _said(wanted[key], prints[key])) for key, old in known.items()})
        new = {key: (item, _said(item, prints[key])) for key, item in wanted.items() if key not in known}
        self._insert(conn, feed_id, limits, new)
        return len(new)

    def _renamed(
        self, conn: Connection, feed_id: str, known: Known, wanted: dict[str, FeedItem], prints: Mapping[str, str]
    ) -> Known:
        """GUIDs that are other names of episodes. One whose episode is in the document under another GUID as well is
        passed over; when it says something else it is no such name any more, and left in `wanted` as an item of its
        own."""
        seqs = self._aliases(conn, feed_id, [key for key in wanted if key not in known])
        rows = {row.seq: row for row in self._rows_with(conn, feed_id, "seq", set(seqs.values()))}
        claimed = {row.seq: key for key, row in known.items()}
        found: Known = {}
        for key, seq in seqs.items():
            first = claimed.setdefault(seq, key)
            if first == key:
                found[key] = rows[seq]
            elif prints[first] == prints[key] and not _differs(wanted[first], wanted[key]):
                del wanted[key]
            else:
                this = (guid_aliases.c.feed_id == feed_id, guid_aliases.c.guid_key == key)
                conn.execute(delete(guid_aliases).where(*this))
        return found

    def _reissued(
        self,
        conn: Connection,
        feed_id: str,
        known: Known,
        wanted: Mapping[str, FeedItem],
        prints: Mapping[str, str],
    ) -> Known:
        """New GUIDs of known episodes, remembered from now on. A fingerprint that several items or several episodes
        have tells nobody apart, and an episode that is in the document itself is not this item."""
        shared = Counter(prints[key] for key in wanted)
        new = {prints[key]: key for key in wanted if key not in known and shared[prints[key]] == 1}
        present = {row.seq for row in known.values()}
        holders: dict[str, list[Row[Any]]] = {}
        for row in self._rows_with(conn, feed_id, "fingerprint", new):
            holders.setdefault(row.fingerprint, []).append(row)
        found: Known = {}
        for shown, rows in holders.items():
            key = new[shown]
            if len(rows) == 1 and rows[0].seq not in present and not _differs(rows[0], wanted[key]):
                found[key] = rows[0]
        if found:
            names = [{"feed_id": feed_id, "guid_key": key, "episode_id": row.id} for key, row in found.items()]
            conn.execute(insert(guid_aliases), names)
        return found

    def _aliases(self, conn: Connection, feed_id: str, keys: Sequence[str]) -> dict[str, int]:
        """GUID key → seq of the episode that it is another name of, in the order of `keys`."""
        query = (
            select(guid_aliases.c.guid_key, episodes.c.seq)
            .join(episodes, episodes.c.id == guid_aliases.c.episode_id)
            .where(guid_aliases.c.feed_id == feed_id)
        )
        found: dict[str, int] = {}
        for start in range(0, len(keys), _BATCH):
            batch = query.where(guid_aliases.c.guid_key.in_(keys[start : start + _BATCH]))
            found.update({row.guid_key: row.seq for row in conn.execute(batch)})
        return {key: found[key] for key in keys if key in found}

    def _rows_with(self, conn: Connection, feed_id: str, column: str, values: Iterable[object]) -> list[Row[Any]]:
        """The feed's episodes whose `column` has one of the values: by key, for a feed may have very many."""
        query = select(episodes).where(episodes.c.feed_id == feed_id)
        wanted = list(values)
        return [
            row
            for start in range(0, len(wanted), _BATCH)
            for row in conn.execute(query.where(episodes.c[column].in_(wanted[start : start + _BATCH])))
        ]

    def _update(
        self, conn: Connection, limits: HostLimits, known: Mapping[str, tuple[Row[Any], dict[str, object]]]
    ) -> None:
        changed: list[dict[str, object]] = []
        for old, new in known.values():
            new |= {name: getattr(old, name) for name in _LASTING if new[name] in (None, [])}
            new["host"] = old.host
            if new["url"] != old.url:
                # What a fetch learned of the host that answers holds until the enclosure names another.
                host = identity.host_of(str(new["url"]))
                new["host"] = old.host if host == identity.host_of(old.url) else limits.key(host)
            if any(getattr(old, name) != value for name, value in new.items()):
                changed.append({"this": old.seq} | {f"new_{name}": value for name, value in new.items()})
        if changed:
            names = ("title", "url", "fingerprint", *_LASTING, "host")
            values = {name: bindparam(f"new_{name}", type_=episodes.c[name].type) for name in names}
            conn.execute(update(episodes).where(episodes.c.seq == bindparam("this")).values(values), changed)

    def _insert(
        self,
        conn: Connection,
        feed_id: str,
        limits: HostLimits,
        new: Mapping[str, tuple[FeedItem, dict[str, object]]],
    ) -> None:
        rows: list[dict[str, object]] = []
        for key, (item, said) in new.items():
            guid = storable(item.guid)
            rows.append(
                said
                | {
                    "id": identity.episode_id(feed_id, guid),
                    "feed_id": feed_id,
                    "guid": guid,
                    "guid_key": key,
                    "folder": identity.safe_name(identity.normalise_guid(guid)),
                    "host": limits.key(identity.host_of(item.url)),
                    "created_at": self._clock.now(),
                }
            )
        taken = {row.folder for row in self._rows_with(conn, feed_id, "folder", [row["folder"] for row in rows])}
        for row in rows:
            if row["folder"] in taken:  # a GUID that spells the folder of another
                row["folder"] = identity.safe_name(f"{row['guid_key']} {row['id']}")
            taken.add(row["folder"])
        if rows:
            conn.execute(insert(episodes), rows)


def _fingerprint(item: FeedItem, known: Row[Any] | None) -> str:
    url = storable(item.url)
    if known is not None and known.url == url and known.fingerprint is not None:
        return str(known.fingerprint)
    return fingerprint(url)


def _said(item: FeedItem, shown: str) -> dict[str, object]:
    """What the feed says of an episode, as columns."""
    return {
        "title": storable(item.title),
        "url": storable(item.url),
        "fingerprint": shown,
        "mime": item.mime and storable(item.mime)[:100],
        "length": _whole(item.length),
        "published": item.published,
        "duration": item.duration,
        "season": _whole(item.season),
        "number": _whole(item.episode),
        "image": item.image and storable(item.image),
        "transcripts": [asdict(link) for link in item.transcripts],
        "chapters": item.chapters and asdict(item.chapters),
        "persons": [asdict(person) for person in item.persons],
    }


def _whole(number: int | None) -> int | None:
    return number if number is not None and 0 <= number <= _LARGEST else None


def _differs(one: Row[Any] | FeedItem, other: FeedItem) -> bool:
    """Another episode under the same address, as hourly news are: its title is another, or its date or its length,
    where both say one."""
    redated = one.published is not None and other.published is not None and abs(one.published - other.published) >= 1
    resized = bool(one.length and other.length) and one.length != other.length
    return redated or resized or storable(one.title) != storable(other.title)
