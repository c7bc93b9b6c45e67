"""Money for tests: what budgets say recounted from reservations and ledger, and racers for the last dollars."""

import random
from collections import Counter

from sqlalchemy import select

from podinsight.adapters.database import SqlStore
from podinsight.adapters.database.money_tables import budgets, ledger, reservations
from podinsight.domain.budget import Account, Limits, Scope, accounts
from podinsight.domain.money import Micros, Unit
from podinsight.ports import Entry, Reservation
from tests.support.racers import opened


def entry(micros: Micros, stage: str = "transcribe", service: str = "gpu", device_kind: str = "T4") -> Entry:
    """A line that costs just this."""
    return Entry(stage, service, micros, Unit.EACH, 1, device_kind)


def recount_money(store: SqlStore) -> None:
    """Spent is the sum of the ledger and reserved that of the open reservations, in every budget."""
    spent: Counter[Account] = Counter()
    reserved: Counter[Account] = Counter()
    with store.db.read() as conn:
        for row in conn.execute(select(ledger)):
            gpu = row.device_kind not in ("", "cpu")
            for account in accounts(row.day, episode_id=row.episode_id, run_id=row.run_id, gpu=gpu):
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
