"""Control within a transaction that is open already: what holds now, and the stop that a refusal brings (G3)."""

from dataclasses import replace

from sqlalchemy import Connection, insert, select, text

from podinsight.adapters.database.engine import Database, storable
from podinsight.adapters.database.fleet_tables import control
from podinsight.adapters.database.guard import post_on
from podinsight.domain.alerts import stop_alert
from podinsight.domain.budget import Refusal, Scope
from podinsight.domain.control import GUARD, Control, Mode


def control_on(conn: Connection) -> Control:
    """ports.ControlBoard.read within this transaction."""
    row = conn.execute(select(control).order_by(control.c.id.desc()).limit(1)).first()
    if row is None:
        return Control()
    return Control(Mode(row.mode), bool(row.gpu_frozen), bool(row.economy), row.by, row.at, row.why)


def freeze_on(db: Database, conn: Connection, now: float, refused: Refusal) -> bool:
    """Freezes GPU work, or halts everything where the month is spent, with an alert. Last of all in its transaction.
    Returns False when that much was stopped before; then nothing changes."""
    if not db.is_sqlite:  # of many that are refused at once one stops the work
        conn.execute(text("LOCK TABLE control IN SHARE ROW EXCLUSIVE MODE"))
    was = control_on(conn)
    mode = Mode.HALTED if refused.scope is Scope.MONTH else was.mode
    if was.gpu_frozen and was.mode is mode:
        return False
    stopped = replace(was, gpu_frozen=True, mode=mode, by=GUARD, why=str(refused))
    values = {"mode": mode.value, "gpu_frozen": True, "economy": was.economy, "by": GUARD, "at": now}
    conn.execute(insert(control).values(values | {"why": storable(stopped.why)}))
    post_on(db, conn, now, stop_alert(f"stop:{refused.scope.value}:{refused.key}", was, stopped))
    return True
