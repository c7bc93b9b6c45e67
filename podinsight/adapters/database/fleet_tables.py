"""The tables of workers, how many there should be, and what stops them, beside those of work in `models`."""

from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, Index, Integer, String, Table, Text

from podinsight.adapters.database.models import KEY, metadata

workers = Table(
    "workers",
    metadata,
    Column("id", String(255), primary_key=True),
    Column("machine", String(255), nullable=False),
    Column("pool", String(20), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("slots", Integer, nullable=False),
    Column("device", String(20)),
    Column("state", String(12), nullable=False),
    Column("heartbeat_at", Float, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("busy_ms", BigInteger, nullable=False, server_default="0"),
    Column("idle_ms", BigInteger, nullable=False, server_default="0"),
    Column("metered_at", Float),
    Column("hour_micros", BigInteger),
    Column("price_source", String(40)),
    Column("price_estimated", Boolean),
    Index("ix_workers_pool_state", "pool", "state"),
)

pools = Table(
    "pools",
    metadata,
    Column("pool", String(20), primary_key=True),
    Column("desired", Integer, nullable=False),
    Column("shut", JSON(none_as_null=True)),
)

# Appended to, never changed. pool: of workers of ours, or the group of a provider.
fleet_events = Table(
    "fleet_events",
    metadata,
    Column("id", KEY, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("what", String(10), nullable=False),
    Column("pool", String(255), nullable=False),
    Column("before", Integer, nullable=False),
    Column("after", Integer, nullable=False),
    Column("by", Text, nullable=False),
    Column("why", Text, nullable=False),
    Index("ix_fleet_events_pool_id", "pool", "id"),
)

control = Table(
    "control",
    metadata,
    Column("id", KEY, primary_key=True, autoincrement=True),
    Column("mode", String(12), nullable=False),
    Column("gpu_frozen", Boolean, nullable=False),
    Column("economy", Boolean, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("why", Text, nullable=False),
)

ticks = Table("ticks", metadata, Column("name", String(40), primary_key=True), Column("at", Float, nullable=False))
