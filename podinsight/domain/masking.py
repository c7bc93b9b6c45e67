"""Which parts of a URL's path and query are credentials, and how they are hidden. Pure; standard library only.

Nothing here raises, and everything is linear in the length of the text. Rather too much is hidden than too little.
"""

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote

MASK: Final = "***"

_SECRET: Final = re.compile(
    r"token|secret|passw|passphrase|pwd|auth|signature|credential|jwt|hmac|session|api-?key|access-?key|accessid"
    r"|hdn(?:ea|ts|tl)|nonce|^x-(?:amz|goog|oss|cos)-"
    r"|(?:^|[-_.])(?:key|sig|pass|pw|sid|access|policy|expir(?:es?|y|ation)|exp|hash|code)(?:$|[-_.])"
    # Marks of who is asking, and when: no secrets, but nobody's business, and another at every request.
    r"|^utm_|^(?:fbclid|gclid|dclid|msclkid|yclid|igshid|mc_[ce]id|dest-id|updated|cb|nocache|cachebuster)$",
    re.IGNORECASE,
)
# Short names that are secret only before a long value.
_SHORT: Final = frozenset({"k"})
_LONG_VALUE: Final = 16
# With an Azure signature (sv and sig) these are parts of it; otherwise they may be anything.
# https://learn.microsoft.com/rest/api/storageservices/create-service-sas
AZURE_SIGNED: Final = frozenset(
    ("sv", "ss", "srt", "sr", "sp", "st", "se", "sip", "spr", "skoid", "sktid", "skt", "ske", "sks")
)

_EQUALS: Final = re.compile(r"(=|%(?:25)*3d)", re.IGNORECASE)
_SEPARATORS: Final = re.compile(r"[&;?/~,]")
_PARAMETER: Final = re.compile(r"[^&;]+")
_PATH_PARAMETER: Final = re.compile(r"[^/;]+")
_USERINFO: Final = re.compile(
    r"((?:/|%(?:25)*2f){2})(?:(?!/|%(?:25)*(?:2f|3f|23)|[?#&]).)+(@|%(?:25)*40)", re.IGNORECASE | re.DOTALL
)
_MOST_QUOTED: Final = 3
_MOST_ROUNDS: Final = 8
_EXTENSION: Final = re.compile(r"\.[A-Za-z0-9]{2,4}$")
_RANDOM: Final = re.compile(r"[A-Za-z0-9+_=]{32,}")


def masked_path(path: str) -> str:
    """A path without the values of token-like segments (`/hdnts=…/`) and parameters (`;jsessionid=…`)."""
    return _settled(_path_once, path)


def _path_once(path: str) -> str:
    return _PATH_PARAMETER.sub(lambda found: _masked(found.group()), _USERINFO.sub(rf"\1{MASK}\2", path))


def masked_query(query: str) -> str:
    """A query without the values of token-like parameters, whose names may be percent-encoded or inside of values,
    and without the userinfo of URLs in it."""
    return _settled(_query_once, query)


def _query_once(query: str) -> str:
    text = _USERINFO.sub(rf"\1{MASK}\2", query)
    names = {_name(each.group().partition("=")[0]).lower() for each in _PARAMETER.finditer(text)}
    also = AZURE_SIGNED if {"sv", "sig"} <= names else frozenset()
    return _PARAMETER.sub(lambda found: _masked(found.group(), also), text)


def _settled(mask: Callable[[str], str], text: str) -> str:
    """Masked until nothing more is found: what is cut away may have hidden the shape of a secret before it."""
    for _ in range(_MOST_ROUNDS):
        masked = mask(text)
        if masked == text:
            break
        text = masked
    return text


def looks_random(name: str) -> bool:
    """Whether a file's name is more likely a token: letters and digits without end, and no extension."""
    return _RANDOM.search(name) is not None and _EXTENSION.search(name) is None


def _masked(parameter: str, also: frozenset[str] = frozenset()) -> str:
    """`parameter`, cut behind the first `name=` that is secret: what follows may be part of the value."""
    parts = _EQUALS.split(parameter)
    at = 0
    for before, equals in zip(parts[:-1:2], parts[1::2], strict=True):
        at += len(before) + len(equals)
        name = _name(before)
        # What is masked already does not make a value long: masking twice is masking once.
        short = name.lower() in _SHORT and len(parameter[at:].replace(MASK, "")) >= _LONG_VALUE
        if short or name.lower() in also or _SECRET.search(name):
            return parameter[:at] + MASK
    return parameter


def _name(text: str) -> str:
    """The last name in what stands before an equals sign, with its percent-encoding undone."""
    for _ in range(_MOST_QUOTED):
        if "%" not in text:
            break
        text = unquote(text)
    return _SEPARATORS.split(text)[-1].strip()
