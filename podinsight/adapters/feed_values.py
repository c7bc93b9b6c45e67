"""Single values of feeds, tamed: texts, numbers, durations, dates and URLs."""

import calendar
import html
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_tz
from typing import Any
from urllib.parse import urljoin, urlsplit, urlunsplit

from podinsight.domain.identity import InvalidUrl, normalise_url

Entry = Mapping[str, Any]

MAX_SECONDS = 10 * 86400
LONGEST_TITLE = 1000
_TAG = re.compile(r"</?[A-Za-z][^<>]*>|<!--.{0,300}?-->", re.DOTALL)
_CLOCK = re.compile(r"(?:(\d{1,4}):)?(\d{1,4}):(\d{1,2}(?:\.\d+)?)")
_AMP = re.compile(r"&(?:amp|#38|#x26);", re.IGNORECASE)
_LAST_WORD = re.compile(r"\s([A-Za-z]{3,5})$")
# Zones that feedparser takes for UTC, in hours. Names that mean several zones (IST) are left at that.
_ZONES = {
    "wet": 0, "west": 1, "bst": 1, "cet": 1, "cest": 2, "eet": 2, "eest": 3, "msk": 3, "trt": 3, "sast": 2,
    "jst": 9, "kst": 9, "hkt": 8, "sgt": 8, "awst": 8, "acst": 9.5, "acdt": 10.5, "aest": 10, "aedt": 11,
    "nzst": 12, "nzdt": 13, "akst": -9, "akdt": -8, "hst": -10, "brt": -3, "nst": -3.5, "ndt": -2.5,
}  # fmt: skip


def parse_duration(text: object) -> float | None:
    """Seconds of an itunes:duration: `HH:MM:SS`, `MM:SS` or seconds; None for junk, zero and more than ten days."""
    value = str(text or "").strip()
    clock = _CLOCK.fullmatch(value)
    if clock:
        hours, minutes, seconds = clock.groups()
        total = int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds)
    elif re.fullmatch(r"\d{1,9}(?:\.\d+)?", value, re.ASCII):
        total = float(value)
    else:
        return None
    return total if 0 < total <= MAX_SECONDS else None


def whole_number(text: object) -> int | None:
    """A number without sign or fraction; None for anything else."""
    value = str(text or "").strip()
    return int(value) if re.fullmatch(r"\d{1,18}", value, re.ASCII) else None


def plain(text: object) -> str:
    """Text without HTML: tags dropped, entities read, white space collapsed; cut when it is no title any more."""
    if not isinstance(text, str):
        return ""
    return " ".join(html.unescape(_TAG.sub("", text[: 4 * LONGEST_TITLE])).split())[:LONGEST_TITLE]


def published(entry: Entry) -> tuple[float | None, str]:
    """Epoch seconds of an entry's date, and the date's text when it could not be read."""
    # FeedParserDict answers for missing keys with others; a plain dict does not.
    plain_entry = dict(entry)
    unread = ""
    for name in ("published", "updated", "created"):
        text = str(plain_entry.get(name) or "").strip()[:100]
        found = _with_zone(text)
        if found is None:
            found = _epoch(plain_entry.get(f"{name}_parsed"))
        if found is None and text:
            found = _other(text)
        if found is not None:
            return found, ""
        unread = unread or text
    return None, unread


def _with_zone(text: str) -> float | None:
    """A date of RFC 822 with the name of a zone that it does not know."""
    word = _LAST_WORD.search(text)
    hours = _ZONES.get(word.group(1).lower()) if word else None
    parts = parsedate_tz(text[: word.start()]) if word and hours is not None else None
    seconds = _epoch(parts[:9]) if parts else None
    return None if seconds is None or hours is None else seconds - hours * 3600


def _epoch(parts: Any) -> float | None:
    try:
        return float(calendar.timegm(parts)) if parts else None
    except (ValueError, OverflowError, TypeError):
        return None


def _other(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        pass
    else:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    parts = parsedate_tz(text)
    seconds = _epoch(parts[:9]) if parts else None
    return None if parts is None or seconds is None else seconds - (parts[9] or 0)


def image(entry: Entry, base: str) -> str | None:
    """The URL of a picture, without credentials."""
    found = entry.get("image")
    address = (found.get("href") or found.get("url")) if isinstance(found, Mapping) else None
    return shown_url(address or entry.get("logo") or entry.get("icon"), base)


def web_url(text: object, base: str) -> str | None:
    """The absolute, normalised form of a link in the feed; None when it is not http or https or unreadable.

    Ampersands that were escaped twice (`&amp;amp;`) are put right.
    """
    if not isinstance(text, str) or not text.strip():
        return None
    address = text.strip()
    while _AMP.search(address):
        address = _AMP.sub("&", address)
    try:
        return normalise_url(urljoin(base, address))
    except (InvalidUrl, ValueError):
        return None


def shown_url(text: object, base: str) -> str | None:
    """A link that people get to see: relative ones do not inherit the credentials of a private feed."""
    url = web_url(text, base)
    return None if url is None else without_userinfo(url)


def without_userinfo(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def without_secrets(url: str) -> str:
    """The URL without userinfo, query and fragment."""
    parts = urlsplit(without_userinfo(url))
    return urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
