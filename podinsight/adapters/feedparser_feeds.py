"""Feeds of every dialect, well-formed or not, read with feedparser and tamed into domain.feed."""

import calendar
import html
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit
from xml.sax import SAXParseException

import feedparser

from podinsight.adapters.feed_xml import RawItem, describe, not_a_feed, read_items
from podinsight.domain.feed import Document, FeedItem, ParsedFeed, TranscriptLink
from podinsight.domain.identity import InvalidUrl, host_of, normalise_guid, normalise_url, redact_url
from podinsight.errors import Permanent

AUDIO_EXTENSIONS = frozenset({".mp3", ".m4a", ".m4b", ".aac", ".ogg", ".oga", ".opus", ".flac", ".wav"})
MAX_SECONDS = 10 * 86400
_TAG = re.compile(r"</?[A-Za-z][^<>]*>|<!--.*?-->", re.DOTALL)
_CLOCK = re.compile(r"(?:(\d{1,4}):)?(\d{1,4}):(\d{1,2}(?:\.\d+)?)")
_XML_ENCODING = re.compile(rb"<\?xml[^>]*\bencoding\s*=", re.IGNORECASE)

Entry = Mapping[str, Any]


class _Notes:
    """What was odd, once per kind with how often and the first example: 5,000 odd items are one note."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str]] = {}

    def add(self, what: str, example: str = "") -> None:
        count, first = self._found.get(what, (0, example))
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
    """ports.FeedParser. Never goes to the network: it only sees bytes."""

    def parse(self, document: Document) -> ParsedFeed:
        """See ports.FeedParser.

        Raises:
            Permanent: no body, no feed (the text says what it is), or an XML bomb.
        """
        body = document.body
        if body is None:
            raise Permanent("not a feed: a document without a body")
        what = not_a_feed(body)
        if what:
            raise Permanent(f"not a feed: {what}")
        raw, whole = read_items(body)
        parsed = _feedparser(body, document.headers)
        if not parsed.version and not parsed.entries:
            raise Permanent(f"not a feed: {describe(body)}")
        notes = _Notes()
        if parsed.bozo:
            notes.add(_oddity(parsed.get("bozo_exception")))
        entries: list[Entry] = parsed.entries
        if (whole and len(raw) != len(entries)) or len(raw) > len(entries):
            raw = []
        items = list(_items(entries, raw, document.url, notes))
        feed: Entry = parsed.feed
        return ParsedFeed(
            title=_plain(feed.get("title")) or host_of(document.url),
            link=_shown_url(feed.get("link"), document.url),
            language=_plain(feed.get("language")) or None,
            image=_image(feed, document.url),
            new_url=_web_url(feed.get("itunes_new-feed-url"), document.url),
            items=tuple(items),
            notes=notes.texts(),
        )


def _feedparser(body: bytes, headers: Mapping[str, str]) -> Any:
    """Sanitizing and resolving are for showing HTML, which nobody here does."""
    try:
        return feedparser.parse(
            io.BytesIO(body),
            response_headers={"content-type": _content_type(body, headers)},
            resolve_relative_uris=False,
            sanitize_html=False,
        )
    except (ValueError, TypeError, LookupError, AttributeError, AssertionError, RecursionError) as error:
        raise Permanent(f"not a feed that can be read: feedparser gave up with {type(error).__name__}") from error


def _content_type(body: bytes, headers: Mapping[str, str]) -> str:
    """The server's charset counts only where the document leaves it open: servers say latin-1 of everything."""
    charset = re.search(r"charset\s*=\s*[\"']?([\w.:-]+)", headers.get("content-type", ""), re.IGNORECASE)
    if charset is None or _XML_ENCODING.search(body[:1024]):
        return "application/xml"
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return f"application/xml; charset={charset.group(1)}"
    return "application/xml"


def _oddity(error: object) -> str:
    if isinstance(error, SAXParseException):
        return f"not well-formed XML, read as far as it goes (line {error.getLineNumber()}: {error.getMessage()})"
    return f"odd, read as far as it goes ({error})"


def _items(entries: Iterable[Entry], raw: list[RawItem], base: str, notes: _Notes) -> Iterable[FeedItem]:
    seen: set[str] = set()
    for n, entry in enumerate(entries):
        item = _item(entry, raw[n] if n < len(raw) else None, base, notes)
        if item is None:
            continue
        key = normalise_guid(item.guid)
        if key in seen:
            notes.add("a GUID that occurs before was left out", item.guid)
            continue
        seen.add(key)
        yield item


def _item(entry: Entry, raw: RawItem | None, base: str, notes: _Notes) -> FeedItem | None:
    title = _plain(entry.get("title")) or _plain(entry.get("itunes_title"))
    enclosure = _enclosure(entry, base, title, notes)
    if enclosure is None:
        return None
    guid = " ".join((raw.guid if raw and raw.guid.strip() else str(entry.get("id") or "")).split())
    if not guid:
        guid = _without_secrets(enclosure.url)
        notes.add("an item without GUID goes by its enclosure URL", redact_url(guid))
    transcripts = raw.transcripts if raw else _last_transcript(entry)
    links = ((_web_url(link.url, base), link) for link in transcripts)
    return FeedItem(
        guid=guid,
        title=title or PurePosixPath(unquote(urlsplit(enclosure.url).path)).stem or guid,
        url=enclosure.url,
        mime=enclosure.mime,
        length=enclosure.length,
        published=_published(entry),
        duration=parse_duration(entry.get("itunes_duration")),
        season=_number(entry.get("itunes_season")),
        episode=_number(entry.get("itunes_episode")),
        image=_image(entry, base),
        transcripts=tuple(TranscriptLink(url, link.type, link.language) for url, link in links if url),
    )


def _enclosure(entry: Entry, base: str, title: str, notes: _Notes) -> _Enclosure | None:
    """The first audio enclosure, or media:content where there is no enclosure."""
    links = [link for link in entry.get("links", ()) if link.get("rel") == "enclosure"]
    chosen: _Enclosure | None = None
    for link in links or entry.get("media_content", ()):
        address = link.get("href") or link.get("url")
        mime = str(link.get("type") or "").partition(";")[0].strip().lower() or None
        url = _web_url(address, base)
        if url is None:
            notes.add("an enclosure without a URL that can be fetched was left out", title)
        elif not _is_audio(url, mime):
            notes.add(f"an enclosure that is no audio ({mime or 'no type'}) was left out", title)
        elif chosen:
            notes.add("more than one audio enclosure in an item, the first was taken", title)
        else:
            chosen = _Enclosure(url, mime, _number(link.get("length") or link.get("filesize")) or None)
    if chosen is None:
        notes.add("an item without audio was left out", title)
    return chosen


def _is_audio(url: str, mime: str | None) -> bool:
    extension = PurePosixPath(unquote(urlsplit(url).path)).suffix.lower()
    return (mime or "").startswith("audio/") or extension in AUDIO_EXTENSIONS


def _last_transcript(entry: Entry) -> list[TranscriptLink]:
    """All that feedparser keeps; for items behind the point where the XML breaks."""
    found = entry.get("podcast_transcript")
    if not isinstance(found, Mapping) or not found.get("url"):
        return []
    return [TranscriptLink(str(found["url"]), str(found.get("type") or ""), found.get("language") or None)]


def _published(entry: Entry) -> float | None:
    # FeedParserDict answers for missing keys with others; a plain dict does not.
    plain = dict(entry)
    parsed = plain.get("published_parsed") or plain.get("updated_parsed")
    try:
        return float(calendar.timegm(parsed)) if parsed else None
    except (ValueError, OverflowError, TypeError):
        return None


def parse_duration(text: object) -> float | None:
    """Seconds of an itunes:duration: `HH:MM:SS`, `MM:SS` or seconds; None for junk, zero and more than ten days."""
    value = str(text or "").strip()
    clock = _CLOCK.fullmatch(value)
    if clock:
        hours, minutes, seconds = clock.groups()
        total = int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds)
    elif re.fullmatch(r"\d{1,9}(?:\.\d+)?", value, re.ASCII):
        total = float(value)
    else:
        return None
    return total if 0 < total <= MAX_SECONDS else None


def _number(text: object) -> int | None:
    value = str(text or "").strip()
    return int(value) if re.fullmatch(r"\d{1,18}", value, re.ASCII) else None


def _plain(text: object) -> str:
    """Text without HTML: tags dropped, entities read, white space collapsed."""
    if not isinstance(text, str):
        return ""
    return " ".join(html.unescape(_TAG.sub("", text)).split())


def _image(entry: Entry, base: str) -> str | None:
    image = entry.get("image")
    return _shown_url(image.get("href") or image.get("url"), base) if isinstance(image, Mapping) else None


def _web_url(text: object, base: str) -> str | None:
    """The absolute, normalised form of a link in the feed; None when it is not http or https or unreadable."""
    if not isinstance(text, str) or not text.strip():
        return None
    try:
        return normalise_url(urljoin(base, text.strip()))
    except (InvalidUrl, ValueError):
        return None


def _shown_url(text: object, base: str) -> str | None:
    """A link that people get to see: relative ones do not inherit the credentials of a private feed."""
    url = _web_url(text, base)
    if url is None:
        return None
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
