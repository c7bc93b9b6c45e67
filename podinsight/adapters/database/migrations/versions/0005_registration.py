"""Since when segments wait to be registered in the table of all segments; those of before wait too."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("episodes", sa.Column("unregistered", sa.Float(), nullable=True))
    op.execute("UPDATE episodes SET unregistered = created_at WHERE transcript_key IS NOT NULL")
    op.create_index(
        "ix_episodes_unregistered",
        "episodes",
        ["unregistered"],
        unique=False,
        sqlite_where=sa.text("unregistered IS NOT NULL"),
        postgresql_where=sa.text("unregistered IS NOT NULL"),
    )
