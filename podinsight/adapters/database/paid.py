"""Leases within the ceilings: what is refused one, and what its holder is refused while it runs (G2, G3)."""

from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, Table, and_, func, select

from podinsight.adapters.database.devices import Devices
from podinsight.adapters.database.guard import post_on
from podinsight.adapters.database.lanes import LaneMoves
from podinsight.adapters.database.models import chunks, inline, state_is, work
from podinsight.adapters.database.spending import run_of
from podinsight.adapters.database.stops import freeze_on
from podinsight.domain.alerts import Alert, Severity
from podinsight.domain.budget import Refusal, Scope, is_of
from podinsight.domain.held import OVER_BUDGET
from podinsight.domain.prices import Price
from podinsight.domain.work import Lease, State
from podinsight.ports import OverBudget

_SOON: Final = 30.0  # seconds until a chunk is asked again for which there is no room while others run
_LATER: Final = 900.0  # seconds until a fetch or a plan that was refused is asked again
_OF_ONE: Final = frozenset({Scope.ITEM, Scope.RUN})
_AT_ONCE: Final = 500
_REFUSED: Final = (state_is(chunks, State.HELD), chunks.c.reason.startswith(OVER_BUDGET, autoescape=True))


class Paid(Devices):
    """The part of ports.WorkRows that obeys the ceilings."""

    def over_budget(self, limit: int) -> list[OverBudget]:
        refused = (
            select(chunks.c.episode_id, func.min(chunks.c.reason).label("reason"))
            .where(*_REFUSED)
            .group_by(chunks.c.episode_id)
            .order_by(func.min(chunks.c.id))
            .limit(limit)
            .subquery()
        )
        query = (
            select(refused.c.episode_id, work.c.params, refused.c.reason)
            .select_from(refused)
            .join(work, and_(work.c.episode_id == refused.c.episode_id, work.c.stage == inline("transcribe")))
            .order_by(work.c.id)
        )
        with self._db.read() as conn:
            return [OverBudget(row.episode_id, run_of(row.params), row.reason) for row in conn.execute(query)]

    def release_over_budget(self, but: Collection[str] = ()) -> int:
        released, last = set[str](), 0
        while found := self._release_some(last, but):
            released.update(episode_id for episode_id in found.values() if episode_id)
            last = max(found)
        return len(released)

    def _release_some(self, after: int, but: Collection[str]) -> dict[int, str]:
        """Chunk → episode (empty: it stays held), of the next ones by id: each is looked at once, for workers may ask
        for it and be refused once more meanwhile."""
        # A claim holds what it has found changed, in an order of its own: to wait for that here could deadlock.
        query = select(chunks).where(*_REFUSED, chunks.c.id > after).order_by(chunks.c.id).limit(_AT_ONCE)
        with self._transition() as (conn, moves):
            rows: Sequence[Row[Any]] = conn.execute(query.with_for_update(skip_locked=True)).all()
            freed = [row for row in rows if not any(is_of(row.reason, Scope.RUN, run) for run in but)]
            for row in freed:
                self._move(conn, moves, chunks, row, State.WAITING, "")
            return {int(row.id): "" for row in rows} | {int(row.id): str(row.episode_id) for row in freed}

    def _refuse(self, conn: Connection, table: Table, row: Row[Any], refused: Refusal) -> None:
        """A unit that does not fit under a ceiling, waiting or leased, and what that means for others. Ends the
        transaction: nothing may be locked after it."""
        moves, now = LaneMoves(), self._clock.now()
        reason = f"{OVER_BUDGET}{refused}"
        if table is not chunks:
            self._move(conn, moves, table, row, State.DELAYED, reason, not_before=now + _LATER)
        elif refused.scope in _OF_ONE and refused.spent + refused.asked <= refused.ceiling:
            # It is only reserved: most of that is free again when the others of its episode or run have ended.
            self._move(conn, moves, table, row, State.DELAYED, reason, not_before=now + _SOON)
        elif refused.scope in _OF_ONE:
            self._move(conn, moves, table, row, State.HELD, reason, not_before=None)
            self._hold(conn, moves, self._not_begun(conn, row.episode_id), reason)
        else:
            self._return(conn, moves, table, row)
        self._finish(conn, moves)
        if table is chunks and refused.scope in _OF_ONE and refused.spent + refused.asked > refused.ceiling:
            post_on(self._db, conn, now, _held(refused))
        if refused.scope is Scope.MONTH or (table is chunks and refused.scope not in _OF_ONE):
            freeze_on(self._db, conn, now, refused)

    def _reserve(self, conn: Connection, row: Row[Any], lease: Lease, hour: Price, seconds: float) -> Refusal | None:
        """After the lease was written, and all that follows from it."""
        asked = self._till.asked(conn, row, lease, hour, seconds)
        return None if asked is None else self._till.reserve(conn, self._clock.now(), asked)


def _held(refused: Refusal) -> Alert:
    """Said once for an episode or a run."""
    again = "podrun retry --over-budget"
    title = f"transcriptions are held: {refused}"
    body = f"`{again} --max-usd AMOUNT` gives them another ceiling, and they go on."
    if refused.scope is Scope.ITEM:
        body = f"Raise `stop_item_usd`, then `{again}`: they go on."
    return Alert(f"held:{refused.scope.value}:{refused.key}", Severity.WARNING, title, body)
