"""What became of each lease, for people and for how fast decoding goes."""

from typing import Final

from sqlalchemy import Connection, insert

from podinsight.adapters.database.engine import storable
from podinsight.adapters.database.models import stage_runs
from podinsight.domain.work import Lease
from podinsight.ports import Clock, Decoded

_REASON_CHARACTERS: Final = 2000


def record_run(
    conn: Connection,
    clock: Clock,
    lease: Lease,
    outcome: str,
    reason: str = "",
    wall_seconds: float | None = None,
    took: Decoded | None = None,
) -> None:
    """Adds one line to the history of an episode. took: of a chunk that was decoded, with its wall seconds."""
    decoded: dict[str, object] = {"wall_seconds": wall_seconds}
    if took is not None:
        decoded = {name: getattr(took, name) for name in ("wall_seconds", "audio_seconds", "model", "device")}
    conn.execute(
        insert(stage_runs).values(
            episode_id=lease.episode_id,
            stage=lease.stage,
            n=lease.span.n if lease.span else 0,
            worker=lease.worker,
            outcome=outcome,
            reason=storable(reason)[:_REASON_CHARACTERS],
            at=clock.now(),
            **decoded,
        )
    )
