"""What decoding took by day, approvals of spending, and what device a worker decodes on."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "speech_days",
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("model", sa.String(length=255), nullable=False),
        sa.Column("device", sa.String(length=20), nullable=False),
        sa.Column("compute_type", sa.String(length=20), nullable=False),
        sa.Column("audio_seconds", sa.Float(), server_default="0", nullable=False),
        sa.Column("wall_seconds", sa.Float(), server_default="0", nullable=False),
        sa.Column("device_seconds", sa.Float(), server_default="0", nullable=False),
        sa.Column("chunks", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("day", "model", "device", "compute_type", name=op.f("pk_speech_days")),
    )
    op.create_table(
        "approvals",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("why", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("episodes", sa.BigInteger(), nullable=False),
        sa.Column("audio_seconds", sa.Float(), nullable=False),
        sa.Column("usd_low", sa.Float(), nullable=False),
        sa.Column("usd_likely", sa.Float(), nullable=False),
        sa.Column("usd_high", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approvals")),
    )
    op.create_index(op.f("ix_approvals_at"), "approvals", ["at"], unique=False)
    op.add_column("workers", sa.Column("device", sa.String(length=20), nullable=True))
