"""What the cost guard finds, says and remembers; how long each worker held work, and how long it did not (G1, G5)."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_UNSENT = sa.text("sent_at IS NULL")


def upgrade() -> None:
    op.create_table(
        "findings",
        sa.Column("source", sa.String(length=20), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("fix", sa.Text(), nullable=False),
        sa.Column("day_micros", sa.BigInteger(), nullable=False),
        sa.Column("first_at", sa.Float(), nullable=False),
        sa.Column("last_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("source", "subject", name=op.f("pk_findings")),
    )
    op.create_table(
        "alerts",
        sa.Column("id", _KEY, autoincrement=True, nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("severity", sa.String(length=10), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("due_at", sa.Float(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("sent_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
        sa.UniqueConstraint("key", name=op.f("uq_alerts_key")),
    )
    op.create_index("ix_alerts_unsent", "alerts", ["due_at", "id"], sqlite_where=_UNSENT, postgresql_where=_UNSENT)
    op.create_table(
        "remembered",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_remembered")),
    )
    op.add_column("workers", sa.Column("busy_ms", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("workers", sa.Column("idle_ms", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("workers", sa.Column("metered_at", sa.Float(), nullable=True))
    held = sa.text("state = 'held'")
    op.create_index("ix_chunks_held", "chunks", ["id"], sqlite_where=held, postgresql_where=held)
