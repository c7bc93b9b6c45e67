"""Reading manifests: row by row, in bounded memory, each fault with the line on which its row begins (F2). Pure."""

import csv
import math
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import BinaryIO, Final

from podinsight.domain.episode import DIRECT_SLUG
from podinsight.domain.identity import InvalidUrl, normalise_url
from podinsight.domain.manifest import COLUMNS, Fault, ManifestRow, unguarded
from podinsight.errors import Permanent

LONGEST_LINE: Final = 1 << 20  # bytes
_LARGEST: Final = 2**63 - 1
_ID = re.compile(r"[0-9a-f]{20}")
_AS_THEY_ARE = frozenset({"title", "guid"})
_MAGIC = {
    b"\xff\xfe": "it is UTF-16: save it as UTF-8",
    b"\xfe\xff": "it is UTF-16: save it as UTF-8",
    b"PK\x03\x04": "it is a spreadsheet or zip file: save it as CSV (UTF-8)",
    b"\x1f\x8b": "it is compressed: unpack it first",
}


class NotAManifest(Permanent):
    """The file cannot be read as a manifest at all; the text says why."""


class ManifestReader:
    """The rows of a manifest, one after the other, in bounded memory.

    unknown: columns that mean nothing to us; they are left out.

    Raises:
        NotAManifest: empty, no UTF-8, or no header that we know; at the start, or at the line that cannot be read.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._rows = csv.reader(_lines(stream), strict=True)
        self._header = self._read_header()
        self.unknown = tuple(name for name in self._header if name and name not in COLUMNS)

    def __iter__(self) -> Iterator[ManifestRow | Fault]:
        while True:
            line = self._rows.line_num + 1
            try:
                values = next(self._rows)
            except StopIteration:
                return
            except csv.Error as error:
                yield Fault(line, _csv_fault(error))
                continue
            if any(values):
                yield self._row(line, values)

    def _read_header(self) -> list[str]:
        try:
            found = next((row for row in self._rows if any(row)), None)
        except csv.Error as error:
            raise NotAManifest(f"the header cannot be read: {_csv_fault(error)}") from None
        if found is None:
            raise NotAManifest("it is empty: not even a header is there")
        names = [name.strip().lower() for name in found]
        twice = sorted({name for name in names if name and names.count(name) > 1})
        if twice:
            raise NotAManifest(f"the header names {', '.join(twice)} twice")
        if not {"episode_id", "url"} & set(names):
            hint = "; are its columns separated by commas?" if len(names) == 1 else ""
            raise NotAManifest(f"the header has neither a column episode_id nor url{hint}")
        return names

    def _row(self, line: int, values: Sequence[str]) -> ManifestRow | Fault:
        if len(values) != len(self._header):
            return Fault(line, f"{len(values)} cells where the header has {len(self._header)}")
        texts: dict[str, str] = {}
        for name, value in zip(self._header, values, strict=True):
            text = unguarded(value)
            texts[name] = text if name in _AS_THEY_ARE else text.strip()
        try:
            return _checked(line, {name: texts.get(name, "") for name in COLUMNS})
        except ValueError as error:
            return Fault(line, str(error))


def _checked(line: int, texts: dict[str, str]) -> ManifestRow:
    """Raises ValueError with what is wrong."""
    row = ManifestRow(
        line=line,
        episode_id=_episode_id(texts["episode_id"]),
        feed_url=_url("feed_url", texts["feed_url"]),
        feed_slug=texts["feed_slug"] or None,
        guid=texts["guid"] if texts["guid"].strip() else None,
        title=texts["title"] or None,
        published=_time(texts["published"]),
        url=_url("url", texts["url"]),
        mime=texts["mime"] or None,
        length=_whole("length", texts["length"]),
        duration=_seconds(texts["duration"]),
        season=_whole("season", texts["season"]),
        episode=_whole("episode", texts["episode"]),
    )
    if row.episode_id:
        return row
    if row.url is None:
        raise ValueError("no episode_id and no url")
    if row.feed_url and not row.guid:
        raise ValueError("a feed_url needs a guid beside it")
    if row.guid and not row.feed_url and row.feed_slug != DIRECT_SLUG:
        raise ValueError("a guid needs the feed_url in which it was issued")
    return row


def _episode_id(text: str) -> str | None:
    if text and not _ID.fullmatch(text):
        raise ValueError(f"episode_id {text[:60]!r} is no id (20 hex characters)")
    return text or None


def _url(name: str, text: str) -> str | None:
    if not text:
        return None
    try:
        return normalise_url(text)
    except InvalidUrl as error:
        raise ValueError(f"{name}: {error}") from None


def _time(text: str) -> float | None:
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(f"published {text[:60]!r} is no ISO 8601 time such as 2026-11-22T08:00:00Z") from None


def _whole(name: str, text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > 19 or int(text) > _LARGEST:
        raise ValueError(f"{name} {text[:60]!r} is no whole number")
    return int(text)


def _seconds(text: str) -> float | None:
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < math.inf:
        raise ValueError(f"duration {text[:60]!r} is no number of seconds")
    return number


def _csv_fault(error: csv.Error) -> str:
    text = str(error)
    if "unexpected end of data" in text:
        return "a quote is opened here and never closed"
    if "new-line character" in text:
        return "lines must end in LF or CRLF, not in CR alone"
    return f"not CSV: {text}"


def _lines(stream: BinaryIO) -> Iterator[str]:
    """Decoded lines with their ends. Raises NotAManifest with the number of the line that is not UTF-8."""
    number = 0
    while raw := stream.readline(LONGEST_LINE + 1):
        number += 1
        if number == 1:
            raw = _without_mark(raw)
        if len(raw) > LONGEST_LINE:
            raise NotAManifest(f"line {number} is longer than {LONGEST_LINE:,} bytes")
        try:
            yield raw.decode("utf-8")
        except UnicodeDecodeError:
            raise NotAManifest(f"line {number} is not UTF-8: save the file as CSV UTF-8") from None


def _without_mark(raw: bytes) -> bytes:
    for magic, text in _MAGIC.items():
        if raw.startswith(magic):
            raise NotAManifest(text)
    return raw.removeprefix(b"\xef\xbb\xbf")
