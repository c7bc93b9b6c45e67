"""What an HTTP answer, or the lack of one, means for the caller: Transient or Permanent, in words for a person.

Exceptions of requests and urllib3 carry whole URLs in their texts, tokens included, so none of their texts is used
and nothing is raised `from` them.
"""

import ssl
import time
from collections.abc import Collection, Iterator, Mapping
from email.utils import parsedate_to_datetime
from enum import StrEnum
from http import HTTPStatus
from urllib.parse import urljoin, urlsplit, urlunsplit

from urllib3.exceptions import (
    ConnectTimeoutError,
    DecodeError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
)

from podinsight.adapters.lookups import TooSlow
from podinsight.domain.identity import InvalidUrl, host_of, normalise_url, redact_url
from podinsight.errors import NotThere, Permanent, Transient

PASSING = frozenset({408, 425, 429})
HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})


class Kind(StrEnum):
    """What was asked for, as it is called in messages."""

    FEED = "feed"
    AUDIO = "audio"
    TRANSCRIPT = "transcript"


_SLOW = (ConnectTimeoutError, ReadTimeoutError, DecodeError, ssl.SSLError)
_GONE = {
    Kind.FEED: "there is no such feed",
    Kind.AUDIO: "the episode's audio is gone",
    Kind.TRANSCRIPT: "the episode's transcript is gone",
}


class Broken(Transient):
    """No answer came, or its body broke off: asking again may help. quick: it took no time-out to see that."""

    def __init__(self, message: str, *, quick: bool) -> None:
        super().__init__(message)
        self.quick = quick


def check_status(
    status: int, headers: Mapping[str, str], url: str, kind: Kind, also: Collection[int] = frozenset()
) -> None:
    """Returns for an answer with a usable body, and for a status in `also`: what the request's own headers allow.

    Raises:
        Transient: 5xx, 408, 425, 429; with `retry_after` when the server said so.
        NotThere: 401, 403, 404, 410.
        Permanent: any other.
    """
    if status in (200, 203) or status in also:
        return
    said = f"{_named(status)} from {host_of(url)}"
    where = f"({redact_url(url)})"
    if status >= 500 or status in PASSING:
        wait = retry_after(headers.get("Retry-After"))
        asked = f", it asks to wait {wait:.0f} s" if wait is not None else ""
        meaning = "too many requests" if status == HTTPStatus.TOO_MANY_REQUESTS else "it may pass"
        raise Transient(f"{said}: {meaning}{asked} {where}", retry_after=wait)
    if status in (404, 410):
        raise NotThere(f"{said}: {_GONE[kind]} {where}", status)
    if status in (401, 403):
        raise NotThere(f"{said}: the {kind} is not for us {where}", status)
    if status >= 400:
        raise Permanent(f"{said}: the request was turned down {where}")
    raise Permanent(f"{said}: an answer without the {kind} {where}")


def retry_after(value: str | None) -> float | None:
    """Seconds from now that a Retry-After header asks for, from seconds or an HTTP date; None when unreadable."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:18])  # whoever asks for an age is obeyed for as long as anybody is (LONGEST_RETRY_AFTER)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def redirect_target(here: str, location: str | None) -> str:
    """Where a redirect leads, normalised; credentials are taken along to the same origin and nowhere else.

    Raises:
        Permanent: no Location, not http or https, or unreadable.
    """
    if not location:
        raise Permanent(f"a redirect without a Location from {host_of(here)} ({redact_url(here)})")
    try:
        text = location.encode("latin-1").decode("utf-8")
    except UnicodeError:
        text = location
    try:
        target = normalise_url(urljoin(here, text.strip()))
    except InvalidUrl as error:
        raise Permanent(f"{host_of(here)} redirects to what cannot be fetched: {error}") from None
    except ValueError:
        raise Permanent(f"{host_of(here)} redirects to an unreadable URL") from None
    old, new = urlsplit(here), urlsplit(target)
    if "@" in old.netloc and "@" not in new.netloc and (old.scheme, _origin(old.netloc)) == (new.scheme, new.netloc):
        return urlunsplit(new._replace(netloc=old.netloc))
    return target


def refuse_html(mime: str | None, url: str) -> None:
    """Raises Permanent when audio was asked for and a web page came."""
    if mime in HTML_TYPES:
        raise Permanent(f"an HTML page instead of audio from {host_of(url)} ({redact_url(url)})")


def failure_text(error: BaseException) -> str:
    """Why no answer came, from the exceptions that `error` wraps."""
    for cause in _causes(error):
        text = _failure_of(cause)
        if text:
            return text
    return "the connection broke"


def is_quick(error: BaseException) -> bool:
    """Whether the failure was seen at once (refused, reset, no such name): a second try costs nothing."""
    # A NewConnectionError is a ConnectTimeoutError to urllib3.
    return not any(isinstance(each, _SLOW) and not isinstance(each, NewConnectionError) for each in _causes(error))


def _failure_of(error: BaseException) -> str | None:
    match error:
        case NameResolutionError():
            return "the host name does not resolve"
        case NewConnectionError():
            cause = error.__cause__
            return f"no connection: {cause.strerror or cause}" if isinstance(cause, OSError) else "no connection"
        case ConnectTimeoutError():
            named = not isinstance(error.__cause__, TooSlow)
            return "connecting took too long" if named else "the host name does not resolve in time"
        case ReadTimeoutError():
            return "no more data came within the read time-out"
        case DecodeError():
            return "the compressed body is corrupt"
        case ssl.SSLCertVerificationError():
            return f"its TLS certificate is not valid: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS failed: {error.reason or 'unknown reason'}"
        case _:
            return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and what it wraps, whichever way requests and urllib3 wrapped it; outermost first."""
    seen: set[int] = set()
    queue = [error]
    while queue:
        current = queue.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        inner = [*current.args, getattr(current, "reason", None), current.__cause__, current.__context__]
        queue.extend(item for item in inner if isinstance(item, BaseException))


def _named(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _origin(netloc: str) -> str:
    return netloc.rpartition("@")[2]
