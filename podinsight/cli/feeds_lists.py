"""podrun feeds import and export: lists of feeds."""

import os
import sys
from pathlib import Path

import click

from podinsight.cli import exits
from podinsight.cli.console import Output, complain, count, plain
from podinsight.cli.feeds_check import fetched
from podinsight.cli.session import Session, json_option, pass_session
from podinsight.domain.archive import is_unknown_url
from podinsight.domain.feed import Feed
from podinsight.domain.feed_list import FeedList, ListedFeed
from podinsight.domain.identity import MASK, redact_url
from podinsight.errors import Permanent
from podinsight.services.poll import Polled, poll_pass

_MOST_BYTES = 16 * 1024 * 1024


@click.command("import")
@click.argument("source", metavar="FILE|URL")
@click.option("--poll", is_flag=True, help="Read the new feeds at once, instead of when beat comes to them.")
@json_option
@pass_session
def import_feeds(session: Session, source: str, poll: bool, as_json: bool) -> int:
    """Follow every feed of an OPML file or a `tier*_feeds.yaml`. `-` is standard input.

    Nothing is added unless the whole list is right. Feeds that are known already stay as they are, but for their tier:
    the folder of an OPML, or in YAML the key that they stand under, `tier` of an entry, or the name of the file.
    """
    from podinsight.bootstrap import read_feed_list

    out = Output(as_json)
    listed = read_feed_list(source, _content(session, source))
    new = [_follow(session, each) for each in listed.feeds]
    _tell(out, listed, new, poll)
    code, faults, postponed = _outcome(session, _poll(session)) if poll else (exits.OK, [], [])
    for line in [*faults, *(f"{each['url']}: not read yet: {each['reason']}" for each in postponed)]:
        complain(line)
    feeds = [
        {"url": redact_url(each.url), "title": each.title, "tier": each.tier, "new": is_new}
        for each, is_new in zip(listed.feeds, new, strict=True)
    ]
    notes = [*listed.notes, *faults]
    out.data({"new": sum(new), "known": len(new) - sum(new), "feeds": feeds, "notes": notes, "postponed": postponed})
    return code


def _content(session: Session, source: str) -> bytes:
    if "://" in source:
        document = fetched(session, source)
        if document.body is None:
            raise Permanent(f"{redact_url(source)}: a document without a body")
        with document.body as body:
            return body.read(_MOST_BYTES + 1)
    if source == "-":
        return sys.stdin.buffer.read(_MOST_BYTES + 1)
    try:
        with Path(source).open("rb") as file:
            return file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise exits.CommandError(f"{source} cannot be opened: {error.strerror or error}") from None


def _follow(session: Session, listed: ListedFeed) -> bool:
    """Whether the feed is new."""
    catalogue = session.store.catalogue
    feed, new = catalogue.add_feed(listed.url)
    if listed.tier and feed.tier != listed.tier:
        catalogue.set_tier(feed.id, listed.tier)
    if listed.user_agent and feed.user_agent != listed.user_agent:
        catalogue.set_user_agent(feed.id, listed.user_agent)
    return new


def _tell(out: Output, listed: FeedList, new: list[bool], poll: bool) -> None:
    known = len(new) - sum(new)
    out.line(count(sum(new), "new feed") + (f", {known:,} known already" if known else ""))
    for note in listed.notes:
        out.line(f"note: {plain(note)}")
    if any(new) and not poll:
        out.line("beat reads them while the stack is up; `podrun feeds import --poll` does so at once")


def _poll(session: Session) -> Polled:
    """Reads every feed that is due."""
    from podinsight.bootstrap.polling import poll_ports

    return poll_pass(poll_ports(session.settings, session.container), session.settings.feed_poll_seconds)


def _outcome(session: Session, polled: Polled) -> tuple[int, list[str], list[dict[str, str]]]:
    """The exit code, what went wrong, one line a feed, and the feeds whose host did not let us in, with the reason."""
    faults = [f"{feed_id}: {reason}" for feed_id, reason in polled.faults.items()]
    urls = {feed.id: redact_url(feed.url) for feed in session.store.catalogue.feeds()} if polled.postponed else {}
    postponed = [{"url": urls.get(feed_id, feed_id), "reason": why} for feed_id, why in polled.postponed.items()]
    if polled.away is not None:
        return exits.NOT_UP, [*faults, f"not all feeds were read: {polled.away}"], postponed
    return exits.FAILED if faults or postponed else exits.OK, faults, postponed


@click.command("export")
@click.argument("target", default="-", metavar="[FILE|-]")
@click.option(
    "--format", "form", type=click.Choice(["opml", "yaml"]), help="Default: as the file's name ends, or opml."
)
@click.option("--with-credentials", is_flag=True, help="Keep passwords and tokens that are in URLs of private feeds.")
@pass_session
def export_feeds(session: Session, target: str, form: str | None, with_credentials: bool) -> None:
    """Write the feeds that are followed as OPML 2.0 or YAML, grouped by tier; `podrun feeds import` reads both."""
    from podinsight.bootstrap import write_feed_list

    form = form or ("yaml" if target.endswith((".yaml", ".yml")) else "opml")
    followed = []
    for feed in session.store.catalogue.feeds():
        if is_unknown_url(feed.url):
            complain(f"{feed.slug}: left out, known from an archive alone")
        else:
            followed.append(feed)
    listed = [_listed(feed, with_credentials) for feed in followed]
    text = write_feed_list(listed, form)
    bare = sum(1 for feed, each in zip(followed, listed, strict=True) if feed.url != each.url)
    if bare:
        complain(f"{count(bare, 'URL')} written without the credentials in it; --with-credentials keeps them")
    if target == "-":
        click.echo(text, nl=False)
        return
    mode = 0o600 if with_credentials else 0o644
    try:
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise exits.CommandError(f"{target} cannot be written: {error.strerror or error}") from None
    click.echo(f"{count(len(listed), 'feed')} in {target}")


def _listed(feed: Feed, with_credentials: bool) -> ListedFeed:
    url = feed.url if with_credentials else _without_secrets(feed.url)
    return ListedFeed(url, feed.slug or feed.id, feed.title, feed.tier, feed.user_agent)


def _without_secrets(url: str) -> str:
    """Without userinfo, and without the parameters that `redact_url` masks."""
    bare, _, query = redact_url(url).partition("?")
    kept = "&".join(each for each in query.split("&") if not each.endswith(f"={MASK}"))
    return f"{bare}?{kept}" if kept else bare
