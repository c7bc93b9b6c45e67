"""Texts of others, such as an unexpected error's, as they may be shown and logged. Pure; standard library only."""

import re
from typing import Final

from podinsight.domain.identity import redact_url
from podinsight.errors import PodinsightError

# Up to white space or a quotation mark, or to another URL inside: an apostrophe may be part of a password.
_URL: Final = re.compile(
    r"[a-z][a-z0-9+.-]{0,30}://(?:(?!https?://|(?<![a-z0-9+.-])[a-z][a-z0-9+.-]{1,30}://)[^\s\"<>])*", re.IGNORECASE
)
_AROUND: Final = "'`()[]{},.;:!?…\\"  # what a text puts behind a URL


def redact_text(text: str) -> str:
    """`text` with `redact_url` of every URL in it, of databases and brokers too. Never raises."""
    return _URL.sub(_redacted, text)


def _redacted(found: re.Match[str]) -> str:
    whole = found.group()
    url = whole.rstrip(_AROUND)
    return redact_url(url) + whole[len(url) :]


def unexpected(error: BaseException) -> str:
    """What may be said of an error that is not podinsight's own: its type and the first line of its text.

    The lines after the first of a database's error tell all values of the statement, URLs with their secrets included.
    """
    first = str(error).strip().partition("\n")[0]
    return redact_text(f"{type(error).__name__}: {first}")


def said(error: BaseException) -> str:
    """What a row or a report says of an error: our own texts are meant for people, of others see `unexpected`."""
    return str(error) if isinstance(error, PodinsightError) else unexpected(error)
