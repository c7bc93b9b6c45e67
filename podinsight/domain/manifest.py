"""The manifest: episodes as CSV, one a row (F2). docs/manifest.md says it for people. Pure; standard library only.

A cell that begins with what a spreadsheet takes for a formula is written with an apostrophe before it, and one
apostrophe is taken off again on reading. Cells that begin with apostrophes and then such a character get one more, so
that every text comes back as it was.
"""

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from podinsight.domain.archive import is_unknown_url
from podinsight.domain.episode import DIRECT_SLUG, Episode
from podinsight.domain.feed import FeedItem
from podinsight.domain.identity import direct_guid, episode_id, feed_id, file_title

COLUMNS: Final = (
    "feed_url",
    "feed_slug",
    "guid",
    "episode_id",
    "title",
    "published",
    "url",
    "mime",
    "length",
    "duration",
    "season",
    "episode",
)
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")


@dataclass(frozen=True)
class Fault:
    """What is wrong with the row that begins at `line` (1-based, of the file)."""

    line: int
    text: str


@dataclass(frozen=True)
class ManifestRow:
    """One row as it was read: `published` epoch seconds, `duration` seconds, `length` bytes.

    It has an `episode_id`, or `feed_url`, `guid` and `url`, or `url` alone (a single audio URL).
    """

    line: int
    episode_id: str | None = None
    feed_url: str | None = None
    feed_slug: str | None = None
    guid: str | None = None
    title: str | None = None
    published: float | None = None
    url: str | None = None
    mime: str | None = None
    length: int | None = None
    duration: float | None = None
    season: int | None = None
    episode: int | None = None

    @property
    def key(self) -> str:
        """The episode's id, as far as the row alone can tell: what makes two rows doubles of each other."""
        if self.episode_id:
            return self.episode_id
        if self.feed_url and self.guid:
            return episode_id(feed_id(self.feed_url), self.guid)
        return episode_id(DIRECT_SLUG, direct_guid(self.url or ""))

    @property
    def places_itself(self) -> bool:
        """Whether the row says enough to make its episode known where it is not."""
        if self.url is None:
            return False
        if self.feed_url is not None:
            return self.guid is not None
        return self.episode_id in (None, episode_id(DIRECT_SLUG, direct_guid(self.url)))

    def item(self) -> FeedItem:
        """The row as a feed's item; it places itself."""
        url = self.url or ""
        guid = self.guid if self.feed_url and self.guid else direct_guid(url)
        title = self.title or file_title(url)
        return FeedItem(
            guid=guid,
            title=title,
            url=url,
            mime=self.mime,
            length=self.length,
            published=self.published,
            duration=self.duration,
            season=self.season,
            episode=self.episode,
        )


def guarded(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(cell: str) -> str:
    """The text of a guarded cell."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell, 1) else cell


def public_url(url: str) -> str:
    """A URL without user name and password, else as it is; empty when it cannot be read or is no real one."""
    if is_unknown_url(url):
        return ""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def cells(episode: Episode, feed_url: str | None) -> list[str]:
    """The row of an episode, guarded. feed_url: None for episodes that have no feed."""
    texts = (
        public_url(feed_url or ""),
        episode.feed_slug or "",
        episode.guid,
        episode.id,
        episode.title,
        _iso(episode.published),
        public_url(episode.url),
        episode.mime or "",
        _number(episode.length),
        _number(episode.duration),
        _number(episode.season),
        _number(episode.number),
    )
    return [guarded(text) for text in texts]


def to_csv(rows: Iterable[Sequence[str]]) -> bytes:
    """Rows as they stand in the file: UTF-8, lines that end in LF."""
    lines = _Lines()
    csv.writer(lines, lineterminator="\r\n").writerows(rows)
    return "".join(lines.written).encode("utf-8", "replace")


class _Lines:
    """Takes the rows that csv writes, one a call. With CRLF as its line end it quotes a CR too; LF is what we want."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def write(self, row: str) -> None:
        self.written.append(f"{row[:-2]}\n")


def _iso(at: float | None) -> str:
    if at is None:
        return ""
    try:
        return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return ""


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return str(int(value)) if float(value).is_integer() else repr(value)
