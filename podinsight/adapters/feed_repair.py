"""Feeds that are not well-formed XML: their items cut out by tag, and mended where the usual faults allow it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.entities import html5
from typing import BinaryIO

from podinsight.adapters.feed_encoding import blocks

MAX_RAW_ITEM = 4 * 1024 * 1024
_LONGEST_NAME = 80
_BOUNDARY = re.compile(rb"<(/?)((?:[A-Za-z_][\w.-]{0,60}:)?(?:item|entry))(?=[\s/>])", re.IGNORECASE)
_LONG_NAMES = (
    "description|summary|subtitle|content|itunes:summary|itunes:subtitle|content:encoded|media:description"
    "|googleplay:description|dc:description|atom:content|atom:summary|podcast:liveItem"
)
_LONG_TEXT = re.compile(rf"<({_LONG_NAMES})(?=[\s>])[^<>]{{0,1000}}(?<!/)>", re.IGNORECASE)
_AMPERSAND = re.compile(r"&(?:(#\d{1,7}|#[xX][0-9A-Fa-f]{1,6})|(\w{1,31}));|&")
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_XML_OWN = frozenset({"amp", "lt", "gt", "quot", "apos"})


@dataclass(frozen=True)
class RawSlice:
    """The bytes of one item. whole: its end was there (or the next one's beginning). None: too large to be read."""

    at: int
    data: bytes | None
    whole: bool = True


def raw_items(stream: BinaryIO, start: int) -> Iterator[RawSlice]:
    """Items from byte `start` on, by their tags alone; one that never ends is ended by the next."""
    cutter = _Cutter(start)
    for block in blocks(stream, start):
        yield from cutter.feed(block)
    yield from cutter.close()


class _Cutter:
    def __init__(self, start: int) -> None:
        self._buffer = b""
        self._offset = start  # of the buffer in the document
        self._begin = -1
        self._searched = 0

    def feed(self, block: bytes) -> Iterator[RawSlice]:
        self._buffer += block
        yield from self._cut(max(0, len(self._buffer) - _LONGEST_NAME))
        if self._begin >= 0 and len(self._buffer) - self._begin > MAX_RAW_ITEM:
            yield RawSlice(self._offset + self._begin, None)
            self._begin = -1
        keep = self._begin if self._begin >= 0 else min(self._searched, len(self._buffer))
        self._buffer, self._offset = self._buffer[keep:], self._offset + keep
        self._searched -= keep
        self._begin = min(self._begin, 0)

    def close(self) -> Iterator[RawSlice]:
        yield from self._cut(len(self._buffer))
        if self._begin >= 0:
            yield RawSlice(self._offset + self._begin, self._buffer[self._begin :], whole=False)

    def _cut(self, limit: int) -> Iterator[RawSlice]:
        """Cuts at the tags that begin before `limit`: a later one may not be there whole yet."""
        for found in _BOUNDARY.finditer(self._buffer, self._searched):
            if found.start() >= limit:
                break
            if not found.group(1):
                if self._begin >= 0:
                    yield self._slice(found.start())
                self._begin = found.start()
            elif self._begin >= 0:
                yield self._slice(found.end(), b">")
                self._begin = -1
            self._searched = found.end()
        self._searched = max(self._searched, limit)

    def _slice(self, end: int, closing: bytes = b"") -> RawSlice:
        return RawSlice(self._offset + self._begin, self._buffer[self._begin : end] + closing)


def mended(text: str) -> str:
    """XML without the faults that feeds have most: bare ampersands, entities of HTML, control characters.

    Long texts that nobody reads are left out; most faults are in them. Takes linear time, whatever the text.
    """
    return "".join(_ampersands(_NO_XML.sub("", "".join(_short_texts(text)))))


def _short_texts(text: str) -> Iterator[str]:
    position = kept = 0
    never_closed: set[str] = set()
    while found := _LONG_TEXT.search(text, position):
        position = found.end()
        name = found.group(1).lower()
        if name in never_closed:
            continue
        closing = re.compile(rf"</{name}\s{{0,100}}>", re.IGNORECASE).search(text, position)
        if closing is None:
            never_closed.add(name)
            continue
        yield text[kept : found.start()]
        position = kept = closing.end()
    yield text[kept:]


def _ampersands(text: str) -> Iterator[str]:
    position = 0
    while (begin := text.find("<![CDATA[", position)) >= 0 and (end := text.find("]]>", begin)) >= 0:
        yield _AMPERSAND.sub(_entity, text[position:begin])
        yield text[begin : end + 3]
        position = end + 3
    yield _AMPERSAND.sub(_entity, text[position:])


def _entity(found: re.Match[str]) -> str:
    whole = found.group()
    if found.group(1):
        return whole
    name = found.group(2)
    if name in _XML_OWN:
        return whole
    character = html5.get(f"{name};") if name else None
    return character if character and character not in "<>&\"'" else f"&amp;{whole[1:]}"
