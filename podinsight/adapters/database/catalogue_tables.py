"""The tables of feeds, episodes and their hosts, beside those of work in `models`."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from podinsight.adapters.database.models import KEY, metadata

feeds = Table(
    "feeds",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("url", Text, nullable=False),
    Column("slug", String(100), unique=True),
    Column("title", Text),
    Column("link", Text),
    Column("etag", Text),
    Column("last_modified", Text),
    Column("language", Text),
    Column("image", Text),
    Column("podcast_guid", Text),
    Column("notes", JSON),
    Column("user_agent", Text),
    Column("tier", Text),
    Column("error", Text),
    Column("episodes", Integer, nullable=False, server_default="0"),
    Column("last_polled_at", Float),
    Column("next_poll_at", Float, nullable=False, server_default="0", index=True),
    Column("created_at", Float, nullable=False),
)

episodes = Table(
    "episodes",
    metadata,
    Column("seq", KEY, primary_key=True, autoincrement=True),
    Column("id", String(20), nullable=False, unique=True),
    Column("feed_id", String(16), ForeignKey("feeds.id"), nullable=False),
    Column("guid", Text, nullable=False),
    Column("guid_key", Text, nullable=False),
    Column("folder", String(100), nullable=False),
    Column("title", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("mime", Text),
    Column("length", BigInteger),
    Column("published", Float),
    Column("duration", Float),
    Column("image", Text),
    Column("fingerprint", Text),
    Column("season", BigInteger),
    Column("number", BigInteger),
    Column("transcripts", JSON, nullable=False),
    Column("chapters", JSON),
    Column("persons", JSON),
    Column("publisher", JSON),
    Column("same_as", String(20)),
    Column("audio_key", Text),
    Column("audio_bytes", BigInteger),
    Column("audio_sha256", String(64)),
    Column("audio_mime", Text),
    Column("audio_seconds", Float),
    Column("fetched_at", Float),
    Column("transcript_key", Text),
    Column("model", Text),
    Column("unregistered", Float),
    Column("created_at", Float, nullable=False),
    UniqueConstraint("feed_id", "guid_key"),
    UniqueConstraint("feed_id", "folder"),
    Index("ix_episodes_feed_id_seq", "feed_id", "seq"),
    Index("ix_episodes_feed_id_fingerprint", "feed_id", "fingerprint"),
    Index("ix_episodes_audio_sha256_seq", "audio_sha256", "seq"),
    Index(
        "ix_episodes_unregistered",
        "unregistered",
        sqlite_where=text("unregistered IS NOT NULL"),
        postgresql_where=text("unregistered IS NOT NULL"),
    ),
)

# Other names of what is known: URLs that a feed had before it moved, GUIDs that were issued anew.
feed_aliases = Table(
    "feed_aliases",
    metadata,
    Column("url_id", String(16), primary_key=True),
    Column("feed_id", String(16), ForeignKey("feeds.id"), nullable=False, index=True),
)

guid_aliases = Table(
    "guid_aliases",
    metadata,
    Column("feed_id", String(16), ForeignKey("feeds.id"), primary_key=True),
    Column("guid_key", Text, primary_key=True),
    Column("episode_id", String(20), ForeignKey("episodes.id"), nullable=False, index=True),
)

hosts = Table(
    "hosts",
    metadata,
    Column("host", String(255), primary_key=True),
    Column("limit_set", Integer),
    Column("rate_set", Float),
    Column("limit_now", Integer),
    Column("cooling_until", Float),
    Column("changed_at", Float, nullable=False),
)

Index(
    "ix_hosts_ruled",
    hosts.c.host,
    sqlite_where=text("limit_set IS NOT NULL OR rate_set IS NOT NULL"),
    postgresql_where=text("limit_set IS NOT NULL OR rate_set IS NOT NULL"),
)

host_days = Table(
    "host_days",
    metadata,
    Column("day", String(10), primary_key=True),
    Column("host", String(255), primary_key=True),
    Column("requests", BigInteger, nullable=False, server_default="0"),
    Column("throttled", BigInteger, nullable=False, server_default="0"),
    Column("failed", BigInteger, nullable=False, server_default="0"),
    Column("received", BigInteger, nullable=False, server_default="0"),
)

feed_days = Table(
    "feed_days",
    metadata,
    Column("day", String(10), primary_key=True),
    Column("feed_id", String(16), primary_key=True),
    Column("downloaded", BigInteger, nullable=False, server_default="0"),
    Column("failed", BigInteger, nullable=False, server_default="0"),
    Column("received", BigInteger, nullable=False, server_default="0"),
)
