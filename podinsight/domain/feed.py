"""What is read of a feed, whatever its dialect. Standard library only."""

from dataclasses import dataclass, field
from typing import BinaryIO


@dataclass(frozen=True)
class TranscriptLink:
    """A publisher transcript (`podcast:transcript`)."""

    url: str
    type: str
    language: str | None = None


@dataclass(frozen=True)
class ChaptersLink:
    """Chapters of an episode (`podcast:chapters`)."""

    url: str
    type: str


@dataclass(frozen=True)
class Person:
    """Somebody in an episode (`podcast:person`); role as the feed says, `host` when it says nothing."""

    name: str
    role: str = "host"
    href: str | None = None


@dataclass(frozen=True)
class FeedItem:
    """One item with an audio enclosure. `published` is epoch seconds, `duration` seconds, `length` bytes."""

    guid: str
    title: str
    url: str
    mime: str | None = None
    length: int | None = None
    published: float | None = None
    duration: float | None = None
    season: int | None = None
    episode: int | None = None
    image: str | None = None
    transcripts: tuple[TranscriptLink, ...] = ()
    chapters: ChaptersLink | None = None
    persons: tuple[Person, ...] = ()


@dataclass(frozen=True)
class ParsedFeed:
    """A parsed feed. `notes` says what was odd and how it was read; items without audio are left out and noted."""

    title: str
    link: str | None = None
    language: str | None = None
    image: str | None = None
    new_url: str | None = None
    podcast_guid: str | None = None
    items: tuple[FeedItem, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Feed:
    """A feed we follow. `slug` is None until its first successful poll names it."""

    id: str
    url: str
    slug: str | None = None
    title: str | None = None
    etag: str | None = None
    last_modified: str | None = None
    language: str | None = None
    error: str | None = None
    last_polled_at: float | None = None
    next_poll_at: float = 0.0
    episodes: int = 0
    user_agent: str | None = None
    notes: tuple[str, ...] = ()
    tier: str | None = None


@dataclass(frozen=True)
class Document:
    """A fetched document. `body` is None when the server said 304 Not Modified, else a seekable stream at its start.

    moved_to: where the document has moved for good (301 or 308 at every hop), when it has.
    """

    url: str
    body: BinaryIO | None
    etag: str | None = None
    last_modified: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    moved_to: str | None = None
