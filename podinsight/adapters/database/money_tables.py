"""The tables of money, beside the others in `models`. Amounts are whole micro-dollars, days are UTC (`2026-11-22`).

What a feed or an episode has cost stays known when they are gone, so nothing here refers to their rows.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from podinsight.adapters.database.models import KEY, metadata

_OPEN = text("state = 'open'")
_UNSENT = text("sent_at IS NULL")


def _bearer() -> list[Column[object]]:
    """Whose cost it is."""
    return [
        Column("episode_id", String(20), nullable=False),
        Column("feed_id", String(16), nullable=False),
        Column("run_id", String(64), nullable=False),
    ]


budgets = Table(
    "budgets",
    metadata,
    Column("scope", String(10), primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("reserved", BigInteger, nullable=False, server_default="0"),
    Column("spent", BigInteger, nullable=False, server_default="0"),
    Column("ceiling", BigInteger),
    CheckConstraint("reserved >= 0 AND spent >= 0", name="ck_budgets_counters"),
)

reservations = Table(
    "reservations",
    metadata,
    Column("id", KEY, primary_key=True, autoincrement=True),
    Column("token", String(200), nullable=False, unique=True),
    Column("unit_kind", String(20), nullable=False),
    Column("unit_id", BigInteger, nullable=False),
    *_bearer(),
    Column("micros", BigInteger, nullable=False),
    Column("day", String(10), nullable=False),
    Column("gpu", Boolean, nullable=False),
    Column("state", String(10), nullable=False),
    Column("at", Float, nullable=False),
    Column("closed_at", Float),
    Index("ix_reservations_open", "at", "id", sqlite_where=_OPEN, postgresql_where=_OPEN),
)

ledger = Table(
    "ledger",
    metadata,
    Column("id", KEY, primary_key=True, autoincrement=True),
    Column("token", String(200), nullable=False),
    Column("at", Float, nullable=False),
    Column("day", String(10), nullable=False),
    Column("month", String(7), nullable=False),
    *_bearer(),
    Column("stage", String(20), nullable=False),
    Column("service", String(20), nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("unit", String(10), nullable=False),
    Column("price_micros", BigInteger, nullable=False),
    Column("micros", BigInteger, nullable=False),
    Column("device_kind", String(64), nullable=False),
    Column("price_source", String(40), nullable=False),
    Column("estimated", Boolean, nullable=False),
    Column("note", Text, nullable=False),
    Index("ix_ledger_day", "day"),
    Index("ix_ledger_episode_id", "episode_id"),
)

findings = Table(
    "findings",
    metadata,
    Column("source", String(20), primary_key=True),
    Column("subject", String(255), primary_key=True),
    Column("what", Text, nullable=False),
    Column("fix", Text, nullable=False),
    Column("day_micros", BigInteger, nullable=False),
    Column("first_at", Float, nullable=False),
    Column("last_at", Float, nullable=False),
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", KEY, primary_key=True, autoincrement=True),
    Column("key", String(200), nullable=False),
    Column("severity", String(10), nullable=False),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("due_at", Float, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("why", Text, nullable=False),
    Column("sent_at", Float),
    UniqueConstraint("key"),
    Index("ix_alerts_unsent", "due_at", "id", sqlite_where=_UNSENT, postgresql_where=_UNSENT),
)

remembered = Table(
    "remembered",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("value", JSON, nullable=False),
    Column("at", Float, nullable=False),
)
