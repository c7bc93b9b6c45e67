"""Feeds that tests serve."""

from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr


def rss(title: str, items: Sequence[tuple[str, str]], mime: str = "audio/mpeg") -> bytes:
    """An RSS feed of (GUID, enclosure URL) items."""
    entries = "".join(
        f"<item><title>{escape(guid)}</title><guid isPermaLink='false'>{escape(guid)}</guid>"
        f"<pubDate>Mon, 06 Jan 2025 10:{index % 60:02d}:00 GMT</pubDate>"
        f"<enclosure url={quoteattr(url)} type={quoteattr(mime)} length='0'/></item>"
        for index, (guid, url) in enumerate(items)
    )
    return (
        "<?xml version='1.0' encoding='utf-8'?><rss version='2.0'><channel>"
        f"<title>{escape(title)}</title><link>http://example.com/</link>{entries}</channel></rss>"
    ).encode()
