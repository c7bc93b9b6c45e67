"""The record of what was done to the sizes of pools: appended to, and read (G6, G7)."""

from sqlalchemy import Connection, insert, select

from podinsight.adapters.database.engine import storable
from podinsight.adapters.database.fleet_tables import fleet_events
from podinsight.domain.fleet import Change, FleetEvent


def record_change(conn: Connection, event: FleetEvent) -> None:
    """Within the transaction of the change."""
    conn.execute(
        insert(fleet_events).values(
            at=event.at,
            what=event.what.value,
            pool=event.group,
            before=event.before,
            after=event.after,
            by=storable(event.by),
            why=storable(event.why),
        )
    )


def read_changes(conn: Connection, pool: str, limit: int) -> list[FleetEvent]:
    """The newest first."""
    query = select(fleet_events).where(fleet_events.c.pool == pool).order_by(fleet_events.c.id.desc()).limit(limit)
    return [
        FleetEvent(float(row.at), Change(row.what), row.pool, int(row.before), int(row.after), row.by, row.why)
        for row in conn.execute(query)
    ]
