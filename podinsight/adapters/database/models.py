"""The tables of work; those of the catalogue, the fleet and money are in modules beside this one.

Times are epoch seconds; ids of feeds and episodes are hashes (domain.identity).
"""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    literal_column,
    text,
    true,
)
from sqlalchemy.sql.elements import ColumnElement

from podinsight.domain.held import WAITS_FOR_TWIN
from podinsight.domain.work import State

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

KEY = BigInteger().with_variant(Integer, "sqlite")


def inline(value: str | int | bool) -> ColumnElement[Any]:
    """A constant of ours as a part of the SQL: a bound parameter could not use a partial index, and one that is
    rendered at each execution takes longer than the query."""
    if isinstance(value, bool):
        return true() if value else false()
    return literal_column(str(value) if isinstance(value, int) else f"'{value}'")


def state_is(table: Table, *states: State) -> ColumnElement[bool]:
    """`state = 'x'` or `state IN ('x', …)`, inline, as the partial indexes say it."""
    if len(states) == 1:
        return table.c.state == inline(states[0].value)
    return table.c.state.in_([inline(state.value) for state in states])


speech_days = Table(
    "speech_days",
    metadata,
    Column("day", String(10), primary_key=True),
    Column("model", String(255), primary_key=True),
    Column("device", String(20), primary_key=True),
    Column("compute_type", String(20), primary_key=True),
    Column("audio_seconds", Float, nullable=False, server_default="0"),
    Column("wall_seconds", Float, nullable=False, server_default="0"),
    Column("device_seconds", Float, nullable=False, server_default="0"),
    Column("chunks", BigInteger, nullable=False, server_default="0"),
)

approvals = Table(
    "approvals",
    metadata,
    Column("id", KEY, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False, index=True),
    Column("by", Text, nullable=False),
    Column("rule", Text, nullable=False, server_default=text("''")),
    Column("why", Text, nullable=False, server_default=text("''")),
    Column("episodes", BigInteger, nullable=False),
    Column("audio_seconds", Float, nullable=False),
    Column("low_micros", BigInteger, nullable=False),
    Column("likely_micros", BigInteger, nullable=False),
    Column("high_micros", BigInteger, nullable=False),
)

leftovers = Table(
    "leftovers",
    metadata,
    Column("id", KEY, primary_key=True, autoincrement=True),
    Column("prefix", Text, nullable=False),
    Column("at", Float, nullable=False, index=True),
)

lanes = Table(
    "lanes",
    metadata,
    Column("id", KEY, primary_key=True, autoincrement=True),
    Column("stage", String(20), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("host", Text, nullable=False),
    Column("served_rank", BigInteger, nullable=False, server_default="0"),
    Column("last_served", Float, nullable=False, server_default="0"),
    *(Column(f"n_{state.value}", BigInteger, nullable=False, server_default="0") for state in State),
    Column("ms_waiting", BigInteger, nullable=False, server_default="0"),
    Column("ms_in_flight", BigInteger, nullable=False, server_default="0"),
    UniqueConstraint("stage", "host", "priority"),
)

Index(
    "ix_lanes_to_serve",
    lanes.c.stage,
    lanes.c.priority.desc(),
    lanes.c.last_served,
    lanes.c.id,
    sqlite_where=text("n_waiting > 0"),
    postgresql_where=text("n_waiting > 0"),
)


def _unit_columns() -> list[Column[object]]:
    """What a row needs to be leased: shared by `work` and `chunks`. `ms`: audio in it that a device has to hear, as far
    as it is known."""
    return [
        Column("id", KEY, primary_key=True, autoincrement=True),
        Column("episode_id", String(20), ForeignKey("episodes.id"), nullable=False),
        Column("feed_id", String(16), nullable=False),
        Column("stage", String(20), nullable=False),
        Column("n", Integer, nullable=False, server_default="0"),
        Column("lane_id", KEY, ForeignKey("lanes.id"), nullable=False),
        Column("rank", BigInteger, nullable=False),
        Column("ms", BigInteger, nullable=False, server_default="0"),
        Column("state", String(12), nullable=False),
        Column("reason", Text, nullable=False, server_default=text("''")),
        Column("attempts", Integer, nullable=False, server_default="0"),
        Column("losses", Integer, nullable=False, server_default="0"),
        Column("not_before", Float),
        Column("dispatched_at", Float),
        Column("worker", String(255)),
        Column("token", String(32)),
        Column("lease_until", Float),
        Column("changed_at", Float, nullable=False),
    ]


def _unit_indexes(name: str) -> list[Index]:
    """One small index for each question that dispatch and reconcile ask; each holds only the rows it is about."""
    wanted: dict[str, tuple[tuple[str, ...], str]] = {
        "waiting": (("lane_id", "rank", "id"), "state = 'waiting'"),
        "waiting_feed": (("lane_id", "feed_id", "rank"), "state = 'waiting'"),
        "in_flight": (("stage",), "state IN ('dispatched', 'running')"),
        "leased": (("lease_until",), "state = 'running'"),
        "unclaimed": (("dispatched_at",), "state = 'dispatched'"),
        "delayed": (("not_before",), "state = 'delayed'"),
        "worker": (("worker",), "state = 'running'"),
    }
    if name == "chunks":
        wanted["held"] = ("id",), "state = 'held'"
    return [
        Index(f"ix_{name}_{key}", *columns, sqlite_where=text(where), postgresql_where=text(where))
        for key, (columns, where) in wanted.items()
    ]


# A row that takes another's transcript as soon as that is there (F10).
TWIN_HELD = f"state = 'held' AND reason = '{WAITS_FOR_TWIN}'"

# A row that nobody has approved, and that needs it: how either database says that a key is not there.
UNAPPROVED = {
    dialect: f"state = 'held' AND stage = 'transcribe' AND {unsaid} IS NULL AND reason <> '{WAITS_FOR_TWIN}'"
    for dialect, unsaid in (("sqlite", "json_extract(params, '$.approved')"), ("postgresql", "(params ->> 'approved')"))
}

work = Table(
    "work",
    metadata,
    *_unit_columns(),
    Column("params", JSON, nullable=False),
    Column("result", JSON),
    Column("projected", Boolean, nullable=False, server_default=text("true")),
    UniqueConstraint("episode_id", "stage"),
    *_unit_indexes("work"),
    Index("ix_work_state", "state", "stage", "changed_at", "id"),
    Index(
        "ix_work_unprojected", "changed_at", sqlite_where=text("projected = 0"), postgresql_where=text("NOT projected")
    ),
    Index(
        "ix_work_unapproved",
        "state",  # without it SQLite would rather take the index that holds every row, whatever it is held for
        "stage",
        "episode_id",
        sqlite_where=text(UNAPPROVED["sqlite"]),
        postgresql_where=text(UNAPPROVED["postgresql"]),
    ),
    Index(
        "ix_work_twin_held",
        "state",  # as above
        "stage",
        "changed_at",
        "id",
        sqlite_where=text(TWIN_HELD),
        postgresql_where=text(TWIN_HELD),
    ),
)

chunks = Table(
    "chunks",
    metadata,
    *_unit_columns(),
    Column("start", Float, nullable=False),
    Column("end", Float),
    Column("part_key", Text),
    UniqueConstraint("episode_id", "n"),
    *_unit_indexes("chunks"),
)

stage_runs = Table(
    "stage_runs",
    metadata,
    Column("id", KEY, primary_key=True, autoincrement=True),
    Column("episode_id", String(20), nullable=False, index=True),
    Column("stage", String(20), nullable=False),
    Column("n", Integer, nullable=False),
    Column("worker", String(255)),
    Column("outcome", String(20), nullable=False),
    Column("reason", Text, nullable=False, server_default=text("''")),
    Column("wall_seconds", Float),
    Column("at", Float, nullable=False, index=True),
    Column("model", String(255)),
    Column("device", String(20)),
    Column("audio_seconds", Float),
)
