"""Which URLs name one enclosure (F10): what of them is a token, and what may tell two episodes apart. Pure.

In doubt a parameter counts: an episode that is taken for a new one costs a download, two that are taken for one cost
an episode.
"""

import hashlib
import re
from typing import Final
from urllib.parse import unquote, urlsplit

from podinsight.domain.identity import DEFAULT_PORTS, host_of, normalise_url
from podinsight.domain.masking import AZURE_SIGNED

# Marks of who counts and parts of signed URLs, known by their names alone.
_MARKS: Final = re.compile(
    r"utm_.*|fbclid|gclid|dclid|msclkid|yclid|igshid|mc_[ce]id|dest-id|nocache|cachebuster", re.IGNORECASE
)
_SIGNED: Final = re.compile(
    r"x-(?:amz|goog|oss|cos)-.*|awsaccesskeyid|googleaccessid|key-pair-id|hdn(?:ea|ts|tl)|__token__", re.IGNORECASE
)
# Names that are also given to what is no token: `token=ep1`, `session=2`. Their values decide.
_SIGNATURE: Final = re.compile(r"sig|signature|hmac|expir(?:e|es|y|ation)|exp", re.IGNORECASE)
_TOKEN: Final = re.compile(
    r"(?:access|auth|session|download|media|play|user|feed|url)?[-_]?tokens?|auth|authorization|jwt|policy|nonce"
    r"|session(?:[-_]?id)?|jsessionid|updated|cb",
    re.IGNORECASE,
)
_AZURE: Final = AZURE_SIGNED | {"sig"}
_PATH_TOKEN: Final = re.compile(r"(?:token|hdn(?:ea|ts|tl)|exp|expires|sig|signature|auth|jwt)=(.*)", re.IGNORECASE)
_TIMESTAMP: Final = re.compile(r"[1-4][0-9]{9}(?:[0-9]{3})?")  # seconds or milliseconds, 2001 to 2128
_AKAMAI: Final = re.compile(r"(?:^|~)hmac=")
_HEX: Final = re.compile(r"[0-9A-Fa-f]+")
_RUN: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_SHORTEST_TOKEN: Final = 16
_LONGEST_RUN: Final = 3  # characters, on average: letters and digits of a token change places more often than in words
_LONGEST: Final = 500


def fingerprint(url: str) -> str:
    """What two URLs of one enclosure have in common: host, path and what of the query is no token and no tracking mark.

    http and https with their ports, userinfo, the order of parameters and rotating signatures do not count. Whatever
    else a query says does, because it may be all that tells two episodes apart. At most 565 characters: a long one is
    cut and ends in its sha256.

    Raises:
        InvalidUrl: as normalise_url.
    """
    normal = normalise_url(url)
    parts = urlsplit(normal)
    port = f":{parts.port}" if parts.port is not None and parts.port not in DEFAULT_PORTS.values() else ""
    path = "/".join(each for each in parts.path.split("/") if not _is_path_token(each))
    kept = _kept([each for each in re.split("[&;]", parts.query) if each])
    text = f"{host_of(normal)}{port}{path}" + (f"?{'&'.join(kept)}" if kept else "")
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]} {hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _kept(query: list[str]) -> list[str]:
    """The parameters that count, sorted."""
    pairs = [(name.lower(), value, each) for each in query for name, _, value in [each.partition("=")]]
    names = {name for name, _value, _each in pairs}
    azure = _AZURE if {"sig", "sv"} <= names else frozenset()
    signed = any(
        _SIGNED.fullmatch(name) or (_SIGNATURE.fullmatch(name) and _is_token(value)) for name, value, _each in pairs
    )
    return sorted(each for name, value, each in pairs if name not in azure and not _rotates(name, value, signed))


def _rotates(name: str, value: str, signed: bool) -> bool:
    """Whether a parameter changes while the audio stays. signed: there is a signature or an expiry beside it."""
    if _MARKS.fullmatch(name) or _SIGNED.fullmatch(name):
        return True
    named = _TOKEN.fullmatch(name) or _SIGNATURE.fullmatch(name)
    return bool(named) and (signed or _is_token(value))


def _is_path_token(segment: str) -> bool:
    found = _PATH_TOKEN.fullmatch(segment)
    return found is not None and (_SIGNED.match(segment) is not None or _is_token(found.group(1)))


def _is_token(value: str) -> bool:
    """Whether a value looks drawn or computed: a timestamp, a signed list, or long and of mixed letters and digits."""
    text = unquote(value)
    if _TIMESTAMP.fullmatch(text) or _AKAMAI.search(text):
        return True
    plain = re.sub("[^0-9A-Za-z]", "", text)
    if len(plain) < _SHORTEST_TOKEN or plain.isdecimal() or plain.isalpha():
        return False
    return _HEX.fullmatch(plain) is not None or len(plain) <= _LONGEST_RUN * len(_RUN.findall(plain))
