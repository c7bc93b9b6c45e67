"""One pass over a feed in bounded memory: its items one by one, then its channel."""

import re
from collections.abc import Iterator
from typing import BinaryIO
from xml.parsers import expat

from podinsight.adapters.feed_encoding import Utf8, blocks
from podinsight.adapters.feed_items import MAX_ITEM, Fragment, ItemReader, RawItem
from podinsight.adapters.feed_repair import RawSlice, mended, raw_items

MAX_BROKEN = 1000  # items that only feedparser's slow loose parser can read
_NAMESPACES = (
    'xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd" xmlns:podcast="https://podcastindex.org/namespace/1.0" '
    'xmlns:media="http://search.yahoo.com/mrss/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    'xmlns:atom="http://www.w3.org/2005/Atom" xmlns:content="http://purl.org/rss/1.0/modules/content/"'
)
_RSS = (f'<rss version="2.0" {_NAMESPACES}><channel>', "</channel></rss>")
_END = re.compile(r"</(?:channel|rss|feed|rdf:RDF)\s*>", re.IGNORECASE)
_NAME = re.compile(r"<([\w.:-]+)")
_ATOM = (f'<feed xmlns="http://www.w3.org/2005/Atom" {_NAMESPACES}>', "</feed>")


class FeedReader:
    """Reads a document once. After `items` has come to its end the other attributes are valid.

    header: the channel without its items. fault: where the XML breaks, empty when it is well-formed. tail: the last
    item has no end, and was left out. cut: what was left out of items that are too large, and items that are too large
    or too many to be mended.
    """

    def __init__(self, document: Utf8, base: str) -> None:
        self._stream: BinaryIO = document.stream
        self._start = document.start
        self._base = base
        self.header = Fragment("", "", base)
        self.podcast_guid = ""
        self.fault = ""
        self.cut = 0
        self.tail = False
        self.any_item = False
        self._broken = 0

    def items(self) -> Iterator[RawItem]:
        """Every item in document order; from where the XML breaks, each item is mended or given as it is (`broken`).

        Raises:
            Permanent: it declares entities that could expand (an XML bomb).
        """
        reader = ItemReader(self._base)
        try:
            for block in blocks(self._stream, self._start):
                reader.parser.Parse(block, False)
                yield from reader.take()
            reader.parser.Parse(b"", True)
        except expat.ExpatError as error:
            self.fault = f"line {error.lineno}: {expat.ErrorString(error.code)}"
        yield from reader.take()
        self._keep(reader)
        if self.fault:
            yield from self._rest(reader)

    def _keep(self, reader: ItemReader) -> None:
        self.header, self.podcast_guid = reader.header, reader.podcast_guid
        self.header.closing = reader.unfinished()
        self.cut += reader.cut
        self.any_item = self.any_item or reader.any_item

    def _rest(self, reader: ItemReader) -> Iterator[RawItem]:
        first = not reader.any_item
        for piece in raw_items(self._stream, self._start + reader.resume_at):
            if first:
                reader = self._header_until(piece.at) or reader
                first = False
            yield from self._mended(piece, reader.around(), reader.base)
        if first:
            self._header_until(self._start + MAX_ITEM)

    def _header_until(self, end: int) -> ItemReader | None:
        """Reads the channel again, up to byte `end`, when the XML breaks in it; None when it cannot be mended."""
        self._stream.seek(self._start)
        text = mended(self._stream.read(min(end - self._start, MAX_ITEM)).decode("utf-8", "replace"))
        reader = ItemReader(self._base)
        try:
            reader.parser.Parse(text.encode(), False)
        except expat.ExpatError:
            self.header = Fragment("", "", self._base, [text], broken=True)
            return None
        self._keep(reader)
        return reader

    def _mended(self, piece: RawSlice, around: tuple[str, str], base: str) -> Iterator[RawItem]:
        if piece.data is None:
            self.cut += 1
            return
        text = piece.data.decode("utf-8", "replace")
        if not piece.whole:
            end = _END.search(text)
            self.tail = end is None
            if end is None:
                return
            name = _NAME.match(text)
            text = f"{text[: end.start()]}</{name.group(1) if name else 'item'}>"
        opening, closing = around if around[0] else _ATOM if "entry" in text[:70].lower() else _RSS
        mend = mended(text)
        found = _strict(opening, closing, text, base) or _strict(opening, closing, mend, base)
        if found:
            yield from found
        elif self._broken < MAX_BROKEN:
            self._broken += 1
            yield RawItem(opening, closing, base, [mend[:MAX_ITEM]], broken=True)
        else:
            self.cut += 1


def _strict(opening: str, closing: str, text: str, base: str) -> list[RawItem]:
    """The items of a piece of XML; none when it is not well-formed."""
    reader = ItemReader(base)
    try:
        reader.parser.Parse(f"{opening}{text}{closing}".encode("utf-8", "replace"), True)
    except expat.ExpatError:
        return []
    return reader.take()
