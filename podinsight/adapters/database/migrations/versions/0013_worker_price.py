"""What an hour of a worker costs is kept with it, with where that is from (G1, G5)."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("workers", sa.Column("hour_micros", sa.BigInteger()))
    op.add_column("workers", sa.Column("price_source", sa.String(length=40)))
    op.add_column("workers", sa.Column("price_estimated", sa.Boolean()))
