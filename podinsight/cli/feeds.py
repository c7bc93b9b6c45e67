"""podrun feeds."""

from contextlib import suppress
from dataclasses import dataclass

import click

from podinsight.cli import exits
from podinsight.cli.choosing import find_feed
from podinsight.cli.console import Output, complain, count, moment, plain
from podinsight.cli.feeds_check import check
from podinsight.cli.feeds_lists import export_feeds, import_feeds
from podinsight.cli.session import Session, json_option, pass_session
from podinsight.domain.archive import is_unknown_url
from podinsight.domain.feed import Feed
from podinsight.domain.identity import redact_url
from podinsight.errors import Permanent, PodinsightError, Unavailable
from podinsight.services.poll import poll_feed


@dataclass(frozen=True)
class Added:
    """A feed that was polled: `known` when it was there before, `new_episodes` since then."""

    feed: Feed
    known: bool
    new_episodes: int

    def document(self) -> dict[str, object]:
        return feed_document(self.feed) | {"known": self.known, "new_episodes": self.new_episodes}


def feed_document(feed: Feed) -> dict[str, object]:
    return {
        "id": feed.id,
        "slug": feed.slug,
        "title": feed.title,
        "url": _shown(feed),
        "episodes": feed.episodes,
        "last_polled_at": feed.last_polled_at,
        "error": feed.error,
        "notes": list(feed.notes),
        "tier": feed.tier,
        "user_agent": feed.user_agent,
    }


def _shown(feed: Feed) -> str:
    return "(from an archive)" if is_unknown_url(feed.url) else redact_url(feed.url)


def add_and_poll(session: Session, url: str) -> Added:
    """Follows a feed and reads it at once; one that cannot be read is forgotten again, unless it was known.

    Raises:
        PodinsightError: why it could not be read (InvalidUrl: it is no URL).
    """
    from podinsight.bootstrap.polling import poll_ports  # imports every adapter

    world = session.container
    catalogue = world.store.catalogue
    feed, new = catalogue.add_feed(url)
    try:
        added = poll_feed(poll_ports(session.settings, world), feed, session.settings.feed_poll_seconds)
    except BaseException:
        if new:
            with suppress(Permanent):  # beat was quicker, and could read it
                catalogue.remove_feed(feed.id)
        raise
    polled = next(each for each in catalogue.feeds() if each.id == feed.id)
    return Added(polled, not new, polled.episodes if new else added)


@click.group()
def feeds() -> None:
    """Follow feeds, list them, and look into them."""


@feeds.command()
@click.argument("urls", nargs=-1, required=True, metavar="URL...")
@json_option
@pass_session
def add(session: Session, urls: tuple[str, ...], as_json: bool) -> int:
    """Follow feeds and read each at once. One that is known already is read again."""
    out = Output(as_json)
    code = exits.OK
    documents: list[dict[str, object]] = []
    for url in dict.fromkeys(urls):
        try:
            added = add_and_poll(session, url)
        except Unavailable:
            raise
        except PodinsightError as error:
            complain(f"{redact_url(url)}: {error}")
            documents.append({"url": redact_url(url), "error": str(error)})
            code = max(code, exits.exit_code(error))
            continue
        documents.append(added.document())
        out.line(_told(added))
    out.data({"feeds": documents})
    return code


def _told(added: Added) -> str:
    feed = added.feed
    name = f"{plain(feed.title or '')} ({feed.slug})"
    if added.known:
        return f"{name}: known already, polled again: {count(added.new_episodes, 'new episode')} of {feed.episodes:,}"
    return f"{name}: {count(added.new_episodes, 'episode')}"


@feeds.command("list")
@json_option
@pass_session
def list_feeds(session: Session, as_json: bool) -> None:
    """List the feeds that are followed."""
    out = Output(as_json)
    found = session.store.catalogue.feeds()
    out.data({"feeds": [feed_document(feed) for feed in found]})
    if not found:
        out.line("no feeds yet: `podrun feeds add URL`")
        return
    rows = [
        (each.id, each.slug or "-", each.title or "-", each.episodes, _polled(each), each.error or "") for each in found
    ]
    out.table(("id", "slug", "title", "episodes", "last polled", "error"), rows, right=(3,))


def _polled(feed: Feed) -> str:
    return _shown(feed) if is_unknown_url(feed.url) else moment(feed.last_polled_at)


@feeds.command("set")
@click.argument("slug")
@click.option("--user-agent", metavar="TEXT", help="Sent for this feed and its audio; empty: the installation's own.")
@click.option("--tier", metavar="NAME", help="The group that the feed is exported in; empty: none.")
@pass_session
def set_feed(session: Session, slug: str, user_agent: str | None, tier: str | None) -> None:
    """Change how one feed (its slug or id) is asked for."""
    if user_agent is None and tier is None:
        raise exits.CommandError("nothing to set: give --user-agent TEXT or --tier NAME")
    catalogue = session.store.catalogue
    feed_id = find_feed(session.store, slug)
    feed = catalogue.feed(feed_id)
    if feed is None:
        raise exits.CommandError(f"{slug!r} is no feed that is polled; `podrun feeds list` shows those")
    if user_agent is not None:
        catalogue.set_user_agent(feed_id, user_agent.strip() or None)
        click.echo(f"{slug}: user agent {user_agent.strip() or 'as everywhere'}")
    if tier is not None:
        catalogue.set_tier(feed_id, tier.strip() or None)
        click.echo(f"{slug}: tier {plain(tier) or 'none'}")


for command in (check, import_feeds, export_feeds):
    feeds.add_command(command)
