"""Money for tests: what budgets say recounted from reservations and ledger, and racers for the last dollars."""

import random
from collections import Counter
from collections.abc import Sequence

from sqlalchemy import select

from podinsight.adapters.database import SqlStore
from podinsight.adapters.database.fleet_tables import workers
from podinsight.adapters.database.models import chunks
from podinsight.adapters.database.money_tables import budgets, ledger, reservations
from podinsight.domain.budget import Account, Limits, Scope, accounts
from podinsight.domain.money import Micros, Unit
from podinsight.domain.prices import CUDA, LOCAL, Price, PriceBook, Service, Terms
from podinsight.domain.quote import CPU
from podinsight.domain.work import FREE_LOSSES, Lease, State
from podinsight.errors import LeaseLost
from podinsight.ports import Entry, LedgerLine, OpenReservation, Reservation
from tests.conftest import LIMITS, STALE_SECONDS
from tests.support.racers import opened
from tests.support.rows import APPROVED, FILES, PARAMS, TOOK, Rows

SECOND = 1000  # micro-dollars of a second of the GPU of TERMS, so that a millisecond costs just one
TERMS = Terms(PriceBook({CPU: LOCAL, CUDA: Price(3600 * SECOND, "test")}), least_speed=0.5)
ALL_PRICED = Terms(
    PriceBook(
        {CPU: Price(360 * SECOND, "test"), CUDA: Price(3600 * SECOND, "test")},
        {Service.CPU: Price(36 * SECOND, "test"), Service.NAT: Price(45_000, "test")},
    ),
    least_speed=0.5,
    max_audio_bytes=2 * 10**9,
)


def entry(micros: Micros, stage: str = "transcribe", service: str = "gpu", device_kind: str = "T4") -> Entry:
    """A line that costs just this."""
    return Entry(stage, service, micros, Unit.EACH, 1, device_kind)


def recount_money(store: SqlStore) -> None:
    """Spent is the sum of the ledger and reserved that of the open reservations, in every budget."""
    spent: Counter[Account] = Counter()
    reserved: Counter[Account] = Counter()
    with store.db.read() as conn:
        for row in conn.execute(select(ledger)):
            gpu = row.device_kind and (row.device_kind != CPU or row.price_micros > 0)
            for account in accounts(row.day, episode_id=row.episode_id, run_id=row.run_id, gpu=bool(gpu)):
                spent[account] += row.micros
        for row in conn.execute(select(reservations).where(reservations.c.state == "open")):
            for account in accounts(row.day, episode_id=row.episode_id, run_id=row.run_id, gpu=row.gpu):
                reserved[account] += row.micros
        found = {(Scope(row.scope), row.key): (row.spent, row.reserved) for row in conn.execute(select(budgets))}
    assert {account: figures for account, figures in found.items() if any(figures)} == {
        account: (spent[account], reserved[account])
        for account in {*spent, *reserved}
        if spent[account] or reserved[account]
    }


def paid_to_the_end(store: SqlStore) -> dict[str, int]:
    """What holds once all work has ended: nothing is reserved, spent is the ledger, whoever committed a chunk is paid
    for once, and nobody has spent more time or money than he had. Returns the milliseconds of each lease by token."""
    assert not store.purse.unsettled(float("inf"), 10)
    recount_money(store)
    with store.db.read() as conn:
        kept = {row.token: row for row in conn.execute(select(reservations))}
        found = conn.execute(select(ledger).where(ledger.c.service == Service.GPU.value)).all()
        parts = conn.execute(select(chunks.c.part_key).where(chunks.c.n >= 0)).scalars().all()
    lines = {line.token: line for line in found}
    assert len(lines) == len(found), "a line each"
    assert {str(part).split(".")[-2] for part in parts} <= set(lines), "of whoever committed, too"
    for token, line in lines.items():
        lease = kept[token]
        assert 0 < line.micros <= lease.micros
        assert 0 < line.quantity <= 1000 * (lease.closed_at - lease.at) + 1
    return {token: line.quantity for token, line in lines.items()}


def spend_all(url: str, racer: int, episode_id: str, tries: int, store: SqlStore | None = None) -> tuple[Micros, int]:
    """Reserves odd amounts for one episode, now and then settles or releases one; returns the most that it ever saw
    spent and reserved of the episode, and how often it was let in."""
    mine = store or opened(url)
    dice, most, let_in = random.Random(racer), 0, 0
    ceilings = Limits().ceilings()
    for n in range(tries):
        token, asked = f"{racer}-{n}", dice.randrange(1, 200_003)
        if (
            mine.purse.reserve(Reservation(token, asked, episode_id=episode_id, run_id=f"r{racer % 3}"), ceilings)
            is None
        ):
            let_in += 1
            match dice.randrange(4):
                case 0:
                    mine.purse.release(token)
                case 1:
                    mine.purse.settle(token, [entry(dice.randrange(asked)), entry(1)])
        budget = mine.purse.budget(Scope.ITEM, episode_id)
        most = max(most, budget.spent + budget.reserved)
    if store is None:
        mine.close()
    return most, let_in


class Paying(Rows):
    """Rows of a store with prices, and what the money says of them."""

    def under(self, terms: Terms) -> "Paying":
        """The same database, with other prices or ceilings."""
        return Paying(SqlStore(self.store.db, self.clock, LIMITS, STALE_SECONDS, terms), self.clock)

    def device(self, name: str, device: str = CUDA, pool: str = "gpu") -> str:
        self.store.workers.register(name, "machine", pool, 1, 1, device)
        return name

    def planned(self, count: int = 1, approved: str = APPROVED, run: str = "") -> str:
        """An episode with chunks of a minute each that wait; worker `g1` has a GPU."""
        (episode_id,) = self.episodes(1)
        params = {**PARAMS, "run": run} if run else PARAMS
        self.work.enqueue_fetch([episode_id], 5, params, approved)
        self.fetch(episode_id)
        self.plan(episode_id, count)
        self.device("g1")
        return episode_id

    def open(self) -> list[OpenReservation]:
        return self.store.purse.unsettled(float("inf"), 100)

    def lines(self, stage: str = "transcribe") -> list[LedgerLine]:
        return [each for each in self.store.purse.entries("0000-01-01", "9999-12-31") if each.entry.stage == stage]

    def budget(self, scope: Scope, key: str) -> tuple[Micros, Micros]:
        """Spent and reserved."""
        budget = self.store.purse.budget(scope, key)
        return budget.spent, budget.reserved

    def chunk_states(self, episode_id: str) -> list[State]:
        query = select(chunks.c.state).where(chunks.c.episode_id == episode_id).order_by(chunks.c.n)
        with self.store.db.read() as conn:
            return [State(value) for value in conn.execute(query).scalars()]

    def busy(self, worker: str = "g1") -> int:
        """Milliseconds."""
        with self.store.db.read() as conn:
            return int(conn.execute(select(workers.c.busy_ms).where(workers.c.id == worker)).scalar_one())


def work_all(url: str, racer: int, episode_ids: Sequence[str], store: SqlStore | None = None) -> list[str]:
    """Claims a chunk of each episode until none is left, and renews, commits, hands back and loses them one by one or
    all at once, as the dice fall; now and then it lets what is over its budget wait again, and it says each time what
    all workers cost. Returns whose transcript it committed."""
    mine = store or opened(url)
    worker, dice = f"g{racer}", random.Random(racer)
    mine.workers.register(worker, "here", "gpu", racer, 1, CUDA)
    joined: list[str] = []
    idle = 0
    while idle < 3:
        idle += 1
        mine.work.dispatch("chunk", 6)
        order = dice.sample(list(episode_ids), len(episode_ids))
        claims = [mine.work.claim("transcribe", episode_id, worker, 90) for episode_id in order]
        leases = [lease for lease in claims if lease is not None]
        if leases:
            idle = 0
        if dice.random() < 0.6 and all(lease.losses < FREE_LOSSES for lease in leases):
            mine.work.expire_worker(worker)
        else:
            for lease in leases:
                joined += _work(mine, lease, dice)
        mine.workers.retire(worker)  # leases nothing just now, and yet must not lock itself out
        mine.workers.mark(worker, "ready")
        if dice.random() < 0.5:
            mine.work.release_over_budget()
        # The scaler's tick: it writes the workers' rows, which leases that end lock too.
        said = Price(3600 * SECOND, f"tick {racer}.{idle}")
        mine.workers.reprice("gpu", {view.id: said for view in mine.workers.list()})
    if store is None:
        mine.close()
    return joined


def _work(store: SqlStore, lease: Lease, dice: random.Random) -> list[str]:
    assert lease.span is not None
    try:
        store.work.renew(lease, dice.choice([90.0, 200.0, 400.0]))
        match dice.randrange(6):
            case 0:
                store.work.hand_back(lease)
            case 1 if lease.losses < FREE_LOSSES:
                store.work.renew(lease, 0.0)
                store.work.reconcile(60)
        join: Lease | None = lease
        if not lease.span.is_join:
            join = store.work.commit_chunk(lease, f"part-{lease.span.n}", TOOK, 90)
        if join is not None:
            store.work.commit_transcript(join, FILES)
            return [lease.episode_id]
    except LeaseLost:
        pass
    return []
