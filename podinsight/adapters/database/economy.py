"""Saving: long episodes that wait, smaller models, and what items have cost (G3, G8)."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, and_, or_, select, update

from podinsight.adapters.database.catalogue_tables import episodes
from podinsight.adapters.database.episode_rows import episode_query, to_episode
from podinsight.adapters.database.lanes import LaneMoves
from podinsight.adapters.database.models import chunks, inline, state_is, work
from podinsight.adapters.database.money_tables import budgets
from podinsight.adapters.database.transcriptions import Transcriptions
from podinsight.adapters.database.units import JOIN_N
from podinsight.domain.budget import Scope
from podinsight.domain.economy import saving
from podinsight.domain.held import OVER_BUDGET
from podinsight.domain.money import Micros
from podinsight.domain.publisher import usable
from podinsight.domain.work import Lease, State
from podinsight.errors import LeaseLost
from podinsight.ports.economy import DearItem

_PAGE: Final = 200  # episodes a transaction
_PAGES: Final = 10  # a call
_WAITING: Final = (State.WAITING, State.DISPATCHED, State.DELAYED)
_MOST_ITEMS: Final = 500
_TRANSCRIBE = work.c.stage == inline("transcribe")
_ITEM = f"{OVER_BUDGET}% of episode %"  # as domain.budget.Refusal says it of an item


class Economy(Transcriptions):
    """ports.EconomyRows."""

    def dear_items(self, least: Micros, since: float) -> Sequence[DearItem]:
        active = state_is(work, *_WAITING, State.RUNNING)
        query = (
            select(budgets.c.key, budgets.c.spent, active.label("active"))
            .select_from(budgets)
            .join(work, and_(work.c.episode_id == budgets.c.key, _TRANSCRIBE))
            .where(budgets.c.scope == Scope.ITEM.value, budgets.c.spent >= least)
            .where(or_(active, work.c.changed_at >= since))
            .order_by(budgets.c.spent.desc(), budgets.c.key)
            .limit(_MOST_ITEMS)
        )
        with self._db.read() as conn:
            return [DearItem(row.key, int(row.spent), bool(row.active)) for row in conn.execute(query)]

    def held_items(self, since: float) -> Sequence[str]:
        refused = and_(state_is(chunks, State.HELD), chunks.c.reason.like(_ITEM))
        query = (
            select(work.c.episode_id)
            .join(chunks, and_(chunks.c.episode_id == work.c.episode_id, refused))
            .where(state_is(work, State.HELD), _TRANSCRIBE, work.c.changed_at >= since)
            .distinct()
        )
        with self._db.read() as conn:
            return sorted(conn.execute(query).scalars())

    def hold_long(self, longer_than: float, reason: str) -> int:
        long = (
            select(work.c.id, work.c.episode_id, work.c.params)
            .join(episodes, episodes.c.id == work.c.episode_id)
            .where(_TRANSCRIBE, state_is(work, *_WAITING), episodes.c.audio_seconds > longer_than)
        )

        def hold(conn: Connection, moves: LaneMoves, row: Row[Any], units: Sequence[Row[Any]]) -> bool:
            if any(State(unit.state) not in _WAITING for unit in units) or self._costs_nothing(conn, row):
                return False
            self._hold(conn, moves, units, reason)
            moves.parents[row.episode_id] = reason
            return True

        return self._page_by_page(long, hold)

    def release_long(self, reason: str) -> int:
        held = select(work.c.id, work.c.episode_id, work.c.params).where(
            _TRANSCRIBE, state_is(work, State.HELD), work.c.reason == reason
        )

        def release(conn: Connection, moves: LaneMoves, _row: Row[Any], units: Sequence[Row[Any]]) -> bool:
            for unit in (each for each in units if (each.state, each.reason) == (State.HELD.value, reason)):
                self._move(conn, moves, chunks, unit, State.WAITING, "")
            return True

        return self._page_by_page(held, release)

    def _page_by_page(
        self, query: Any, act: Callable[[Connection, LaneMoves, Row[Any], Sequence[Row[Any]]], bool]
    ) -> int:
        """Does `act` on the locked chunks of each episode that the query finds. Returns how often it said that it did
        something."""
        done, last = 0, 0
        for _ in range(_PAGES):
            with self._db.read() as conn:
                rows = conn.execute(query.where(work.c.id > last).order_by(work.c.id).limit(_PAGE)).all()
            if not rows:
                break
            last = int(rows[-1].id)
            with self._transition() as (conn, moves):
                units = self._chunks_of(conn, [row.episode_id for row in rows])
                for row in sorted(rows, key=lambda row: str(row.episode_id)):
                    if row.episode_id in units:
                        done += act(conn, moves, row, units[row.episode_id])
        return done

    def _chunks_of(self, conn: Connection, episode_ids: Sequence[str]) -> dict[str, list[Row[Any]]]:
        """All chunks of these episodes, locked; episodes with one that is just moving are left out."""
        of_these = chunks.c.episode_id.in_(episode_ids)
        found: dict[str, list[Row[Any]]] = {}
        for unit in conn.execute(
            select(chunks).where(of_these).order_by(chunks.c.id).with_for_update(skip_locked=True)
        ):
            found.setdefault(unit.episode_id, []).append(unit)
        there: dict[str, int] = {}
        for episode_id in conn.execute(select(chunks.c.episode_id).where(of_these)).scalars():
            there[episode_id] = there.get(episode_id, 0) + 1
        return {each: units for each, units in found.items() if len(units) == there[each]}

    def _costs_nothing(self, conn: Connection, row: Row[Any]) -> bool:
        """Of what was answered without a device: its publisher's words, or a twin's transcript."""
        if row.params.get("same_as"):
            return True
        found = conn.execute(episode_query().where(episodes.c.id == row.episode_id)).one()
        return usable(to_episode(found), row.params) is not None

    def begin_smaller(self, lease: Lease, model: str) -> bool:
        with self._db.write() as conn:
            query = select(chunks).where(chunks.c.episode_id == lease.episode_id).order_by(chunks.c.id)
            units = conn.execute(query.with_for_update()).all()
            mine = next((unit for unit in units if unit.id == lease.unit_id), None)
            if mine is None or mine.token != lease.token or mine.state != State.RUNNING.value:
                raise LeaseLost(f"the lease on {lease.stage} of episode {lease.episode_id} was taken back")
            others = [unit for unit in units if unit.id != lease.unit_id]
            begun = any(unit.n == JOIN_N or unit.state in (State.RUNNING, State.DONE) for unit in others)
            row = self._transcribe_row(conn, lease.episode_id)
            if begun or row is None or row.params != dict(lease.params):
                return False
            conn.execute(update(work).where(work.c.id == row.id).values(params=saving(row.params, model)))
        return True

    def running(self, tokens: Collection[str]) -> set[str]:
        asked, found = sorted(tokens), set[str]()
        with self._db.read() as conn:
            for table in (chunks, work):
                for start in range(0, len(asked), _MOST_ITEMS):
                    batch = table.c.token.in_(asked[start : start + _MOST_ITEMS])
                    query = select(table.c.token).where(state_is(table, State.RUNNING), batch)
                    found |= set(conn.execute(query).scalars())
        return found
