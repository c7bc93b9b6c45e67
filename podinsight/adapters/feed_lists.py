"""Lists of feeds: OPML (http://opml.org/spec2.opml) and tier files in YAML, read and written."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import listparser
import yaml
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import iterparse

from podinsight.adapters.feed_encoding import as_utf8
from podinsight.adapters.feed_xml import describe, not_a_feed, root_of
from podinsight.domain.feed_list import FeedList, ListedFeed
from podinsight.domain.identity import InvalidUrl, feed_id, normalise_url, redact_url
from podinsight.errors import Permanent

MAX_LIST_BYTES = 16 * 1024 * 1024
MAX_FEEDS = 100_000
_DEEPEST = 6
_MOST_FAULTS = 20
_URL_KEYS = ("url", "feed_url", "rss", "xmlurl", "feed", "rss_url", "feedurl")
_NAME_KEYS = ("title", "name", "slug", "text")
_FILE_TIER = re.compile(r"(tier[\w-]*?)(?:[_-]feeds)?$", re.IGNORECASE)
_OUTSIDE_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")


def read_feed_list(name: str, data: bytes) -> FeedList:
    """The list in a file or document called `name`, whichever format it has.

    Raises:
        Permanent: no list, or entries in it that are no feeds: one line for each, naming the entry.
    """
    if len(data) > MAX_LIST_BYTES:
        raise Permanent(f"not a list of feeds: larger than {MAX_LIST_BYTES} bytes")
    utf8 = as_utf8(BytesIO(data), {})
    utf8.stream.seek(utf8.start)
    text = utf8.stream.read().decode("utf-8", "replace")
    if not text.strip():
        raise Permanent("not a list of feeds: an empty document")
    root = root_of(text)
    entries = _Entries()
    if root == "opml":
        _read_opml(text, entries)
    elif root is not None:
        hint = "; a feed itself is followed with `podrun feeds add`" if root in ("rss", "feed", "rdf:rdf") else ""
        what = not_a_feed(data) or describe(data)
        raise Permanent(f"not a list of feeds: {what}{hint}")
    else:
        _read_yaml(text, _tier_of_file(name), entries)
    return entries.checked()


@dataclass
class _Entries:
    found: list[ListedFeed] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, entry: ListedFeed) -> None:
        if len(self.found) + len(self.faults) >= MAX_FEEDS:
            raise Permanent(f"not a list that is read: more than {MAX_FEEDS} entries")
        agent = entry.user_agent
        if agent is not None and not (agent.strip() and agent.isascii() and agent.isprintable()):
            self.faults.append(f"{entry.where}: a user agent is printable ASCII")
            return
        try:
            self.found.append(replace(entry, url=normalise_url(entry.url)))
        except InvalidUrl as error:
            self.faults.append(f"{entry.where}: {error}")

    def checked(self) -> FeedList:
        if self.faults:
            more = len(self.faults) - _MOST_FAULTS
            lines = self.faults[:_MOST_FAULTS] + ([f"… and {more} more"] if more > 0 else [])
            wrong = "1 entry is" if len(self.faults) == 1 else f"{len(self.faults)} entries are"
            raise Permanent("\n".join([f"nothing was added, {wrong} wrong:", *lines]))
        once: dict[str, ListedFeed] = {}
        for entry in self.found:
            once.setdefault(feed_id(re.sub("^http:", "https:", entry.url)), entry)
        if len(once) < len(self.found):
            self.notes.append(f"{len(self.found) - len(once)} listed more than once")
        return FeedList(tuple(once.values()), tuple(self.notes))


# --------------------------------------------------------------------------------------------------------- OPML


def _read_opml(text: str, entries: _Entries) -> None:
    """With listparser, which is lenient. What it passes over is told from the XML itself, when that is well-formed."""
    try:
        for _event, element in iterparse(BytesIO(_declared_utf8(text)), events=("end",), forbid_dtd=False):
            if element.tag == "outline" and _lacks_url(element):
                entries.notes.append(f"the outline {_label(element)!r} has no feed URL and was left out")
    except DefusedXmlException as error:
        raise Permanent(f"refused: the OPML declares entities ({type(error).__name__}): an XML bomb?") from None
    except ElementTree.ParseError as error:
        entries.notes.append(f"not well-formed XML, read as far as it goes ({error})")
    try:
        found = listparser.parse(text.encode("utf-8", "replace"))
    except (ValueError, TypeError, LookupError, AssertionError, RecursionError) as error:
        raise Permanent(f"not an OPML that can be read: {type(error).__name__}") from error
    for each in found["lists"]:
        entries.notes.append(f"another list is included and was left out, import it as well: {redact_url(each['url'])}")
    for number, each in enumerate(found["feeds"], 1):
        title = " ".join(str(each.get("title") or "").split()) or None
        groups = [group for group in each.get("categories", ()) if any(group)]
        tier = "/".join(part for part in groups[-1] if part) if groups else None
        entries.add(ListedFeed(str(each["url"]), f"outline {number} ({title or 'without a title'})", title, tier))


def _declared_utf8(text: str) -> bytes:
    body = re.sub(r"^\s*<\?xml[^>]*\?>", "", text)
    return b"<?xml version='1.0' encoding='utf-8'?>" + body.encode("utf-8", "replace")


def _lacks_url(element: Element) -> bool:
    named = {name.lower(): value.strip() for name, value in element.attrib.items()}
    if len(element) or named.get("xmlurl") or named.get("url"):
        return False
    return "xmlurl" in named or "htmlurl" in named or named.get("type", "").lower() == "rss"


def _label(element: Element) -> str:
    return " ".join((element.get("text") or element.get("title") or "").split())[:80]


def write_opml(feeds: Sequence[ListedFeed]) -> str:
    """OPML 2.0, feeds grouped in one outline for each tier, nested ones for `a/b`."""
    root = Element("opml", version="2.0")
    SubElement(SubElement(root, "head"), "title").text = "Podcasts"
    body = SubElement(root, "body")
    folders: dict[tuple[str, ...], Element] = {(): body}
    for feed in sorted(feeds, key=lambda each: each.tier or ""):
        path = tuple(part for part in (feed.tier or "").split("/") if part.strip())
        for depth in range(1, len(path) + 1):
            if path[:depth] not in folders:
                name = _xml_text(path[depth - 1])
                folders[path[:depth]] = SubElement(folders[path[: depth - 1]], "outline", text=name)
        title = _xml_text(feed.title or feed.url)
        SubElement(folders[path], "outline", type="rss", text=title, title=title, xmlUrl=feed.url)
    ElementTree.indent(root)
    return "<?xml version='1.0' encoding='UTF-8'?>\n" + ElementTree.tostring(root, encoding="unicode") + "\n"


def _xml_text(text: str) -> str:
    return _OUTSIDE_XML.sub(" ", text)


# --------------------------------------------------------------------------------------------------------- YAML


class _NoAliases(yaml.SafeLoader):
    """A handful of aliases can stand for billions of entries."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise Permanent("not a list that is read: it has YAML aliases (`*name`); write out what they stand for")
        return super().compose_node(parent, index)


def _read_yaml(text: str, tier: str | None, entries: _Entries) -> None:
    try:
        document = yaml.load(text, _NoAliases)  # noqa: S506 - a SafeLoader that takes less
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1}: {getattr(error, 'problem', '')})" if mark else ""
        raise Permanent(f"not a list of feeds: neither OPML nor YAML that can be read{where}") from None
    except (ValueError, RecursionError) as error:
        raise Permanent(f"not a list of feeds: YAML that cannot be read ({type(error).__name__})") from None
    if not isinstance(document, list | dict):
        raise Permanent(f"not a list of feeds: {describe(text.encode()[:1000])}, no YAML list or mapping")
    _walk(document, _Place("", tier), entries)
    if not entries.found and not entries.faults:
        entries.notes.append("the list is empty")


@dataclass(frozen=True)
class _Place:
    """Where the walk stands, as a person would point at it (`feeds, entry 3`), and what holds for all below."""

    where: str
    tier: str | None
    name: str | None = None
    depth: int = 0

    def at(self, where: str, tier: str | None = None, name: str | None = None) -> "_Place":
        return _Place(f"{self.where}, {where}".lstrip(", "), tier or self.tier, name, self.depth + 1)


def _walk(node: object, place: _Place, entries: _Entries) -> None:
    if place.depth > _DEEPEST:
        entries.faults.append(f"{place.where}: nested too deep for a list of feeds")
    elif isinstance(node, str):
        entries.add(ListedFeed(node, f"{place.where} ({place.name})" if place.name else place.where, tier=place.tier))
    elif isinstance(node, list):
        for number, each in enumerate(node, 1):
            _walk(each, place.at(f"entry {number}"), entries)
    elif isinstance(node, Mapping):
        _walk_mapping(node, place, entries)
    else:
        entries.faults.append(f"{place.where}: {_shown(node)} is no URL of a feed")


def _walk_mapping(node: Mapping[object, object], place: _Place, entries: _Entries) -> None:
    keys = {str(key).lower(): value for key, value in node.items()}
    address = next((keys[key] for key in _URL_KEYS if key in keys and not isinstance(keys[key], list | dict)), None)
    if any(key in keys and not isinstance(keys[key], list | dict) for key in _URL_KEYS):
        _entry(keys, address, place, entries)
    elif "feeds" in keys:
        group = _text(keys.get("tier")) or (_text(keys.get("name")) if place.depth else None)
        _walk(keys["feeds"], place.at("feeds", group), entries)
    elif any(key in keys for key in _NAME_KEYS) and not any(isinstance(value, list | dict) for value in keys.values()):
        entries.faults.append(f"{place.where} ({_name(keys) or 'without a name'}): no URL; give it a key `url`")
    else:
        for key, value in node.items():
            group = str(key) if _is_group(value) else None
            _walk(value, place.at(f"{key}", group, str(key)), entries)


def _is_group(value: object) -> bool:
    """Whether a mapping's value is the feeds of a tier: a list, or a mapping that is no entry itself."""
    if isinstance(value, Mapping):
        return not any(str(key).lower() in _URL_KEYS for key in value)
    return isinstance(value, list)


def _entry(keys: Mapping[str, object], address: object, place: _Place, entries: _Entries) -> None:
    name = _name(keys) or place.name
    where = f"{place.where} ({name})" if name else place.where
    if not isinstance(address, str) or not address.strip():
        entries.faults.append(f"{where}: {_shown(address)} is no URL of a feed")
        return
    agent = keys.get("user_agent")
    if agent is not None and not isinstance(agent, str):
        entries.faults.append(f"{where}: a user agent is text, not {_shown(agent)}")
        return
    entries.add(ListedFeed(address, where, name, _text(keys.get("tier")) or place.tier, agent or None))


def _name(keys: Mapping[str, object]) -> str | None:
    return next((text for key in _NAME_KEYS if (text := _text(keys.get(key)))), None)


def _text(value: object) -> str | None:
    """Tiers and names may be numbers: `tier: 1`."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return " ".join(str(value).split()) or None


def _shown(value: object) -> str:
    return "nothing" if value in (None, "") else f"{str(value)[:40]!r}"


def _tier_of_file(name: str) -> str | None:
    """`lists/tier1_feeds.yaml` → `tier1`."""
    found = _FILE_TIER.match(PurePosixPath(name.replace("\\", "/")).stem)
    return found.group(1) if found else None


def write_yaml(feeds: Iterable[ListedFeed]) -> str:
    """A mapping with the key `feeds`: a list of mappings, as `read_feed_list` takes it."""
    entries = []
    for feed in feeds:
        entry = {"url": feed.url, "title": feed.title, "tier": feed.tier, "user_agent": feed.user_agent}
        entries.append({key: value for key, value in entry.items() if value})
    return yaml.safe_dump({"feeds": entries}, sort_keys=False, allow_unicode=True, width=1000)
