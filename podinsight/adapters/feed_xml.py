"""What a document is before a feed parser sees it, and what feedparser does not keep of one.

feedparser keeps only the last `podcast:transcript` of an item, and resolves GUIDs as if they were relative URLs where
there is an `xml:base`; both are read here with expat, which also sees entity declarations that feedparser drops.
"""

import html
import re
from dataclasses import dataclass, field
from xml.parsers import expat

from podinsight.domain.feed import TranscriptLink
from podinsight.errors import Permanent

HEAD_BYTES = 64 * 1024
MAX_ENTITY_CHARACTERS = 256
_PROLOGUE = re.compile(r"\s*(?:<\?.*?\?>|<!--.*?-->|<!doctype\b[^>\[]*(?:\[.*?\]\s*)?>)", re.IGNORECASE | re.DOTALL)
_ROOT = re.compile(r"\s*<([A-Za-z_][\w.:-]*)")
_HTML_TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)
_NESTED_ENTITY = re.compile(r"&(?!#)|%")
_ITEMS = frozenset({"item", "entry", "atom:entry"})
_GUIDS = frozenset({"guid", "id", "atom:id"})
_MAGIC = (
    (b"\x1f\x8b", "gzip-compressed data"),
    (b"PK\x03\x04", "a zip archive"),
    (b"%PDF", "a PDF document"),
    (b"ID3", "an audio file"),
    (b"OggS", "an audio file"),
    (b"fLaC", "an audio file"),
    (b"RIFF", "an audio file"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"GIF8", "an image"),
)
_BOMS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
    (b"<\x00", "utf-16-le"),
    (b"\x00<", "utf-16-be"),
)


@dataclass
class RawItem:
    """One item as it stands in the document."""

    guid: str = ""
    transcripts: list[TranscriptLink] = field(default_factory=list)


def not_a_feed(body: bytes) -> str | None:
    """What a document is that cannot be a feed, in words (`an HTML page (title "…")`); None when it may be one."""
    if not body.strip():
        return "an empty document"
    for magic, what in _MAGIC:
        if body.startswith(magic):
            return what
    head = _head(body)
    if "\0" in head:
        return "binary data"
    text = head.lstrip("\ufeff \t\r\n")
    if text.startswith(("{", "[")):
        return "a JSON document"
    if root_of(text) == "html" or text[:14].lower() == "<!doctype html":
        title = _HTML_TITLE.search(text)
        name = " ".join(html.unescape(title.group(1)).split())[:80] if title else ""
        return f'an HTML page (title "{name}")' if name else "an HTML page"
    return None


def describe(body: bytes) -> str:
    """What a document is in which a feed parser found neither a feed nor items."""
    root = root_of(_head(body).lstrip("\ufeff \t\r\n"))
    if root == "opml":
        return "an OPML list of feeds"
    return f"an XML document <{root}>" if root else "plain text"


def root_of(text: str) -> str | None:
    """The name of the first element, lower-case; None when the text does not begin with markup."""
    position = 0
    while found := _PROLOGUE.match(text, position):
        position = found.end()
    root = _ROOT.match(text, position)
    return root.group(1).lower() if root else None


def read_items(body: bytes) -> tuple[list[RawItem], bool]:
    """Whole items in document order, and whether the document was well-formed to its end.

    Raises:
        Permanent: it declares entities that could expand (an XML bomb). External ones are never resolved.
    """
    reader = _Reader()
    try:
        reader.parser.Parse(body, True)
    except (expat.ExpatError, LookupError, ValueError):
        return reader.finished(), False
    return reader.items, True


def _head(body: bytes) -> str:
    start = body[:HEAD_BYTES]
    encoding = next((name for bom, name in _BOMS if start.startswith(bom)), "utf-8")
    return start.decode(encoding, "replace")


class _Reader:
    def __init__(self) -> None:
        self.items: list[RawItem] = []
        self._item: RawItem | None = None
        self._depth = 0
        self._guid_depth = 0
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        self.parser.EntityDeclHandler = self._entity
        self.parser.ExternalEntityRefHandler = lambda *_: 1
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text

    def finished(self) -> list[RawItem]:
        """The items whose end was seen."""
        return self.items if self._item is None else self.items[:-1]

    def _entity(
        self,
        name: str,
        is_parameter: bool,
        value: str | None,
        base: str | None,
        system: str | None,
        public: str | None,
        notation: str | None,
    ) -> None:
        if value is not None and (is_parameter or len(value) > MAX_ENTITY_CHARACTERS or _NESTED_ENTITY.search(value)):
            raise Permanent(
                f"refused: the document declares the entity {name[:40]!r}, which could expand (an XML bomb)"
            )

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        tag = name.lower()
        if tag in _ITEMS:
            self._item = RawItem()
            self.items.append(self._item)
            self._item_depth = self._depth
        elif self._item is None:
            return
        elif tag in _GUIDS and self._depth == self._item_depth + 1 and not self._item.guid:
            self._guid_depth = self._depth
        elif tag.endswith(":transcript") and attributes.get("url"):
            self._item.transcripts.append(
                TranscriptLink(
                    attributes["url"].strip(),
                    attributes.get("type", "").strip().lower(),
                    attributes.get("language", "").strip() or None,
                )
            )

    def _end(self, name: str) -> None:
        if self._guid_depth == self._depth:
            self._guid_depth = 0
        if name.lower() in _ITEMS:
            self._item = None
        self._depth -= 1

    def _text(self, data: str) -> None:
        if self._guid_depth and self._item is not None:
            self._item.guid += data
