"""Feeds of every dialect, well-formed or not, read with feedparser in small pieces and tamed into domain.feed."""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

import feedparser

from podinsight.adapters.feed_encoding import HEAD_BYTES, Utf8, as_utf8
from podinsight.adapters.feed_items import Fragment, RawItem
from podinsight.adapters.feed_reader import FeedReader
from podinsight.adapters.feed_values import (
    Entry,
    image,
    parse_duration,
    plain,
    published,
    shown_url,
    web_url,
    whole_number,
    without_secrets,
)
from podinsight.adapters.feed_xml import describe, not_a_feed
from podinsight.domain.feed import Document, FeedItem, ParsedFeed, TranscriptLink
from podinsight.domain.identity import host_of, normalise_guid, redact_url
from podinsight.errors import Permanent

AUDIO_EXTENSIONS = frozenset({".mp3", ".m4a", ".m4b", ".aac", ".ogg", ".oga", ".opus", ".flac", ".wav"})
BATCH_ITEMS = 200
BATCH_CHARACTERS = 2 * 1024 * 1024


class _Notes:
    """What was odd, once per kind with how often and the first example: 5,000 odd items are one note."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str]] = {}

    def add(self, what: str, example: str = "") -> None:
        count, first = self._found.get(what, (0, example[:200]))
        self._found[what] = (count + 1, first)

    def texts(self) -> tuple[str, ...]:
        return tuple(
            what + (f" ({count} times)" if count > 1 else "") + (f", first: {first}" if first else "")
            for what, (count, first) in self._found.items()
        )


@dataclass(frozen=True)
class _Enclosure:
    url: str
    mime: str | None
    length: int | None


class FeedparserParser:
    """ports.FeedParser. Never goes to the network: it only sees bytes. Its memory grows with the items alone."""

    def parse(self, document: Document) -> ParsedFeed:
        """See ports.FeedParser. A document without a URL (a file) has no relative links that could be read.

        Raises:
            Permanent: no body, no feed (the text says what it is), or an XML bomb.
        """
        if document.body is None:
            raise Permanent("not a feed: a document without a body")
        head = _head(document.body)
        what = not_a_feed(head)
        if what:
            raise Permanent(f"not a feed: {what}")
        utf8 = as_utf8(document.body, document.headers)
        try:
            return _parse(utf8, document.url, head)
        finally:
            if utf8.stream is not document.body:
                utf8.stream.close()


def _head(body: BinaryIO) -> bytes:
    body.seek(0)
    head = body.read(HEAD_BYTES)
    if not head.strip():
        raise Permanent("not a feed: an empty document")
    return head


def _parse(utf8: Utf8, url: str, head: bytes) -> ParsedFeed:
    notes = _Notes()
    if utf8.note:
        notes.add(f"odd encoding: {utf8.note}")
    reader = FeedReader(utf8, url)
    items = tuple(_items(reader.items(), notes))
    parsed = _feedparser(reader.header, [])
    if not parsed.version and not items and not reader.any_item:
        raise Permanent(f"not a feed: {describe(head)}")
    texts = notes.texts()
    feed: Entry = parsed.feed
    base = reader.header.base
    return ParsedFeed(
        title=plain(feed.get("title")) or (host_of(url) if url else ""),
        link=shown_url(feed.get("link"), base),
        language=plain(feed.get("language")) or None,
        image=image(feed, base),
        new_url=web_url(feed.get("itunes_new-feed-url"), base),
        podcast_guid=" ".join(reader.podcast_guid.split())[:200] or None,
        items=items,
        notes=_faults(reader) + texts,
    )


def _faults(reader: FeedReader) -> tuple[str, ...]:
    notes = []
    if reader.fault:
        notes.append(f"not well-formed XML, read as far as it goes ({reader.fault})")
    if reader.tail:
        notes.append("the document is cut off within an item, which was left out")
    if reader.cut:
        notes.append(f"items that are too large or too broken were not read whole ({reader.cut} pieces left out)")
    return tuple(notes)


def _feedparser(around: Fragment, pieces: Sequence[RawItem]) -> Any:
    """Sanitizing and resolving are for showing HTML, which nobody here does."""
    if around.broken:
        xml = around.xml
    else:
        inner = "".join(piece.xml for piece in pieces) if pieces else around.xml
        xml = f"<?xml version='1.0' encoding='utf-8'?>{around.opening}{inner}{around.closing}"
    try:
        return feedparser.parse(
            io.BytesIO(xml.encode("utf-8", "replace")),
            response_headers={"content-type": "application/xml"},
            resolve_relative_uris=False,
            sanitize_html=False,
        )
    except (ValueError, TypeError, LookupError, AttributeError, AssertionError, RecursionError) as error:
        raise Permanent(f"not a feed that can be read: feedparser gave up with {type(error).__name__}") from error


def _batches(items: Iterable[RawItem]) -> Iterator[list[RawItem]]:
    """Items that can be parsed together. A broken one goes alone, so that it does no harm to the others."""
    for (_opening, broken), group in groupby(items, key=lambda item: (item.opening, item.broken)):
        batch: list[RawItem] = []
        size = 0
        for item in group:
            batch.append(item)
            size += item.size
            if broken or len(batch) >= BATCH_ITEMS or size >= BATCH_CHARACTERS:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch


def _entries(items: Iterable[RawItem], notes: _Notes) -> Iterator[tuple[RawItem, Entry]]:
    for batch in _batches(items):
        try:
            entries: list[Entry] = _feedparser(_around(batch[0]), batch).entries
        except Permanent:
            entries = []
        if len(entries) == len(batch):
            yield from zip(batch, entries, strict=True)
        else:
            yield from _one_by_one(batch, notes)


def _one_by_one(batch: Sequence[RawItem], notes: _Notes) -> Iterator[tuple[RawItem, Entry]]:
    for item in batch:
        try:
            entries: list[Entry] = _feedparser(_around(item), [item]).entries
        except Permanent as error:
            notes.add(f"an item was left out ({error})")
            continue
        for entry in entries[:1]:
            yield item, entry


def _around(item: RawItem) -> Fragment:
    return Fragment(item.opening, item.closing, item.base)


def _items(raw: Iterable[RawItem], notes: _Notes) -> Iterator[FeedItem]:
    seen: set[str] = set()
    for piece, entry in _entries(raw, notes):
        item = _item(entry, piece, notes)
        if item is None:
            continue
        key = normalise_guid(item.guid)
        if key in seen:
            notes.add("a GUID that occurs before was left out", item.guid)
            continue
        seen.add(key)
        yield item


def _item(entry: Entry, raw: RawItem, notes: _Notes) -> FeedItem | None:
    base = raw.base
    title = plain(entry.get("title")) or plain(entry.get("itunes_title"))
    enclosure = _enclosure(entry, base, title, notes)
    if enclosure is None:
        return None
    guid = " ".join((raw.guid if raw.guid.strip() else str(entry.get("id") or "")).split())
    if not guid:
        guid = without_secrets(enclosure.url)
        notes.add("an item without GUID goes by its enclosure URL", redact_url(guid))
    at, unread = published(entry)
    if unread:
        notes.add("a date that cannot be read was left out", plain(unread))
    chapters = web_url(raw.chapters.url, base) if raw.chapters else None
    links = ((web_url(link.url, base), link) for link in (_last_transcript(entry) if raw.broken else raw.transcripts))
    return FeedItem(
        guid=guid,
        title=title or PurePosixPath(unquote(urlsplit(enclosure.url).path)).stem or guid,
        url=enclosure.url,
        mime=enclosure.mime,
        length=enclosure.length,
        published=at,
        duration=parse_duration(entry.get("itunes_duration")),
        season=_number(entry.get("itunes_season"), raw.season),
        episode=_number(entry.get("itunes_episode"), raw.episode),
        image=image(entry, base),
        transcripts=tuple(TranscriptLink(url, link.type, link.language) for url, link in links if url),
        chapters=replace(raw.chapters, url=chapters) if raw.chapters and chapters else None,
        persons=tuple(replace(person, href=shown_url(person.href, base)) for person in raw.persons),
    )


def _number(*texts: object) -> int | None:
    return next((number for text in texts if (number := whole_number(text)) is not None), None)


def _enclosure(entry: Entry, base: str, title: str, notes: _Notes) -> _Enclosure | None:
    """The first audio enclosure, or media:content where there is no enclosure."""
    links = [link for link in entry.get("links", ()) if link.get("rel") == "enclosure"]
    chosen: _Enclosure | None = None
    for link in links or entry.get("media_content", ()):
        address = link.get("href") or link.get("url")
        mime = str(link.get("type") or "").partition(";")[0].strip().lower()[:100] or None
        url = web_url(address, base)
        if url is None:
            notes.add("an enclosure without a URL that can be fetched was left out", title)
        elif not _is_audio(url, mime):
            notes.add(f"an enclosure that is no audio ({mime or 'no type'}) was left out", title)
        elif chosen:
            notes.add("more than one audio enclosure in an item, the first was taken", title)
        else:
            chosen = _Enclosure(url, mime, whole_number(link.get("length") or link.get("filesize")) or None)
    if chosen is None:
        notes.add("an item without audio was left out", title)
    return chosen


def _is_audio(url: str, mime: str | None) -> bool:
    extension = PurePosixPath(unquote(urlsplit(url).path)).suffix.lower()
    return (mime or "").startswith("audio/") or extension in AUDIO_EXTENSIONS


def _last_transcript(entry: Entry) -> list[TranscriptLink]:
    """All that feedparser keeps; for items that are no XML."""
    found = entry.get("podcast_transcript")
    found = found[-1] if isinstance(found, list) and found else found
    if not isinstance(found, dict) or not found.get("url"):
        return []
    return [TranscriptLink(str(found["url"]), str(found.get("type") or "").lower(), found.get("language") or None)]
