"""Manifests: writing what is known, checking a file, and finding or making known the episodes that it names (F2)."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import BinaryIO, Final

from podinsight.domain.archive import ADOPTED
from podinsight.domain.episode import DIRECT_SLUG, Episode
from podinsight.domain.feed import Feed
from podinsight.domain.identity import episode_id, feed_id, host_of, safe_name, slug
from podinsight.domain.manifest import COLUMNS, Fault, ManifestRow, cells, to_csv
from podinsight.domain.manifest_reader import ManifestReader
from podinsight.ports import StatusStore

PAGE: Final = 500
SHOWN: Final = 20


def pages(store: StatusStore, limit: int | None = None, feed_id: str | None = None) -> Iterator[list[Episode]]:
    """Known episodes in the order of discovery, a page at a time: memory stays flat however many there are."""
    after, left = 0, limit
    while left is None or left > 0:
        page = store.intake.page(after, PAGE if left is None else min(PAGE, left), feed_id)
        if not page:
            return
        yield page
        after = page[-1].seq
        left = None if left is None else left - len(page)


def write_manifest(
    store: StatusStore, write: Callable[[bytes], object], limit: int | None = None, feed_id: str | None = None
) -> int:
    """Writes the known episodes as CSV (UTF-8, LF) and returns how many."""
    feeds = {feed.id: feed.url for feed in store.catalogue.feeds() if not feed.url.startswith(ADOPTED)}
    write(to_csv([COLUMNS]))
    written = 0
    for page in pages(store, limit, feed_id):
        write(to_csv(cells(episode, feeds.get(episode.feed_id)) for episode in page))
        written += len(page)
    return written


@dataclass(frozen=True)
class Scan:
    """What a manifest holds. faults: how many; shown: the first of them. kept: the first distinct rows asked for."""

    rows: int
    duplicates: int
    faults: int
    shown: tuple[Fault, ...]
    unknown: tuple[str, ...]
    kept: tuple[ManifestRow, ...]


def scan(stream: BinaryIO, keep: int | None = 0) -> Scan:
    """Reads a manifest to its end, row by row. keep: how many distinct rows to hand back (None: all).

    Raises:
        NotAManifest: it cannot be read as one.
    """
    reader = ManifestReader(stream)
    rows = duplicates = faults = 0
    shown: list[Fault] = []
    kept: list[ManifestRow] = []
    with _Seen() as seen:
        for row in reader:
            rows += 1
            if isinstance(row, Fault):
                faults += 1
                shown += [row] if len(shown) < SHOWN else []
            elif not seen.add(row.key):
                duplicates += 1
            elif keep is None or len(kept) < keep:
                kept.append(row)
    return Scan(rows, duplicates, faults, tuple(shown), reader.unknown, tuple(kept))


class _Seen:
    """Which keys were met, on disk beyond a few MiB: a manifest may have millions of rows."""

    def __enter__(self) -> "_Seen":
        self._disk = sqlite3.connect("")
        self._disk.execute("PRAGMA cache_size = -16384")
        self._disk.execute("CREATE TABLE seen (key TEXT PRIMARY KEY) WITHOUT ROWID")
        return self

    def __exit__(self, *exc: object) -> None:
        self._disk.close()

    def add(self, key: str) -> bool:
        """Whether it is new."""
        return self._disk.execute("INSERT OR IGNORE INTO seen VALUES (?)", (key,)).rowcount == 1


@dataclass(frozen=True)
class Chosen:
    """The episodes of some rows, in their order, each once. new: id → row of those that are not known yet, whose
    episodes are made up. faults: rows of which neither is the case."""

    episodes: tuple[Episode, ...]
    new: Mapping[str, ManifestRow] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()


def find_rows(store: StatusStore, rows: Sequence[ManifestRow]) -> Chosen:
    """Finds the episodes of rows, changing nothing."""
    feeds = _Feeds(store)
    found: dict[str, Episode] = {}
    new: dict[str, ManifestRow] = {}
    faults: list[Fault] = []
    for start in range(0, len(rows), PAGE):
        batch = rows[start : start + PAGE]
        known = _known(store, feeds, batch)
        for row in batch:
            episode = known.get(row.line)
            if episode is None and row.places_itself:
                episode = _made_up(feeds, row)
                new.setdefault(episode.id, row)
            if episode is None:
                faults.append(Fault(row.line, f"no episode {row.episode_id} here, nor feed_url, guid and url of it"))
            else:
                found.setdefault(episode.id, episode)
    return Chosen(tuple(found.values()), new, tuple(faults))


class _Feeds:
    """Feeds by URL, each looked up once."""

    def __init__(self, store: StatusStore) -> None:
        self._store = store
        self._known: dict[str, Feed | None] = {}

    def get(self, url: str) -> Feed | None:
        if url not in self._known:
            self._known[url] = self._store.intake.find_feed(url)
        return self._known[url]


def _known(store: StatusStore, feeds: _Feeds, batch: Sequence[ManifestRow]) -> dict[int, Episode]:
    """Line → episode."""
    by_id = {episode.id: episode for episode in store.catalogue.episodes([row.key for row in batch])}
    found = {row.line: by_id[row.key] for row in batch if row.key in by_id}
    asked: dict[str, list[ManifestRow]] = {}
    for row in batch:
        feed = feeds.get(row.feed_url) if row.line not in found and row.feed_url and row.guid else None
        if feed is not None:
            asked.setdefault(feed.id, []).append(row)
    for feed_id_, of_feed in asked.items():
        by_guid = store.intake.find(feed_id_, [row.guid or "" for row in of_feed])
        found |= {row.line: by_guid[row.guid] for row in of_feed if row.guid in by_guid}
    return found


def _made_up(feeds: _Feeds, row: ManifestRow) -> Episode:
    """What the episode of a row would be, not stored."""
    item = row.item()
    feed = feeds.get(row.feed_url) if row.feed_url else None
    parent = DIRECT_SLUG if row.feed_url is None else feed.id if feed else feed_id(row.feed_url)
    name = DIRECT_SLUG if row.feed_url is None else (feed and feed.slug) or feed_name(row)
    return Episode(
        id=episode_id(parent, item.guid),
        seq=0,
        feed_id=parent,
        feed_slug=name,
        guid=item.guid,
        folder=safe_name(item.guid),
        title=item.title,
        url=item.url,
        host=host_of(item.url),
        mime=item.mime,
        length=item.length,
        published=item.published,
        duration=item.duration,
    )


def feed_name(row: ManifestRow) -> str:
    """The slug for a feed that no poll has named yet: as the manifest has it, else after its host."""
    said = row.feed_slug
    return said if said and safe_name(said) == said else slug(host_of(row.feed_url or ""))


def make_known(store: StatusStore, chosen: Chosen) -> Chosen:
    """Adds the feeds and episodes that are new, in batches; what is cut off is simply done again."""
    stored: dict[str, Episode] = {}
    by_feed: dict[str | None, list[tuple[str, ManifestRow]]] = {}
    for made_up_id, row in chosen.new.items():
        by_feed.setdefault(row.feed_url, []).append((made_up_id, row))
    for url, rows in by_feed.items():
        if url is None:
            stored |= {made_up_id: store.catalogue.add_direct(row.item()) for made_up_id, row in rows}
            continue
        feed, _new = store.catalogue.add_feed(url)
        for start in range(0, len(rows), PAGE):
            batch = rows[start : start + PAGE]
            added = store.intake.add(feed.id, feed_name(batch[0][1]), [row.item() for _id, row in batch])
            stored |= {made_up_id: episode for (made_up_id, _row), episode in zip(batch, added, strict=True)}
    final = {episode.id: episode for episode in (stored.get(each.id, each) for each in chosen.episodes)}
    return replace(chosen, episodes=tuple(final.values()), new={})
