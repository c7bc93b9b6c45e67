"""What a lease may cost, and what it has cost when it ends: one place for every way in which one ends (G1, G2).

A lease on a chunk that a device has to hear costs the time of that device; one on a fetch or a plan costs the time of a
worker, a fetch also what it brings in. What has a price is reserved when the lease begins and settled when it ends;
what has none is written into the ledger alone, and no budget is touched.

An hour of a device costs what its worker's row says (ports.Workers.reprice), or else what the price book says of its
kind. That may change while a lease is open: a renewal reserves what is missing for the whole of it, its past included,
at the price in force then. It is settled at the price in force when it ends, for all of it, never above what was
reserved: after a price that fell, or a machine that more workers share by then, the ledger may have less than was paid.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Connection, Row, select, update

from podinsight.adapters.database.catalogue_tables import episodes
from podinsight.adapters.database.engine import Database
from podinsight.adapters.database.episode_rows import episode_query, to_episode
from podinsight.adapters.database.fleet_tables import workers
from podinsight.adapters.database.guard import recall_on
from podinsight.adapters.database.models import work
from podinsight.adapters.database.reservations import (
    charge_on,
    extend_on,
    find_reservation,
    lock_settlements,
    reserve_on,
    settle_on,
    write_lines,
)
from podinsight.adapters.database.worker_prices import PRICED_BY, kind_of, price_of
from podinsight.domain.budget import Refusal, accounts
from podinsight.domain.days import day_of
from podinsight.domain.money import PRICED, Micros, Unit, cost, cost_of, milliseconds
from podinsight.domain.prices import Price, Service, Terms
from podinsight.domain.publisher import usable
from podinsight.domain.work import Lease
from podinsight.ports.money import Bearer, Entry, Reservation

_PLAN_SECONDS: Final = 900.0  # at worst: nothing ends a plan but its lease, which is renewed while it gets on
_RUN: Final = 64  # characters of a run's id that the tables hold


@dataclass(frozen=True)
class EndedLease:
    """A lease that ends in this transaction. chunked: it is on a chunk, and on no fetch or plan. began, until: epoch
    seconds; it ends now, if not before."""

    token: str
    stage: str
    chunked: bool
    episode_id: str
    feed_id: str
    worker: str
    began: float
    until: float

    @classmethod
    def of(cls, row: Row[Any], chunked: bool) -> "EndedLease":
        """The lease on this row, which was claimed when the row changed last. What its worker did after the lease had
        run out was not reserved: it is idle time."""
        began, until = float(row.changed_at), float(row.lease_until)
        return cls(row.token, row.stage, chunked, row.episode_id, row.feed_id, row.worker, began, until)


@dataclass(frozen=True)
class Spent:
    """What whoever ends a lease knows of it. seconds: of wall clock, None: as long as the lease; size: bytes that came
    in; model: that decoded; heard: a device did."""

    seconds: float | None = None
    size: int = 0
    model: str = ""
    heard: bool = True


@dataclass(frozen=True)
class _Bill:
    """kept: the reservation's row, None when nothing was reserved. ms: that the worker's device was busy."""

    lease: EndedLease
    kept: Row[Any] | None
    bearer: Bearer
    entries: Sequence[Entry]
    ms: int

    @property
    def counts(self) -> bool:
        """Whether budgets change."""
        return self.kept is not None or any(each.micros for each in self.entries)


class Till:
    """Reserves and settles for the work rows, each within the caller's transaction."""

    def __init__(self, db: Database, terms: Terms) -> None:
        self._db, self._terms = db, terms

    def hour(self, worker: Row[Any] | None) -> Price:
        """An hour of this worker's device. worker: its row, with PRICED_BY; None when it is not known any more."""
        return price_of(worker) or self._terms.prices.device(kind_of(worker))

    def has_price(self, stage: str, hour: Price) -> bool:
        """Whether anything is reserved for a lease of this stage, an hour of whose holder costs this."""
        return any(self._rates(stage, hour))

    def asked(
        self, conn: Connection, row: Row[Any], lease: Lease, device: Price, lease_seconds: float
    ) -> Reservation | None:
        """What is to be reserved for a lease on this row; None for what has no price. device: from `hour`."""
        chunk = lease.span is not None
        hour, extra = self._rates(row.stage, device)
        if lease.span is not None and lease.span.is_join:
            return None
        params = lease.params if chunk else self._params(conn, lease.episode_id)
        if chunk and not self.is_heard(conn, lease.episode_id, params):
            return None
        seconds = max(lease_seconds, self._longest(conn, row, lease))
        return Reservation(
            lease.token,
            cost(seconds, hour) + extra,
            lease.kind,
            lease.unit_id,
            lease.episode_id,
            row.feed_id,
            run_of(params),
            gpu=chunk,
        )

    def reserve(self, conn: Connection, now: float, asked: Reservation) -> Refusal | None:
        return reserve_on(self._db, conn, now, asked, self._terms.limits.ceilings(), _burn(conn))

    def extend(self, conn: Connection, now: float, row: Row[Any], lease: Lease, lease_seconds: float) -> Refusal | None:
        """Reserves what is missing for a lease on this row that goes on from now: beside what is reserved, or all of it
        where it cost nothing when it was claimed. A refusal changes nothing."""
        kept = find_reservation(conn, lease.token)
        device = self.hour(_worker(conn, lease.worker))
        hour, extra = self._rates(lease.stage, device)
        asked, more = None, 0
        if kept is not None:
            more = max(0, cost(_span(kept.at, now + lease_seconds), hour) + extra - int(kept.micros))
        elif hour or extra:
            asked = self.asked(conn, row, lease, device, lease_seconds)
        if asked is None and not more:
            return None
        with conn.begin_nested() as savepoint:
            if asked is not None:
                refused = self.reserve(conn, now, asked)
            else:
                refused = extend_on(self._db, conn, lease.token, more, self._terms.limits.ceilings(), _burn(conn))
            if refused is not None:
                savepoint.rollback()
        return refused

    def settle(self, conn: Connection, now: float, leases: Iterable[EndedLease], spent: Mapping[str, Spent]) -> None:
        """All leases that end in this transaction, after everything else that it locks but the workers."""
        found = (self._bill(conn, now, lease, spent.get(lease.token)) for lease in leases)
        bills = sorted((bill for bill in found if bill is not None), key=lambda bill: bill.lease.token)
        counting = [bill for bill in bills if bill.counts]
        if len(counting) > 1:
            wanted = {account for bill in counting for account in _accounts(bill)}
            lock_settlements(self._db, conn, [bill.lease.token for bill in counting], wanted)
        busy: dict[str, int] = {}
        for bill in bills:
            token = bill.lease.token
            if bill.kept is not None:
                if not settle_on(self._db, conn, now, token, bill.entries):
                    continue  # somebody settled it for a lease that had been forgotten
            elif bill.counts:
                charge_on(self._db, conn, now, token, bill.bearer, bill.entries)
            else:
                write_lines(conn, now, bill.bearer, token, bill.entries)
            busy[bill.lease.worker] = busy.get(bill.lease.worker, 0) + bill.ms
        for worker in sorted(name for name, ms in busy.items() if ms):
            more = update(workers).where(workers.c.id == worker)
            conn.execute(more.values(busy_ms=workers.c.busy_ms + busy[worker]))

    def _bill(self, conn: Connection, now: float, lease: EndedLease, spent: Spent | None) -> _Bill | None:
        """None: there is nothing to write down."""
        kept = find_reservation(conn, lease.token)
        params = self._params(conn, lease.episode_id)
        until = min(now, lease.until)
        began = lease.began if kept is None else float(kept.at)
        if not lease.chunked:
            if kept is None and spent is None:
                return None
            seconds = _span(began, until) if spent is None or spent.seconds is None else spent.seconds
            entries, busy = self._of_work(lease.stage, seconds, spent), 0
        else:
            heard = spent.heard if spent is not None else self.is_heard(conn, lease.episode_id, params)
            if kept is None and not heard:
                return None
            worker = _worker(conn, lease.worker)
            model = (spent.model if spent is not None else "") or str(params.get("model") or "")
            ms = milliseconds(_span(began, until))
            price, kind = self.hour(worker), kind_of(worker)
            entries = [Entry.priced(lease.stage, Service.GPU, ms, Unit.MILLISECONDS, price, kind, model)]
            since = began if worker is None else max(began, float(worker.started_at))
            busy = milliseconds(_span(since, until))  # of this life: one before it may have had the lease
        if kept is not None:
            entries = _within(int(kept.micros), entries)
        day = day_of(began) if kept is None else str(kept.day)
        return _Bill(lease, kept, Bearer(day, lease.episode_id, lease.feed_id, run_of(params)), entries, busy)

    def _of_work(self, stage: str, seconds: float, spent: Spent | None) -> list[Entry]:
        """Of a lease that ran out nobody knows what it has brought in: its time alone is counted."""
        prices = self._terms.prices
        ms = milliseconds(_span(0.0, seconds))
        entries = [Entry.priced(stage, Service.CPU, ms, Unit.MILLISECONDS, prices.service(Service.CPU))]
        if stage == "fetch" and spent is not None:
            entries.append(Entry.priced(stage, Service.NAT, spent.size, Unit.BYTES, prices.service(Service.NAT)))
        return entries

    def _rates(self, stage: str, device: Price) -> tuple[Micros, Micros]:
        """The price of an hour of a lease, and what else it costs at worst. device: from `hour`."""
        prices = self._terms.prices
        if stage == "transcribe":
            return device.micros, 0
        nat = prices.service(Service.NAT).micros if stage == "fetch" else 0
        return prices.service(Service.CPU).micros, cost_of(self._terms.max_audio_bytes, Unit.BYTES, nat)

    def _longest(self, conn: Connection, row: Row[Any], lease: Lease) -> float:
        """Seconds that a unit takes at worst, as far as that is known; each renewal reserves what is missing."""
        if lease.span is None:
            return self._terms.fetch_seconds if row.stage == "fetch" else _PLAN_SECONDS
        end = lease.span.end
        if end is None:  # a row that was made before there were plans
            query = select(episodes.c.audio_seconds).where(episodes.c.id == lease.episode_id)
            end = conn.execute(query).scalar_one_or_none() or 0.0
        return _span(lease.span.start, end) / self._terms.least_speed

    def _params(self, conn: Connection, episode_id: str) -> Mapping[str, object]:
        query = select(work.c.params).where(work.c.episode_id == episode_id, work.c.stage == "transcribe")
        return dict(conn.execute(query).scalar_one_or_none() or {})

    def is_heard(self, conn: Connection, episode_id: str, params: Mapping[str, object]) -> bool:
        """Whether a device decodes it: not what its publisher wrote or a twin has, nor what nobody has approved."""
        if params.get("same_as") or not params.get("approved"):
            return False
        if params.get("publisher") is False:
            return True
        row = conn.execute(episode_query().where(episodes.c.id == episode_id)).first()
        return row is None or usable(to_episode(row), params) is None


def _worker(conn: Connection, worker: str) -> Row[Any] | None:
    """Who holds a lease: what it costs, and since when it is there."""
    return conn.execute(select(workers.c.started_at, *PRICED_BY).where(workers.c.id == worker)).first()


def _accounts(bill: _Bill) -> Iterable[Any]:
    gpu = (bill.kept is not None and bool(bill.kept.gpu)) or any(each.gpu for each in bill.entries)
    run = bill.bearer.run_id if bill.kept is None else str(bill.kept.run_id)
    return accounts(bill.bearer.day, episode_id=bill.bearer.episode_id, run_id=run, gpu=gpu)


def _within(reserved: Micros, entries: Sequence[Entry]) -> list[Entry]:
    """These entries, together for no more than was reserved, for which alone the ceilings hold. More they can be by a
    price that came after the claim (a market's, other settings, a worker that is not known any more), or by a download
    that began again."""
    found: list[Entry] = []
    for each in entries:
        if each.micros > reserved:
            price = reserved * PRICED[each.unit] // each.quantity
            each = replace(each, price=price, price_source="reserved", estimated=True)
        reserved -= each.micros
        found.append(each)
    return found


def run_of(params: Mapping[str, object]) -> str:
    """The run under which a row with these params is paid; empty: none."""
    return str(params.get("run") or "")[:_RUN]


def _burn(conn: Connection) -> Micros:
    """What the fleet costs until somebody looks again, as it was reckoned last."""
    micros = (recall_on(conn, "burn") or {}).get("micros")
    return max(0, micros) if isinstance(micros, int) else 0


def _span(since: float, until: float) -> float:
    """Seconds, without what the last bits of epoch times are off; none when a clock was set back."""
    return max(0.0, round(until - since, 6))
