"""What decoding took, by day, and who approved that it is paid for."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Connection, func, insert, select
from sqlalchemy.sql.elements import ColumnElement

from podinsight.adapters.database.engine import Database, storable
from podinsight.adapters.database.models import approvals, speech_days, stage_runs, work
from podinsight.domain.money import Micros
from podinsight.domain.quote import Approval, ApprovalView, Pace, Speed
from podinsight.domain.quote_lines import Amounts
from podinsight.ports import Clock, Decoded
from podinsight.ports.work import NO_DEVICE

_LOCK: Final = "approvals"
_BATCH: Final = 500
_LATELY: Final = 1000  # chunks, some days of audio, that are looked at for how fast it went lately


def add_speech(db: Database, conn: Connection, day: str, took: Decoded) -> None:
    """Adds a decoded chunk to the figures of its UTC day; nothing for what no device has heard."""
    if took.device == NO_DEVICE:
        return
    key = {"day": day, "model": took.model, "device": took.device, "compute_type": took.compute_type}
    counts = {
        "audio_seconds": took.audio_seconds,
        "wall_seconds": took.wall_seconds,
        "device_seconds": took.device_seconds,
        "chunks": 1,
    }
    conn.execute(db.add_up(speech_days, key, counts))


class SqlSpeech:
    """ports.SpeechBook."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db, self._clock = db, clock

    def speeds(self, since: str, model: str, device: str) -> list[Speed]:
        query = (
            select(*(speech_days.c[name] for name in Speed.__dataclass_fields__))
            .where(speech_days.c.day >= since, speech_days.c.model == model, speech_days.c.device == device)
            .order_by(speech_days.c.day, speech_days.c.compute_type)
        )
        with self._db.read() as conn:
            return [Speed(*row) for row in conn.execute(query)]

    def lately(self, since: float, model: str, device: str, audio_seconds: float) -> Pace:
        run = stage_runs.c
        query = (
            select(run.audio_seconds, run.wall_seconds)
            .where(run.at > since, run.model == model, run.device == device)
            .order_by(run.at.desc())
            .limit(_LATELY)
        )
        audio = wall = 0.0
        with self._db.read() as conn:
            for row in conn.execute(query):
                audio, wall = audio + float(row.audio_seconds), wall + float(row.wall_seconds)
                if audio >= audio_seconds:
                    break
        return Pace(audio, wall)

    def approve(self, approval: Approval, most_today: Micros | None = None) -> bool:
        now, cost = self._clock.now(), approval.quote.cost
        with self._db.write() as conn:
            if most_today is not None:
                self._db.lock(conn, _LOCK)
                today = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")
                if _approved(conn, today, True) + cost.high > most_today:
                    return False
            conn.execute(
                insert(approvals).values(
                    at=now,
                    by=storable(approval.by),
                    rule=storable(approval.rule),
                    why=storable(approval.why),
                    episodes=approval.quote.episodes,
                    audio_seconds=approval.quote.audio_seconds.likely,
                    low_micros=cost.low,
                    likely_micros=cost.likely,
                    high_micros=cost.high,
                )
            )
            return True

    def approvals(self, limit: int) -> list[ApprovalView]:
        with self._db.read() as conn:
            return [
                ApprovalView(
                    float(row.at),
                    row.by,
                    row.rule,
                    row.why,
                    int(row.episodes),
                    float(row.audio_seconds),
                    Amounts(int(row.low_micros), int(row.likely_micros), int(row.high_micros)),
                )
                for row in conn.execute(select(approvals).order_by(approvals.c.id.desc()).limit(limit))
            ]

    def approved(self, day: str, by_rule: bool | None = None) -> Micros:
        with self._db.read() as conn:
            return _approved(conn, day, by_rule)

    def models(self, episode_ids: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        with self._db.read() as conn:
            for start in range(0, len(episode_ids), _BATCH):
                ids = episode_ids[start : start + _BATCH]
                query = select(work.c.episode_id, work.c.params).where(
                    work.c.stage == "transcribe", work.c.episode_id.in_(ids)
                )
                found.update((row.episode_id, str(row.params["model"])) for row in conn.execute(query))
        return found


def _approved(conn: Connection, day: str, by_rule: bool | None) -> Micros:
    begin = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC)
    wanted: list[ColumnElement[bool]] = [
        approvals.c.at >= begin.timestamp(),
        approvals.c.at < (begin + timedelta(days=1)).timestamp(),
    ]
    if by_rule is not None:
        wanted.append(approvals.c.rule != "" if by_rule else approvals.c.rule == "")
    return int(conn.execute(select(func.coalesce(func.sum(approvals.c.high_micros), 0)).where(*wanted)).scalar_one())
