"""podrun feeds check: what we read in a feed."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import urlsplit, urlunsplit

import click

from podinsight.cli import exits
from podinsight.cli.console import Output, complain, hours, plain
from podinsight.cli.session import Session, json_option, pass_session
from podinsight.domain.feed import Document, FeedItem, ParsedFeed
from podinsight.domain.identity import MASK, normalise_url, redact_url
from podinsight.errors import Busy, Permanent, PodinsightError, Unavailable
from podinsight.ports import FeedParser

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_IN_MEMORY_BYTES = 4 * 1024 * 1024


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="FILE|URL...")
@click.option("--base", metavar="URL", help="Where a file comes from: relative links in it are relative to this.")
@json_option
@pass_session
def check(session: Session, sources: tuple[str, ...], base: str | None, as_json: bool) -> int:
    """Show what is read in feeds, without following them. `-` is standard input.

    With --json each feed is one line. What is no feed is said, and the others are still checked. A file needs nothing
    else; a URL is fetched politely, which needs the broker (`podrun up`).
    """
    from podinsight.bootstrap import build_parser  # imports every adapter: `podrun --help` does without

    out = Output(as_json)
    base = normalise_url(base) if base else ""
    parser = build_parser()
    code = exits.OK
    for source in sources:
        shown = redact_url(source) if "://" in source else source
        try:
            parsed = _read(session, parser, source, base)
        except PodinsightError as error:
            complain(f"{shown}: {error}")
            out.data({"source": shown, "error": str(error)}, indent=None)
            code = max(code, exits.exit_code(error))
            continue
        out.data(feed_json(shown, parsed), indent=None)
        _tell(out, shown, parsed)
    return code


def _read(session: Session, parser: FeedParser, source: str, base: str) -> ParsedFeed:
    with _document(session, source, base) as document:
        return parser.parse(document)


@contextmanager
def _document(session: Session, source: str, base: str) -> Iterator[Document]:
    if "://" in source:
        found = fetched(session, source)
        yield found
        if found.body is not None:
            found.body.close()
        return
    with _opened(source) as body:
        yield Document(base, body)


def fetched(session: Session, url: str) -> Document:
    """The document at a URL. Raises Unavailable when the stack that this needs is not up, with what to do."""
    address = normalise_url(url)
    try:
        return session.container.fetcher.document(address)
    except (Unavailable, Busy) as error:
        if isinstance(error, Busy) and not isinstance(error.__cause__, Unavailable):
            raise
        raise Unavailable(f"{error}; a URL needs the stack (`podrun up`), a file does not") from error


@contextmanager
def _opened(source: str) -> Iterator[BinaryIO]:
    """A file, or standard input as one that can be read again from its start."""
    if source == "-":
        with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)
            yield cast(BinaryIO, copy)
        return
    try:
        body = Path(source).open("rb")  # noqa: SIM115 - an error in the block is not this file's
    except OSError as error:
        raise Permanent(f"cannot be opened: {error.strerror or error}") from None
    with body:
        yield body


def feed_json(source: str, parsed: ParsedFeed) -> dict[str, object]:
    """What `feeds check --json` says of a feed. Times are ISO 8601 in UTC, lengths bytes, durations seconds."""
    return {
        "source": source,
        "feed": {
            "title": parsed.title,
            "link": _masked(parsed.link),
            "language": parsed.language,
            "image": _masked(parsed.image),
            "new_url": _masked(parsed.new_url),
            "podcast_guid": parsed.podcast_guid,
        },
        "episodes": [_episode_json(item) for item in parsed.items],
        "notes": list(parsed.notes),
    }


def _episode_json(item: FeedItem) -> dict[str, object]:
    chapters, whole = item.chapters, item.duration is not None and item.duration.is_integer()
    return {
        "guid": item.guid,
        "title": item.title,
        "published": _iso(item.published),
        "url": _masked(item.url),
        "mime": item.mime,
        "length": item.length,
        "duration": int(item.duration) if whole and item.duration is not None else item.duration,
        "season": item.season,
        "episode": item.episode,
        "image": _masked(item.image),
        "transcripts": [
            {"url": _masked(link.url), "type": link.type, "language": link.language} for link in item.transcripts
        ],
        "chapters": {"url": _masked(chapters.url), "type": chapters.type} if chapters else None,
        "persons": [{"name": each.name, "role": each.role, "href": _masked(each.href)} for each in item.persons],
    }


def _iso(at: float | None) -> str | None:
    try:
        return None if at is None else (_EPOCH + timedelta(seconds=at)).isoformat()
    except OverflowError:
        return None


def _masked(url: str | None) -> str | None:
    """The URL as it is, tokens included, for it is the data here; a password in it is not shown."""
    if url is None:
        return None
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{MASK}@{host}")) if at and user else url


def _tell(out: Output, source: str, parsed: ParsedFeed) -> None:
    items = parsed.items
    dates = sorted(filter(None, (_iso(item.published) for item in items)))
    seconds = sum(item.duration or 0.0 for item in items)
    out.title(plain(parsed.title) or "(without a title)")
    facts = [
        ("read from", source),
        ("link", _masked(parsed.link)),
        ("language", parsed.language),
        ("episodes", f"{len(items):,}" + (f", {hours(seconds)} as declared" if seconds else "")),
        ("first", dates[0][:10] if dates else None),
        ("last", dates[-1][:10] if dates else None),
        ("newest entry", items[0].title if items else None),
        ("podcast guid", parsed.podcast_guid),
        ("moves to", redact_url(parsed.new_url) if parsed.new_url else None),
        ("of these", _extras(items)),
    ]
    for name, value in facts:
        if value:
            out.line(f"  {name + ':':<14} {plain(value)}")
    for note in parsed.notes:
        out.line(f"  {'odd:':<14} {plain(note)}")


def _extras(items: tuple[FeedItem, ...]) -> str:
    found = (
        ("with transcripts", sum(1 for item in items if item.transcripts)),
        ("with chapters", sum(1 for item in items if item.chapters)),
        ("with persons", sum(1 for item in items if item.persons)),
        ("without a date", sum(1 for item in items if item.published is None)),
        ("without a duration", sum(1 for item in items if item.duration is None)),
    )
    return ", ".join(f"{number:,} {what}" for what, number in found if number)
