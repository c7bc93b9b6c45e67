"""A pool that is shut has no workers until somebody opens it, whatever is desired meanwhile (G6)."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("pools", sa.Column("shut", sa.JSON(), nullable=True))
