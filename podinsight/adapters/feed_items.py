"""The items of a feed one by one, whatever its size: XML in, small pieces of XML for feedparser out.

Expat reads the document as a stream. Of each item and of the channel only the elements that are read go on; long texts
(descriptions, show notes) never do. What feedparser does not keep is read here: GUIDs as they stand, every transcript,
and the other elements of the podcast namespace (https://podcasting2.org/docs/podcast-namespace).
"""

import re
from dataclasses import dataclass, field
from urllib.parse import urljoin
from xml.parsers import expat

from podinsight.domain.feed import ChaptersLink, Person, TranscriptLink
from podinsight.errors import Permanent

MAX_ENTITY_CHARACTERS = 256
MAX_TEXT = 16 * 1024
MAX_SHORT_TEXT = 2000
MAX_ITEM = 1024 * 1024
MAX_OPENING = 64 * 1024
MAX_LINKS = 100
_DEEPEST_ITEM = 8
_NESTED_ENTITY = re.compile(r"&(?!#)|%")
_ITEMS = frozenset({"item", "entry"})
_GUIDS = frozenset({"guid", "id"})
_CONTAINERS = frozenset({"rss", "rdf", "channel", "feed"})
_OF_ITEM = frozenset(
    {"title", "guid", "id", "link", "enclosure", "group", "image", "duration", "season", "episode"}
    | {"pubdate", "published", "updated", "modified", "issued", "created", "date"}
)
_OF_FEED = frozenset({"title", "link", "language", "image", "logo", "icon", "new-feed-url"})
_NEVER = frozenset({"description", "encoded", "summary", "subtitle"})
_LONGER = frozenset({"title", "guid", "id", "link", "url", "new-feed-url"})
_ADDRESSES = frozenset({"href", "url", "src"})
_TEXT = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})
_ATTRIBUTE = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
)


@dataclass
class Fragment:
    """A piece of a document for feedparser: `opening` and `closing` are the tags around it.

    base: the URL that relative ones in it are relative to. broken: the XML is as it came, and not well-formed.
    """

    opening: str
    closing: str
    base: str
    pieces: list[str] = field(default_factory=list)
    size: int = 0
    broken: bool = False

    @property
    def xml(self) -> str:
        return "".join(self.pieces)

    def add(self, text: str) -> None:
        self.pieces.append(text)
        self.size += len(text)


@dataclass
class RawItem(Fragment):
    """One item, and what feedparser would not keep of it, as it stands in the document."""

    guid: str = ""
    season: str = ""
    episode: str = ""
    transcripts: list[TranscriptLink] = field(default_factory=list)
    chapters: ChaptersLink | None = None
    persons: list[Person] = field(default_factory=list)


@dataclass(frozen=True)
class _Element:
    name: str
    tag: str
    base: str
    is_container: bool


class ItemReader:
    """Fed with UTF-8 by `parser`; `take` gives the items that are complete.

    header: the channel without its items. cut: elements that were left out of items that are too large.
    resume_at: where, in bytes fed, the item that is open begins, or the end tag of the last one stands.
    """

    def __init__(self, base: str) -> None:
        self.header = Fragment("", "", base)
        self.podcast_guid = ""
        self.cut = 0
        self.any_item = False
        self.resume_at = 0
        self._open: list[_Element] = []
        self._done: list[RawItem] = []
        self._item: RawItem | None = None
        self._item_depth = 0
        self._skip = 0
        self._room = MAX_TEXT
        self._caught: list[str] | None = None
        self._person: dict[str, str] = {}
        self._catching = ""
        self._podcast = {"podcast"}
        self.parser = expat.ParserCreate("utf-8")
        self.parser.buffer_text = True
        self.parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        self.parser.EntityDeclHandler = _check_entity
        self.parser.ExternalEntityRefHandler = lambda *_: 1
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text

    def take(self) -> list[RawItem]:
        """The items whose end was seen since the last call."""
        done, self._done = self._done, []
        return done

    def around(self) -> tuple[str, str]:
        """The tags of the containers (`<rss …><channel>`) that are open now, and their end tags."""
        held = [element for element in self._open if element.is_container]
        return "".join(each.tag for each in held), "".join(f"</{each.name}>" for each in reversed(held))

    @property
    def base(self) -> str:
        """What relative URLs are relative to here."""
        return self._open[-1].base if self._open else self.header.base

    def unfinished(self) -> str:
        """The end tags that the channel lacks when the document breaks here."""
        held = self._open if self._item is None else self._open[: self._item_depth]
        return "".join(f"</{each.name}>" for each in reversed(held))

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if self._skip:
            self._skip += 1
            return
        self._learn_prefixes(attributes)
        prefix, _, local = name.lower().rpartition(":")
        is_podcast = prefix in self._podcast
        if self._item is None and local in _ITEMS and not is_podcast and 0 < len(self._open) <= _DEEPEST_ITEM:
            self._begin_item()
        if is_podcast or not self._is_read(local, attributes):
            self._skip = 1
            if is_podcast:
                self._podcast_element(local, attributes)
            return
        self._keep(name, local, attributes)

    def _learn_prefixes(self, attributes: dict[str, str]) -> None:
        for name, value in attributes.items():
            if name.startswith("xmlns:") and ("podcastindex" in value.lower() or "podcast-namespace" in value.lower()):
                self._podcast.add(name[6:].lower())

    def _begin_item(self) -> None:
        opening, closing = self.around()
        if len(opening) > MAX_OPENING:
            raise Permanent(f"not a feed that is read: more than {MAX_OPENING} characters in the tags around its items")
        if not self.any_item:
            self.header.base = self.base
        self._item = RawItem(opening, closing, self.base)
        self._item_depth = len(self._open)
        self.resume_at = self.parser.CurrentByteIndex
        self.any_item = True

    def _is_read(self, local: str, attributes: dict[str, str]) -> bool:
        depth = len(self._open)
        if self._item is not None:
            if self._item.size > MAX_ITEM:
                self.cut += 1
                return False
            inside = depth - self._item_depth
            # Of Atom, content is a text; of Media RSS it is a link.
            is_media = local == "content" and "url" in attributes
            return inside == 0 or is_media or (local not in _NEVER and (inside > 1 or local in _OF_ITEM))
        if depth == 0 or local in _CONTAINERS:
            return True
        parent = self._open[-1]
        if parent.is_container:
            return local in _OF_FEED and self.header.size <= MAX_ITEM
        return depth > 1 and local not in _NEVER and self.header.size <= MAX_ITEM

    def _keep(self, name: str, local: str, attributes: dict[str, str]) -> None:
        base = self.base
        own = attributes.pop("xml:base", None)
        if own is not None:
            base = _joined(base, own)
        within = self._item is not None and len(self._open) > self._item_depth
        if self._item is not None and not within:
            self._item.base = base
        elif base != (self._item.base if self._item else self.header.base):
            attributes = {
                key: _joined(base, value) if key in _ADDRESSES else value for key, value in attributes.items()
            }
        tag = f"<{name}" + "".join(f' {key}="{value.translate(_ATTRIBUTE)}"' for key, value in attributes.items()) + ">"
        self._open.append(_Element(name, tag, base, local in _CONTAINERS and self._item is None))
        self._target().add(tag)
        self._room = MAX_TEXT if local in _LONGER else MAX_SHORT_TEXT
        if self._item and len(self._open) == self._item_depth + 2 and local in _GUIDS and not self._item.guid:
            self._catching, self._caught = "guid", []

    def _podcast_element(self, local: str, attributes: dict[str, str]) -> None:
        item = self._item
        if item is None:
            if local == "guid" and self._open and self._open[-1].is_container and not self.podcast_guid:
                self._catching, self._caught = "podcast_guid", []
        elif len(self._open) != self._item_depth + 1:
            return
        elif local == "transcript" and attributes.get("url", "").strip() and len(item.transcripts) < MAX_LINKS:
            kind, language = attributes.get("type", ""), attributes.get("language", "")
            url = self._address(attributes["url"])
            item.transcripts.append(TranscriptLink(url, kind.strip().lower(), language.strip() or None))
        elif local == "chapters" and attributes.get("url", "").strip() and item.chapters is None:
            item.chapters = ChaptersLink(self._address(attributes["url"]), attributes.get("type", "").strip().lower())
        elif local in ("season", "episode", "person"):
            self._catching, self._caught, self._person = local, [], attributes
            self._room = MAX_SHORT_TEXT

    def _address(self, url: str) -> str:
        base = self.base
        return url.strip() if self._item and base == self._item.base else _joined(base, url)

    def _end(self, _name: str) -> None:
        if self._skip:
            self._skip -= 1
            if self._skip == 0 and self._caught is not None:
                self._caught_all()
            return
        if self._caught is not None:
            self._caught_all()
        element = self._open.pop()
        self._target().add(f"</{element.name}>")
        if self._item is not None and len(self._open) == self._item_depth:
            self._done.append(self._item)
            self._item = None
            self.resume_at = self.parser.CurrentByteIndex
        elif self._item is None and element.is_container and not self.any_item:
            self.header.base = element.base

    def _caught_all(self) -> None:
        text = "".join(self._caught or ())
        self._caught = None
        if self._catching == "podcast_guid":
            self.podcast_guid = text.strip()
        elif self._item is None:
            return
        elif self._catching == "person":
            name = " ".join(text.split())
            if name and len(self._item.persons) < MAX_LINKS:
                role = " ".join(self._person.get("role", "").split()) or "host"
                self._item.persons.append(Person(name[:500], role[:200], self._person.get("href") or None))
        else:
            setattr(self._item, self._catching, text)

    def _text(self, data: str) -> None:
        if self._caught is None and self._skip:
            return
        data = data[: self._room]
        self._room -= len(data)
        if self._caught is not None and self._skip <= 1:
            self._caught.append(data)
        if not self._skip and self._target().size <= MAX_ITEM:
            self._target().add(data.translate(_TEXT))

    def _target(self) -> Fragment:
        return self._item if self._item is not None else self.header


def _check_entity(
    name: str,
    is_parameter: bool,
    value: str | None,
    _base: str | None,
    _system: str | None,
    _public: str | None,
    _notation: str | None,
) -> None:
    """External entities are never resolved; those of one short text are fine."""
    if value is not None and (is_parameter or len(value) > MAX_ENTITY_CHARACTERS or _NESTED_ENTITY.search(value)):
        raise Permanent(f"refused: the document declares the entity {name[:40]!r}, which could expand (an XML bomb)")


def _joined(base: str, url: str) -> str:
    try:
        return urljoin(base, url.strip())
    except ValueError:
        return url
