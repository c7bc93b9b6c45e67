"""Budgets, reservations and the ledger (G1, G2)."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "budgets",
        sa.Column("scope", sa.String(length=10), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("reserved", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("spent", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("ceiling", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("reserved >= 0 AND spent >= 0", name="ck_budgets_counters"),
        sa.PrimaryKeyConstraint("scope", "key", name=op.f("pk_budgets")),
    )
    op.create_table(
        "reservations",
        sa.Column("id", _KEY, autoincrement=True, nullable=False),
        sa.Column("token", sa.String(length=200), nullable=False),
        sa.Column("unit_kind", sa.String(length=20), nullable=False),
        sa.Column("unit_id", sa.BigInteger(), nullable=False),
        sa.Column("episode_id", sa.String(length=20), nullable=False),
        sa.Column("feed_id", sa.String(length=16), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("micros", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("gpu", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("closed_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reservations")),
        sa.UniqueConstraint("token", name=op.f("uq_reservations_token")),
    )
    is_open = sa.text("state = 'open'")
    op.create_index(
        "ix_reservations_open", "reservations", ["at", "id"], sqlite_where=is_open, postgresql_where=is_open
    )
    op.create_table(
        "ledger",
        sa.Column("id", _KEY, autoincrement=True, nullable=False),
        sa.Column("token", sa.String(length=200), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("month", sa.String(length=7), nullable=False),
        sa.Column("episode_id", sa.String(length=20), nullable=False),
        sa.Column("feed_id", sa.String(length=16), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("stage", sa.String(length=20), nullable=False),
        sa.Column("service", sa.String(length=20), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("unit", sa.String(length=10), nullable=False),
        sa.Column("price_micros", sa.BigInteger(), nullable=False),
        sa.Column("micros", sa.BigInteger(), nullable=False),
        sa.Column("device_kind", sa.String(length=64), nullable=False),
        sa.Column("price_source", sa.String(length=40), nullable=False),
        sa.Column("estimated", sa.Boolean(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger")),
    )
    op.create_index("ix_ledger_day", "ledger", ["day"])
    op.create_index("ix_ledger_episode_id", "ledger", ["episode_id"])
