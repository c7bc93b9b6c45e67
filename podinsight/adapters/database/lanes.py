"""Lanes: counters that move in the same transaction as the rows, and the rank that shares a lane fairly."""

from collections import Counter, defaultdict
from collections.abc import Iterable

from sqlalchemy import Connection, Table, case, func, select, update

from podinsight.adapters.database.engine import Database
from podinsight.adapters.database.models import lanes, state_is
from podinsight.adapters.database.spending import EndedLease, Spent
from podinsight.domain.work import IN_FLIGHT_STATES, State

# Which counter of audio a state counts for; others want no worker now.
_AUDIO = {State.WAITING: "ms_waiting"} | dict.fromkeys(IN_FLIGHT_STATES, "ms_in_flight")


def lane_ids(db: Database, conn: Connection, stage: str, priority: int, hosts: Iterable[str]) -> dict[str, int]:
    """host → lane id; lanes that are not there are made."""
    wanted = sorted(set(hosts))
    if not wanted:
        return {}
    found: dict[str, int] = {}
    for attempt in range(2):
        for start in range(0, len(wanted), 500):
            query = select(lanes.c.host, lanes.c.id).where(
                lanes.c.stage == stage, lanes.c.priority == priority, lanes.c.host.in_(wanted[start : start + 500])
            )
            found.update({str(row.host): int(row.id) for row in conn.execute(query)})
        missing = [host for host in wanted if host not in found]
        if not missing or attempt:
            break
        conn.execute(db.insert_new(lanes), [{"stage": stage, "priority": priority, "host": host} for host in missing])
    return found


class LaneMoves:
    """Collects what a transaction changed and writes it last, in lane order, so that no two transactions deadlock.

    parents: episodes of which chunks moved, with the reason; their work rows follow before the lanes are written.
    downloads: feed → what to add to its counts of today: downloaded, failed, received.
    settled: episodes whose transcripts others may have waited for, and need not any more.
    ended: leases that end, which are paid last.
    spent: token → what its commit knows of it.
    """

    def __init__(self) -> None:
        self.parents: dict[str, str] = {}
        self.settled: set[str] = set()
        self.ended: list[EndedLease] = []
        self.spent: dict[str, Spent] = {}
        self._moves: dict[int, Counter[str]] = {}
        self._served: dict[int, tuple[int, float]] = {}
        self.downloads: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def move(self, lane_id: int, old: State | None, new: State | None, ms: int, count: int = 1) -> None:
        """`count` units of the lane, of `ms` milliseconds of audio in all, went from `old` (None: did not exist) to
        `new`."""
        if old is new:
            return
        lane = self._moves.setdefault(lane_id, Counter())
        for state, sign in ((old, -1), (new, 1)):
            if state is not None:
                lane[f"n_{state.value}"] += sign * count
            if state in _AUDIO:
                lane[_AUDIO[state]] += sign * ms

    def serve(self, lane_id: int, rank: int, now: float) -> None:
        """The lane had its turn, up to `rank`. A unit that came back at an old rank does not turn the lane back."""
        self._served[lane_id] = (rank, now)

    def write(self, conn: Connection) -> None:
        for lane_id in sorted(self._moves.keys() | self._served.keys()):
            values: dict[str, object] = {
                name: lanes.c[name] + by for name, by in self._moves.get(lane_id, Counter()).items() if by
            }
            if lane_id in self._served:
                rank, now = self._served[lane_id]
                ahead = case((lanes.c.served_rank < rank, rank), else_=lanes.c.served_rank)
                values |= {"served_rank": ahead, "last_served": now}
            if values:
                conn.execute(update(lanes).where(lanes.c.id == lane_id).values(values))
        self._moves.clear()
        self._served.clear()


def next_rank(conn: Connection, table: Table, lane_id: int, feed_id: str) -> int:
    """The rank of a feed's next unit in a lane: start-time fair queueing.

    A feed's units follow each other by one rank; a feed that was not waiting joins at the rank being served now. So
    units of several feeds interleave, and five thousand items of one feed do not stand before ten of another.
    """
    served = conn.execute(select(lanes.c.served_rank).where(lanes.c.id == lane_id)).scalar_one()
    last = conn.execute(
        select(func.max(table.c.rank)).where(
            table.c.lane_id == lane_id, table.c.feed_id == feed_id, state_is(table, State.WAITING)
        )
    ).scalar_one()
    return max(int(served), int(last or 0)) + 1
