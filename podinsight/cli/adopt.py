"""podrun adopt: an archive that is there already is taken over (F15)."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click

from podinsight.cli import exits
from podinsight.cli.console import Output, complain, count, plain, size
from podinsight.cli.exits import CommandError
from podinsight.cli.places import canonical, own_areas, own_key
from podinsight.cli.session import Session, json_option, pass_session
from podinsight.domain.identity import InvalidUrl, normalise_url, safe_name
from podinsight.services.adopt import AdoptPorts, Event, Root
from podinsight.services.adopt import adopt as adopt_archive

AREAS = ("raw", "stage")


@click.command()
@click.argument("urls", nargs=-1, metavar="[URL]...")
@click.option(
    "--feed",
    "feeds",
    multiple=True,
    metavar="SLUG=URL",
    help="The feed to which the folder SLUG belongs; it is followed from now on. Can be repeated.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Change nothing; say what would be adopted, by names and sizes: contents are read by the real run.",
)
@json_option
@pass_session
def adopt(session: Session, urls: tuple[str, ...], feeds: tuple[str, ...], dry_run: bool, as_json: bool) -> int:
    """Take over an archive: what is in it is not fetched or transcribed again.

    URL is s3://bucket[/prefix] or file:///folder with <feed_slug>/<guid>/audio/… (any file name),
    <feed_slug>/<guid>/meta/meta.json and <feed_slug>/<guid>/transcripts/transcript.json, or with folders raw and stage
    that hold these. Give a raw and a stage bucket together. What lies in our own areas stays there, the rest is copied.
    What is known already is passed over, so it can be said again.
    """
    out = Output(as_json)
    mapping = dict(_pair(each) for each in feeds)
    if not urls and not mapping:
        raise CommandError("say where the archive is: s3://bucket/prefix or file:///folder")
    world = session.container
    roots = [root for url in urls for root in _roots(session, url)]
    if not urls and not dry_run:
        for slug, url in mapping.items():
            feed = world.store.intake.archive_feed(slug, url)
            out.line(f"{slug}: the feed {feed.slug} with {count(feed.episodes, 'episode')}, polled from now on")
    ports = AdoptPorts(world.store, world.objects, world.probe)
    return _tell(out, adopt_archive(ports, roots, mapping, dry_run), dry_run, urls)


def _pair(text: str) -> tuple[str, str]:
    slug, equals, url = text.partition("=")
    if not equals or safe_name(slug) != slug:
        raise CommandError(f"--feed {plain(slug)!r} …: write it as SLUG=URL")
    try:
        return slug, normalise_url(url)
    except InvalidUrl as error:
        raise CommandError(f"--feed {slug}: {error}") from None


def _roots(session: Session, text: str) -> list[Root]:
    """Where feeds' folders lie under a URL: in our own areas, or elsewhere."""
    from podinsight.bootstrap import PLACE, open_place

    url = canonical(text)
    objects = session.container.objects
    areas = own_areas(session.settings)
    own = [area for area in AREAS if areas[area] == url or areas[area].startswith(f"{url}/")]
    if own:
        return [Root(objects, area, True) for area in own]
    inside = own_key(session.settings, url)
    if inside is not None:
        return [Root(objects, inside, True)]
    if url.startswith("file:") and not Path(unquote(urlsplit(url).path)).is_dir():
        raise CommandError(f"{text} is no folder")
    place = open_place(session.settings, url)
    there = [area for area in AREAS if area in place.folders(PLACE)]
    return [Root(place, f"{PLACE}/{area}", False) for area in there] or [Root(place, PLACE, False)]


def _tell(out: Output, events: Iterator[Event], dry_run: bool, places: Sequence[str]) -> int:
    """A line a feed as it goes, broken ones as they come, and a summary. Nothing is held but the numbers."""
    total, here, slug = Counter[str](), Counter[str](), ""
    did = "would be adopted" if dry_run else "adopted"
    with out.waiting("adopting"):
        for event in events:
            if event.slug != slug and slug:
                out.line(_line(slug, here, did))
                here = Counter()
            slug = event.slug
            news = {event.kind: 1, "bytes": event.size} | dict.fromkeys(event.stages, 1)
            total.update(news)
            here.update(news)
            if event.kind == "broken":
                complain(f"{event.slug}/{event.folder}: {event.reason}")
                named = {"feed_slug": event.slug, "folder": event.folder, "reason": event.reason}
                out.data({"event": "broken"} | named, indent=None)
    if slug:
        out.line(_line(slug, here, did))
    numbers = {name: total[name] for name in ("adopted", "known", "broken", "fetch", "transcribe", "bytes")}
    out.data({"event": "summary", "dry_run": dry_run} | numbers, indent=None)
    if places:
        out.line(_line("all", total, did))
    if places and not slug:
        shown = ", ".join(plain(canonical(place)) for place in places)
        complain(f"nothing was found in {shown}: see `podrun adopt --help` for how an archive looks")
        return exits.FAILED
    return exits.FAILED if total["broken"] else exits.OK


def _line(name: str, numbers: Counter[str], did: str) -> str:
    stages = f"{numbers['fetch']:,} audio, {numbers['transcribe']:,} transcripts, {size(numbers['bytes'])}"
    known = f"{numbers['known']:,} known already"
    return f"{plain(name)}: {numbers['adopted']:,} {did} ({stages}), {known}, {numbers['broken']:,} broken"
