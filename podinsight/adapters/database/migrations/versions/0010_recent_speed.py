"""What was decoded by which model on which device, in the history: how fast it went lately (G4)."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("stage_runs", sa.Column("model", sa.String(length=255), nullable=True))
    op.add_column("stage_runs", sa.Column("device", sa.String(length=20), nullable=True))
    op.add_column("stage_runs", sa.Column("audio_seconds", sa.Float(), nullable=True))
