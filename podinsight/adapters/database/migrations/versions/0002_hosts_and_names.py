"""Hosts, other names of feeds and episodes, what a killed attempt left behind, and more of what feeds say."""

import sqlalchemy as sa
from alembic import op

from podinsight.domain.enclosure import fingerprint
from podinsight.domain.identity import InvalidUrl

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "feed_days",
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("feed_id", sa.String(length=16), nullable=False),
        sa.Column("downloaded", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failed", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("received", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("day", "feed_id", name=op.f("pk_feed_days")),
    )
    op.create_table(
        "host_days",
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("requests", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("throttled", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failed", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("received", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("day", "host", name=op.f("pk_host_days")),
    )
    op.create_table(
        "hosts",
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("limit_set", sa.Integer(), nullable=True),
        sa.Column("rate_set", sa.Float(), nullable=True),
        sa.Column("limit_now", sa.Integer(), nullable=True),
        sa.Column("cooling_until", sa.Float(), nullable=True),
        sa.Column("changed_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("host", name=op.f("pk_hosts")),
    )
    ruled = sa.text("limit_set IS NOT NULL OR rate_set IS NOT NULL")
    op.create_index("ix_hosts_ruled", "hosts", ["host"], unique=False, sqlite_where=ruled, postgresql_where=ruled)
    op.create_table(
        "leftovers",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_leftovers")),
    )
    op.create_index(op.f("ix_leftovers_at"), "leftovers", ["at"], unique=False)
    op.create_table(
        "feed_aliases",
        sa.Column("url_id", sa.String(length=16), nullable=False),
        sa.Column("feed_id", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(["feed_id"], ["feeds.id"], name=op.f("fk_feed_aliases_feed_id_feeds")),
        sa.PrimaryKeyConstraint("url_id", name=op.f("pk_feed_aliases")),
    )
    op.create_index(op.f("ix_feed_aliases_feed_id"), "feed_aliases", ["feed_id"], unique=False)
    op.create_table(
        "guid_aliases",
        sa.Column("feed_id", sa.String(length=16), nullable=False),
        sa.Column("guid_key", sa.Text(), nullable=False),
        sa.Column("episode_id", sa.String(length=20), nullable=False),
        sa.ForeignKeyConstraint(["episode_id"], ["episodes.id"], name=op.f("fk_guid_aliases_episode_id_episodes")),
        sa.ForeignKeyConstraint(["feed_id"], ["feeds.id"], name=op.f("fk_guid_aliases_feed_id_feeds")),
        sa.PrimaryKeyConstraint("feed_id", "guid_key", name=op.f("pk_guid_aliases")),
    )
    op.create_index(op.f("ix_guid_aliases_episode_id"), "guid_aliases", ["episode_id"], unique=False)
    op.add_column("episodes", sa.Column("fingerprint", sa.Text(), nullable=True))
    op.add_column("episodes", sa.Column("season", sa.BigInteger(), nullable=True))
    op.add_column("episodes", sa.Column("number", sa.BigInteger(), nullable=True))
    op.add_column("episodes", sa.Column("chapters", sa.JSON(), nullable=True))
    op.add_column("episodes", sa.Column("persons", sa.JSON(), nullable=True))
    op.add_column("episodes", sa.Column("publisher", sa.JSON(), nullable=True))
    op.add_column("episodes", sa.Column("same_as", sa.String(length=20), nullable=True))
    op.create_index(
        "ix_episodes_feed_id_audio_sha256_seq", "episodes", ["feed_id", "audio_sha256", "seq"], unique=False
    )
    op.create_index("ix_episodes_feed_id_fingerprint", "episodes", ["feed_id", "fingerprint"], unique=False)
    op.add_column("feeds", sa.Column("podcast_guid", sa.Text(), nullable=True))
    op.add_column("feeds", sa.Column("notes", sa.JSON(), nullable=True))
    op.add_column("feeds", sa.Column("user_agent", sa.Text(), nullable=True))
    op.add_column("feeds", sa.Column("tier", sa.Text(), nullable=True))
    _fill_fingerprints()


def _fill_fingerprints() -> None:
    conn = op.get_bind()
    last = 0
    while True:
        query = sa.text("SELECT seq, url FROM episodes WHERE seq > :last ORDER BY seq LIMIT 1000")
        rows = conn.execute(query, {"last": last}).all()
        if not rows:
            return
        last = rows[-1].seq
        found = []
        for row in rows:
            try:
                found.append({"this": row.seq, "fingerprint": fingerprint(row.url)})
            except InvalidUrl:
                continue
        if found:
            conn.execute(sa.text("UPDATE episodes SET fingerprint = :fingerprint WHERE seq = :this"), found)
