"""How much audio waits and runs in each lane, and what nobody has approved yet."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    for table, column in (("work", "ms"), ("chunks", "ms"), ("lanes", "ms_waiting"), ("lanes", "ms_in_flight")):
        op.add_column(table, sa.Column(column, sa.BigInteger(), server_default="0", nullable=False))
    op.create_index(
        "ix_work_unapproved",
        "work",
        ["state", "stage", "episode_id"],
        unique=False,
        sqlite_where=sa.text("state = 'held' AND stage = 'transcribe' AND json_extract(params, '$.approved') IS NULL"),
        postgresql_where=sa.text("state = 'held' AND stage = 'transcribe' AND (params ->> 'approved') IS NULL"),
    )
