"""Who is who: hosts, URLs, GUIDs, ids and the names of folders. Pure; standard library only."""

import hashlib
import ipaddress
import re
import unicodedata
from collections.abc import Callable, Collection
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from podinsight.domain.masking import MASK as MASK
from podinsight.domain.masking import looks_random, masked_path, masked_query
from podinsight.errors import Permanent

DEFAULT_PORTS = {"http": 80, "https": 443}
LONGEST_HOST = 253  # of DNS

_HOST = re.compile(r"(?!-)[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_WINDOWS_NAME = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)
_WEB_GUID = re.compile(r"https?://+(?=[^/])", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NOT_IN_AUTHORITY = re.compile(r"[\\\s]")
_LETTERS = str.maketrans(
    {"ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D"}
)


class InvalidUrl(Permanent, ValueError):
    """Not a URL that podinsight can fetch; the text says why and shows no credentials."""


def host_of(url: str) -> str:
    """The ASCII, lower-case hostname of a URL, without port; an IPv6 address without brackets.

    Raises:
        InvalidUrl: there is no readable host.
    """
    return _host(_split(url))


def normalise_url(url: str) -> str:
    """One spelling per URL: scheme and host lower-case, IDNA, no default port, no fragment, a path at least `/`.

    Userinfo is kept, because the fetch needs it: show `redact_url` of it and nothing else.

    Raises:
        InvalidUrl: not http or https, or no readable host or port.
    """
    parts = _split(url)
    if parts.scheme not in DEFAULT_PORTS:
        raise InvalidUrl(f"not an http or https URL: {redact_url(url)}")
    host = _host(parts)
    netloc = f"[{host}]" if ":" in host else host
    port = _port(parts)
    if port is not None and port != DEFAULT_PORTS[parts.scheme]:
        netloc = f"{netloc}:{port}"
    userinfo = parts.netloc.rpartition("@")[0]
    if userinfo:
        netloc = f"{userinfo}@{netloc}"
    query = parts.query.rstrip()  # what stood before a fragment ends the URL now
    path = parts.path if query else parts.path.rstrip()
    return urlunsplit((parts.scheme, netloc, path or "/", query, ""))


def normalise_guid(guid: str) -> str:
    """What two spellings of one GUID have in common: white space collapsed; of a URL, no http/https, no last slash."""
    text = " ".join(guid.split())
    web = _WEB_GUID.match(text)
    if not web:
        return text
    return "https://" + text[web.end() :].rstrip("/ ")


def feed_id(url: str) -> str:
    """16 hex characters; the same for every spelling of a feed's URL, whoever's password is in it."""
    return _digest(_without_userinfo(url))[:16]


def episode_id(feed_id: str, guid: str) -> str:
    """20 hex characters of feed and normalised GUID."""
    return _digest(f"{feed_id}\n{normalise_guid(guid)}")[:20]


def direct_guid(url: str) -> str:
    """The GUID of a bare audio URL: 20 hex characters of its normalised form."""
    return _digest(_without_userinfo(url))[:20]


def slug(text: str) -> str:
    """Lower-case ASCII words joined by `-`; accents are transliterated; `feed` when nothing is left."""
    return _slug(text) or "feed"


def safe_name(text: str, limit: int = 80) -> str:
    """A readable folder name of 1 to `limit` characters that cannot leave its folder.

    A text that is safe already is kept as it is; any other becomes a slug and a piece of its sha256: 8 hex characters,
    16 when the slug had to be cut or is empty, because then it tells texts apart no more. `limit` is at least 24.
    """
    if limit < 24:
        raise ValueError(f"a limit of {limit} leaves no room for a readable name")
    if _is_safe(text) and len(text) <= limit:
        return text
    words = _slug(text)
    room = limit - 9
    digest = _digest(text)[:8] if words and len(words) <= room else _digest(text)[:16]
    head = (words or "feed")[: limit - 1 - len(digest)].rstrip("-")
    return f"{head}-{digest}"


def unique_slug(wanted: str, taken: Callable[[str], bool] | Collection[str], feed_id: str) -> str:
    """`wanted`, or with the first characters of the feed's id when another feed has it."""
    is_taken = taken if callable(taken) else taken.__contains__
    if not is_taken(wanted):
        return wanted
    for length in (6, 16):
        candidate = f"{wanted}-{feed_id[:length]}"
        if not is_taken(candidate):
            return candidate
    raise ValueError(f"every slug for {wanted!r} is taken")


def redact_url(url: str) -> str:
    """A URL as it may be shown and logged: no userinfo, no fragment; token-like values in path and query are masked,
    and so are marks of who is asking.

    Never raises: what cannot be read is not shown.
    """
    try:
        parts = _split(url)
        host = _host(parts) if parts.netloc else ""
        port = _port(parts) if parts.netloc else None
    except ValueError:
        return "(an unreadable URL)"
    netloc = f"[{host}]" if ":" in host else host
    if port is not None:
        netloc = f"{netloc}:{port}"
    path = parts.path
    if not parts.netloc and "@" in path:
        path = path.rpartition("@")[2]
    return urlunsplit((parts.scheme, netloc, masked_path(path), masked_query(parts.query), ""))


def file_title(url: str) -> str:
    """What to call the file at a URL: its name, readable and on one line; the host when it has none or a token's.

    Raises:
        InvalidUrl: there is no readable host.
    """
    parts = _split(url)
    host = _host(parts)
    name, shown = (path.rpartition("/")[2].partition(";")[0] for path in (parts.path, masked_path(parts.path)))
    text = unquote(name)
    text = (name if "\ufffd" in text else text).rpartition("/")[2]
    if shown != name or looks_random(text):
        return host
    return " ".join("".join(each if each.isprintable() else " " for each in text).split()) or host


def _split(url: str) -> SplitResult:
    text = url.strip()
    if _CONTROL.search(text):
        raise InvalidUrl("a URL with control characters")
    try:
        parts = urlsplit(text)
    except ValueError:
        raise InvalidUrl("an unreadable URL") from None
    # Parsers disagree about a backslash before the host (`http://a.example\\@b.example`): nobody gets to choose.
    if _NOT_IN_AUTHORITY.search(parts.netloc):
        raise InvalidUrl("a URL with a backslash or a space in its host")
    return parts


def _host(parts: SplitResult) -> str:
    """Raises without showing the URL: redact_url calls this."""
    try:
        name = parts.hostname or ""
    except ValueError:
        name = ""
    host = _ascii_host(name)
    if not host:
        raise InvalidUrl("a URL without a readable host name")
    if len(host) > LONGEST_HOST:
        raise InvalidUrl(f"a URL with a host name of more than {LONGEST_HOST} characters")
    return host


def _port(parts: SplitResult) -> int | None:
    try:
        return parts.port
    except ValueError:
        raise InvalidUrl("a URL with an unreadable port") from None


def _ascii_host(name: str) -> str:
    """Lower-case IDNA form of a hostname, or an IPv6 address; empty when it is neither."""
    if ":" in name:
        try:
            address = ipaddress.IPv6Address(name.partition("%")[0])
        except ValueError:
            return ""
        if address.ipv4_mapped:  # written the same by every Python: it is part of ids
            high, low = divmod(int(address.ipv4_mapped), 1 << 16)
            return f"::ffff:{high:x}:{low:x}"
        return str(address)
    folded = unicodedata.normalize("NFKC", name.lower()).lower().replace("\u3002", ".").rstrip(".")
    host = ".".join(_ascii_label(label) for label in folded.split("."))
    return host if _HOST.fullmatch(host) else ""


def _ascii_label(label: str) -> str:
    # The standard library's idna codec is IDNA 2003 and turns ß into ss, which is another host.
    return label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii")


def bare_host(host: str) -> str:
    """Lower-case and without port, brackets or last dot; an odd name is kept as it is in lower case."""
    text = host.strip().lower().rpartition("@")[2]
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    return _ascii_host(text) or text.rstrip(".")


def _without_userinfo(url: str) -> str:
    parts = urlsplit(normalise_url(url))
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _is_safe(text: str) -> bool:
    return (
        _SAFE_NAME.fullmatch(text) is not None
        and ".." not in text
        and not text.endswith(".")
        and not _WINDOWS_NAME.fullmatch(text)
    )


def _slug(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.translate(_LETTERS)).encode("ascii", "ignore").decode("ascii")
    return "-".join(re.findall(r"[a-z0-9]+", re.sub(r"(?<=\w)'(?=\w)", "", plain).lower()))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
