"""podrun manifest: what is known as CSV, and whether a CSV is a manifest (F2)."""

import os
import time
from contextlib import suppress
from typing import Final
from uuid import uuid4

import click

from podinsight.cli import exits
from podinsight.cli.choosing import find_feed
from podinsight.cli.console import Output, complain, count
from podinsight.cli.exits import CommandError
from podinsight.cli.places import find_object, local_path, open_file
from podinsight.cli.session import COUNT, Session, json_option, pass_session
from podinsight.domain.identity import redact_url
from podinsight.errors import PodinsightError, Unavailable
from podinsight.services.manifest import Chosen, Scan, find_rows, scan, write_manifest
from podinsight.services.poll import poll_feed

STDOUT: Final = "-"


@click.group()
def manifest() -> None:
    """Write and check lists of episodes (CSV; docs/manifest.md)."""


@manifest.command()
@click.option("--feed", metavar="SLUG", help="Episodes of this feed alone.")
@click.option("--limit", type=COUNT, metavar="N", help="The first N alone.")
@click.option(
    "--output", metavar="FILE|-|URL", help="Where to; not given: manifests/<yyyymmdd>.csv in the object store."
)
@click.option("--poll", is_flag=True, help="Read the followed feeds first.")
@json_option
@pass_session
def make(
    session: Session, feed: str | None, limit: int | None, output: str | None, poll: bool, as_json: bool
) -> int | None:
    """Write the known episodes, in the order of discovery.

    User names and passwords in URLs are left out.
    """
    if output == STDOUT and as_json:
        raise CommandError("--json and --output - both want the standard output")
    out = Output(as_json)
    failed = _poll_all(session, out) if poll else 0
    feed_id = find_feed(session.store, feed) if feed else None
    if output == STDOUT:
        with click.open_file(STDOUT, "wb") as stream:
            write_manifest(session.store, stream.write, limit, feed_id)
    else:
        with out.waiting("writing"):
            number, where = _write(session, output, limit, feed_id)
        out.data({"episodes": number, "written": where, "unread_feeds": failed})
        out.line(f"{count(number, 'episode')} in {where}")
    return exits.FAILED if failed else None


def _poll_all(session: Session, out: Output) -> int:
    """Reads every followed feed; returns how many could not be read."""
    from podinsight.bootstrap.polling import poll_ports  # imports every adapter

    world = session.container
    ports = poll_ports(session.settings, world)
    failed = 0
    for each in world.store.catalogue.feeds():
        if not each.url.startswith(("http://", "https://")):
            continue
        with out.waiting(f"reading {redact_url(each.url)}"):
            try:
                poll_feed(ports, each, session.settings.feed_poll_seconds)
            except Unavailable:
                raise
            except PodinsightError as error:
                complain(f"{redact_url(each.url)}: {error}")
                failed += 1
    return failed


def _write(session: Session, target: str | None, limit: int | None, feed_id: str | None) -> tuple[int, str]:
    """Whole or not at all. Returns how many episodes, and where they are."""
    today = f"manifests/{time.strftime('%Y%m%d', time.gmtime())}.csv"
    place = find_object(session, target) if target else (session.container.objects, today)
    if place is not None:
        objects, key = place
        with objects.writer(key) as writer:
            number = write_manifest(session.store, writer.write, limit, feed_id)
        return number, objects.where(key)
    path = local_path(str(target))
    unfinished = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        with unfinished.open("xb") as handle:
            number = write_manifest(session.store, handle.write, limit, feed_id)
        os.replace(unfinished, path)
    except OSError as error:
        raise CommandError(f"{target}: {error.strerror}", exits.FAILED) from None
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
    return number, str(path)


@manifest.command()
@click.argument("source", metavar="FILE|URL")
@json_option
@pass_session
def check(session: Session, source: str, as_json: bool) -> int:
    """Check a manifest row by row.

    \b
    Exit codes: 0 all rows are good, 1 some are not, 2 it cannot be read.
    """
    out = Output(as_json)
    found = read(session, source, keep=0)
    out.data(
        {
            "rows": found.rows,
            "faults": found.faults,
            "duplicates": found.duplicates,
            "unknown_columns": list(found.unknown),
            "first_faults": [{"line": each.line, "fault": each.text} for each in found.shown],
        }
    )
    for each in found.shown:
        complain(f"{source}:{each.line}: {each.text}")
    _tell_odd(source, found)
    out.line(f"{count(found.rows, 'row')}, {count(found.faults, 'fault')}, {count(found.duplicates, 'duplicate')}")
    return exits.FAILED if found.faults else exits.OK


def read(session: Session, source: str, keep: int | None) -> Scan:
    """Reads a manifest to its end. Raises CommandError when it cannot be read."""
    try:
        with open_file(session, source) as stream:
            return scan(stream, keep)
    except CommandError:
        raise
    except (PodinsightError, OSError) as error:
        raise CommandError(f"{source}: {error}", exits.WRONG_USE) from error


def _tell_odd(source: str, found: Scan) -> None:
    if found.unknown:
        complain(f"{source}: columns that mean nothing here: {', '.join(found.unknown[:20])}")


def choose(session: Session, source: str, limit: int | None) -> Chosen:
    """The episodes of the first `limit` rows of a manifest; it changes nothing.

    Raises:
        CommandError: it cannot be read, or any of its rows is faulty: then nothing of it is done.
    """
    found = read(session, source, limit)
    faults, shown = found.faults, found.shown
    if not faults:
        chosen = find_rows(session.store, found.kept)
        faults, shown = len(chosen.faults), chosen.faults[:20]
    if faults:
        lines = [f"{source}: {count(faults, 'fault')}, nothing was done", *(f"line {x.line}: {x.text}" for x in shown)]
        raise CommandError("\n".join(lines))
    _tell_odd(source, found)
    return chosen
