"""Under which URLs a feed is known: both schemes, and those it had before it moved."""

from sqlalchemy import Connection, Row, select

from podinsight.adapters.database.catalogue_tables import feed_aliases, feeds
from podinsight.adapters.database.engine import Database, storable
from podinsight.domain import identity
from podinsight.domain.episode import DIRECT_SLUG
from podinsight.domain.feed import Document, ParsedFeed

NAMES_LOCK = "feed names"
_SCHEMES = {"http": "https", "https": "http"}


def find_feed(conn: Connection, url: str) -> str | None:
    """The id of the feed that has, or had, this normalised URL under http or https."""
    scheme, rest = url.split(":", 1)
    for each in (url, f"{_SCHEMES[scheme]}:{rest}"):
        url_id = identity.feed_id(each)
        for query in (
            select(feeds.c.id).where(feeds.c.id == url_id),
            select(feed_aliases.c.feed_id).where(feed_aliases.c.url_id == url_id),
        ):
            found = conn.execute(query).scalar_one_or_none()
            if found is not None:
                return str(found)
    return None


def lock_names(db: Database, conn: Connection, feed_id: str) -> None:
    """Keeps other feeds from taking the slug that a feed without one is about to get. To be called before its row is
    locked, as whoever adds a feed does."""
    if conn.execute(select(feeds.c.id).where(feeds.c.id == feed_id, feeds.c.slug.is_(None))).first() is not None:
        db.lock(conn, NAMES_LOCK)


def is_slug_taken(conn: Connection, slug: str) -> bool:
    return slug == DIRECT_SLUG or conn.execute(select(feeds.c.id).where(feeds.c.slug == slug)).first() is not None


def announces_move(document: Document, parsed: ParsedFeed | None) -> bool:
    return parsed is not None and bool(document.moved_to or parsed.new_url)


def new_url(conn: Connection, feed: "Row[tuple[object, ...]]", document: Document, parsed: ParsedFeed) -> str | None:
    """Where the feed says it has moved to for good, None when that is where it is or another known feed.

    What the publisher writes in the feed goes before what its server redirects to, so that a server that redirects to
    a feed that points back leaves the feed where it is.
    """
    for said in (parsed.new_url, document.moved_to):
        try:
            url = identity.normalise_url(storable(said)) if said else None
        except identity.InvalidUrl:
            continue
        if url is not None and find_feed(conn, url) in (None, feed.id):
            return url if url != feed.url else None
    return None


def remember_names(db: Database, conn: Connection, feed_id: str, *urls: str) -> None:
    rows = [{"url_id": identity.feed_id(url), "feed_id": feed_id} for url in urls]
    conn.execute(db.insert_new(feed_aliases), rows)
