"""Archives that are there already (F15): how their objects are arranged, and what they say. Pure.

`<feed_slug>/<guid>/audio/<any name>.mp3`, `…/meta/meta.json`, `…/transcripts/*.json` and the other files of stage.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import quote

from podinsight.domain.identity import InvalidUrl, host_of, normalise_url

ADOPTED: Final = "adopted:"  # the URL of a feed of which nothing but an archive is known; it is never polled
UNKNOWN_HOST: Final = "adopted.invalid"  # RFC 2606: no resolver answers it
META_FOLDER: Final = "meta"
KEPT_META: Final = "adopted.json"
MIME: Final = {
    "mp3": "audio/mpeg",
    "m4a": "audio/mp4",
    "aac": "audio/aac",
    "ogg": "audio/ogg",
    "opus": "audio/ogg",
    "flac": "audio/flac",
    "wav": "audio/wav",
}
STAGE_FOLDERS: Final = ("transcripts", "segments", "kpis", "notes", "embeddings", "entities")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NUMBER = re.compile(r"[0-9]{9,15}(?:\.[0-9]{1,9})?")  # eight digits are a date
_MILLISECONDS = 1e11  # as seconds, the year 5138


def unknown_url(slug: str, folder: str) -> str:
    """Stands for the enclosure of an adopted episode until its feed says it."""
    return f"http://{UNKNOWN_HOST}/{quote(slug, safe='')}/{quote(folder, safe='')}"


def is_unknown_url(url: str) -> bool:
    return url.startswith((ADOPTED, f"http://{UNKNOWN_HOST}/"))


@dataclass(frozen=True)
class Piece:
    """One object of an archive: `name` is its path below the episode's folder, `key` names it in root number `root`."""

    name: str
    key: str
    size: int
    root: int = 0


@dataclass(frozen=True)
class Folder:
    """What lies in one episode's folder. audio: the best of several; transcript: the JSON one; files: all of stage."""

    name: str
    audio: Piece | None = None
    meta: Piece | None = None
    transcript: Piece | None = None
    files: tuple[Piece, ...] = ()
    others: tuple[Piece, ...] = ()


def folders(pieces: Iterable[tuple[str, Piece]]) -> list[Folder]:
    """Groups (episode folder, piece) pairs of one feed; folders without audio and transcript are left out."""
    grouped: dict[str, list[Piece]] = {}
    for folder, piece in pieces:
        grouped.setdefault(folder, []).append(piece)
    found = [_folder(name, held) for name, held in sorted(grouped.items())]
    return [each for each in found if each.audio or each.transcript]


def _folder(name: str, held: list[Piece]) -> Folder:
    # A folder can be met twice, in raw and in stage, or under two addresses: the first one counts.
    unique = list({piece.name: piece for piece in reversed(held)}.values())[::-1]
    audio = sorted((each for each in unique if _is_audio(each)), key=_by_worth)
    metas = sorted(
        (p for p in unique if _in(p, META_FOLDER, ".json") and not p.name.endswith(KEPT_META)),
        key=lambda p: (p.name != "meta/meta.json", p.name),
    )
    files = [p for p in unique if p.name.partition("/")[0] in STAGE_FOLDERS]
    spoken = sorted(
        (p for p in files if _in(p, "transcripts", ".json")),
        key=lambda p: (p.name != "transcripts/transcript.json", -p.size),
    )
    return Folder(
        name,
        audio=audio[0] if audio else None,
        meta=metas[0] if metas else None,
        transcript=spoken[0] if spoken else None,
        files=tuple(files) if spoken else (),
        others=tuple(audio[1:]),
    )


def _in(piece: Piece, folder: str, ending: str) -> bool:
    head, _, rest = piece.name.partition("/")
    return head == folder and "/" not in rest and rest.lower().endswith(ending)


def extension(name: str) -> str:
    """The audio extension of a name, or empty."""
    ending = name.rpartition(".")[2].lower()
    return ending if ending in MIME else ""


def _is_audio(piece: Piece) -> bool:
    head, _, rest = piece.name.partition("/")
    hidden = rest.startswith(".") or rest.endswith((".tmp", ".part"))
    return head == "audio" and bool(rest) and "/" not in rest and not hidden


def _by_worth(piece: Piece) -> tuple[bool, bool, int, str]:
    """Ours first, then what is named as audio, then the largest."""
    stem = piece.name.removeprefix("audio/").rpartition(".")[0]
    return (stem != "episode", not extension(piece.name), -piece.size, piece.name)


@dataclass(frozen=True)
class Meta:
    """What a meta.json says, as far as it makes sense. `url`: the enclosure's."""

    guid: str | None = None
    title: str | None = None
    feed_url: str | None = None
    url: str | None = None
    published: float | None = None
    audio_bytes: int | None = None
    audio_sha256: str | None = None
    audio_mime: str | None = None
    audio_seconds: float | None = None
    model: str | None = None
    raw: Mapping[str, object] = field(default_factory=dict)


def read_meta(data: bytes) -> Meta:
    """Raises ValueError when it is no JSON object."""
    try:
        found = json.loads(data)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise ValueError("is not JSON") from None
    if not isinstance(found, dict):
        raise ValueError("is no JSON object")
    sha256 = _text(found, "audio_sha256", "sha256") or ""
    return Meta(
        guid=_text(found, "guid", "episode_guid"),
        title=_text(found, "title", "episode_title"),
        feed_url=_web(_text(found, "feed_url")),
        url=_web(_text(found, "url", "audio_url", "enclosure_url")),
        published=_moment(found, "published"),
        audio_bytes=int(_positive(found, "audio_bytes") or 0) or None,
        audio_sha256=sha256 if _SHA256.fullmatch(sha256) else None,
        audio_mime=_text(found, "audio_mime"),
        audio_seconds=_positive(found, "audio_seconds"),
        model=_text(found, "model"),
        raw=found,
    )


def _text(found: Mapping[str, object], *names: str) -> str | None:
    for name in names:
        value = found.get(name)
        if isinstance(value, str) and value.strip():
            return value
    return None


def _positive(found: Mapping[str, object], name: str) -> float | None:
    value = found.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e18:
        return None
    return float(value)


def _moment(found: Mapping[str, object], name: str) -> float | None:
    """Epoch seconds of a number (of milliseconds, when it is that large), an ISO 8601 date or one as mails have it; UTC
    where no zone is said."""
    value = found.get(name)
    text = value.strip() if isinstance(value, str) else ""
    at = float(text) if _NUMBER.fullmatch(text) else _positive(found, name) or _date(text)
    if at is not None and at >= _MILLISECONDS:
        at /= 1000
    return at if at is not None and 0 < at < _MILLISECONDS else None


def _date(text: str) -> float | None:
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            at = read(text)
            return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            continue
    return None


def _web(url: str | None) -> str | None:
    if url is None:
        return None
    try:
        return normalise_url(url) if host_of(url) else None
    except InvalidUrl:
        return None
