"""The same audio in any feed is found, and so are the transcriptions that wait for another's transcript (F10)."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_WAITS = "waits for the transcript of the same audio"
_UNAPPROVED = {
    "sqlite": "state = 'held' AND stage = 'transcribe' AND json_extract(params, '$.approved') IS NULL",
    "postgresql": "state = 'held' AND stage = 'transcribe' AND (params ->> 'approved') IS NULL",
}


def upgrade() -> None:
    op.drop_index("ix_episodes_feed_id_audio_sha256_seq", table_name="episodes")
    op.create_index("ix_episodes_audio_sha256_seq", "episodes", ["audio_sha256", "seq"], unique=False)
    held = f"state = 'held' AND reason = '{_WAITS}'"
    op.create_index(
        "ix_work_twin_held",
        "work",
        ["state", "stage", "changed_at", "id"],
        unique=False,
        sqlite_where=sa.text(held),
        postgresql_where=sa.text(held),
    )
    op.drop_index("ix_work_unapproved", table_name="work")
    op.create_index(
        "ix_work_unapproved",
        "work",
        ["state", "stage", "episode_id"],
        unique=False,
        sqlite_where=sa.text(f"{_UNAPPROVED['sqlite']} AND reason <> '{_WAITS}'"),
        postgresql_where=sa.text(f"{_UNAPPROVED['postgresql']} AND reason <> '{_WAITS}'"),
    )
