"""What a document is before a feed parser sees it."""

import html
import re

from podinsight.adapters.feed_encoding import head_text

_PROLOGUE = re.compile(r"\s*(?:<\?.*?\?>|<!--.*?-->|<!doctype\b[^>\[]*(?:\[.*?\]\s*)?>)", re.IGNORECASE | re.DOTALL)
_ROOT = re.compile(r"\s*<([A-Za-z_][\w.:-]*)")
_HTML_TITLE = re.compile(r"<title[^<>]{0,200}>(.{0,1000}?)</title", re.IGNORECASE | re.DOTALL)
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


def not_a_feed(head: bytes) -> str | None:
    """What a document that begins like this is (`an HTML page (title "…")`); None when it may be a feed."""
    for magic, what in _MAGIC:
        if head.startswith(magic):
            return what
    text = head_text(head)
    if "\0" in text:
        return "binary data"
    text = text.lstrip("\ufeff \t\r\n")
    if text.startswith(("{", "[")):
        return "a JSON document"
    if root_of(text) == "html" or text[:14].lower() == "<!doctype html":
        title = _HTML_TITLE.search(text)
        name = " ".join(html.unescape(title.group(1)).split())[:80] if title else ""
        return f'an HTML page (title "{name}")' if name else "an HTML page"
    return None


def describe(head: bytes) -> str:
    """What a document is in which a feed parser found neither a feed nor items."""
    root = root_of(head_text(head).lstrip("\ufeff \t\r\n"))
    if root == "opml":
        return "an OPML list of feeds (`podrun feeds import` reads those)"
    return f"an XML document <{root}>" if root else "plain text"


def root_of(text: str) -> str | None:
    """The name of the first element, lower-case; None when the text does not begin with markup."""
    position = 0
    while found := _PROLOGUE.match(text, position):
        position = found.end()
    root = _ROOT.match(text, position)
    return root.group(1).lower() if root else None
