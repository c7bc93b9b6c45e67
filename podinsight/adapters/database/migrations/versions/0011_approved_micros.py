"""Approvals in micro-dollars, as all money is."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

_FIGURES = ("low", "likely", "high")


def upgrade() -> None:
    with op.batch_alter_table("approvals") as table:
        for each in _FIGURES:
            table.add_column(sa.Column(f"{each}_micros", sa.BigInteger(), nullable=True))
    op.execute(
        "UPDATE approvals SET low_micros = CAST(round(usd_low * 1000000) AS BIGINT), "
        "likely_micros = CAST(round(usd_likely * 1000000) AS BIGINT), "
        "high_micros = CAST(round(usd_high * 1000000) AS BIGINT)"
    )
    with op.batch_alter_table("approvals") as table:
        for each in _FIGURES:
            table.alter_column(f"{each}_micros", existing_type=sa.BigInteger(), nullable=False)
            table.drop_column(f"usd_{each}")
