"""Reserving and settling inside a transaction that is open already, such as a claim's.

On PostgreSQL the rows of `budgets` are locked in the order of the scopes, and a row that is missing is made before any
is locked, so two transactions never wait for each other. All work of a day shares the last of them: whoever calls this
within a larger transaction does it last. On SQLite the transaction itself is the lock.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, and_, bindparam, case, false, insert, or_, select, update

from podinsight.adapters.database.engine import Database, storable
from podinsight.adapters.database.models import inline
from podinsight.adapters.database.money_tables import budgets, ledger, reservations
from podinsight.domain.budget import BURNS, RANK, Account, Budget, Ceilings, Refusal, Scope, accounts, refusal
from podinsight.domain.days import day_of, month_of_day
from podinsight.domain.money import Micros, usd
from podinsight.errors import Permanent, Unavailable
from podinsight.ports.money import Bearer, Entry, Reservation

OPEN, SETTLED, RELEASED = "open", "settled", "released"
_NO_CEILING: Final = 2**62

_ORDER = case(*((budgets.c.scope == inline(scope.value), inline(rank)) for scope, rank in RANK.items()))
_THIS = (budgets.c.scope == bindparam("of_scope"), budgets.c.key == bindparam("of_key"))
_HELD = budgets.c.reserved + bindparam("asked")
_RESERVE = (
    update(budgets)
    .where(*_THIS, budgets.c.spent + _HELD + bindparam("burn") <= bindparam("most"))
    .values(reserved=_HELD)
)
_PAY = (
    update(budgets)
    .where(*_THIS)
    .values(reserved=budgets.c.reserved - bindparam("freed"), spent=budgets.c.spent + bindparam("paid"))
)
_OF_TOKEN = select(reservations).where(reservations.c.token == bindparam("of_token"))
_OF_TOKEN_LOCKED = _OF_TOKEN.with_for_update()


def reserve_on(
    db: Database, conn: Connection, now: float, asked: Reservation, ceilings: Ceilings, burn: Micros = 0
) -> Refusal | None:
    """ports.Purse.reserve within this transaction; a refusal leaves every amount as it was."""
    if burn < 0:
        raise ValueError(f"a fleet cannot burn {burn} micro-dollars")
    if _granted(conn, asked):
        return None
    day = day_of(now)
    wanted = accounts(day, episode_id=asked.episode_id, run_id=asked.run_id, gpu=asked.gpu)
    refused, found = _look(db, conn, wanted, asked.micros, ceilings, burn)
    if refused is not None:
        return None if _granted(conn, asked) else refused
    if not _note(db, conn, now, day, asked):  # somebody reserved under this token just now
        if _granted(conn, asked):
            return None
        raise Unavailable(f"nothing could be reserved under {asked.token}")
    _hold(conn, found, asked.micros, ceilings, burn)
    return None


def extend_on(
    db: Database, conn: Connection, token: str, more: Micros, ceilings: Ceilings, burn: Micros = 0
) -> Refusal | None:
    """Reserves `more` under a token that has an open reservation, in the same budgets; a refusal changes nothing.

    Raises:
        Permanent: nothing is reserved under it (any more).
    """
    row = find_reservation(conn, token, lock=True)
    if row is None or row.state != OPEN:
        raise Permanent(f"nothing is reserved under {token}")
    wanted = accounts(row.day, episode_id=row.episode_id, run_id=row.run_id, gpu=row.gpu)
    refused, found = _look(db, conn, wanted, more, ceilings, burn)
    if refused is None:
        _hold(conn, found, more, ceilings, burn)
        grown = update(reservations).where(reservations.c.id == row.id)
        conn.execute(grown.values(micros=reservations.c.micros + more))
    return refused


def lock_settlements(db: Database, conn: Connection, tokens: Sequence[str], wanted: Iterable[Account]) -> None:
    """Before several settlements in one transaction: locks their reservations, then all of their budgets in the order
    of the scopes. One after the other they would lock an episode's budget after the day's."""
    if db.is_sqlite:
        return
    for token in sorted(tokens):
        find_reservation(conn, token, lock=True)
    in_order = sorted(wanted, key=lambda each: (RANK[each[0]], each[1]))
    make_budgets(db, conn, in_order)
    read_budgets(conn, in_order, lock=True)


def settle_on(db: Database, conn: Connection, now: float, token: str, entries: Sequence[Entry]) -> bool:
    """ports.Purse.settle within this transaction."""
    row = find_reservation(conn, token, lock=True)
    if row is None:
        raise Permanent(f"nothing was reserved under {token}")
    if row.state == SETTLED:
        return False
    bearer = Bearer(row.day, row.episode_id, row.feed_id, row.run_id)
    _pay(db, conn, bearer, row.gpu, int(row.micros) if row.state == OPEN else 0, entries)
    write_lines(conn, now, bearer, token, entries)
    _close(conn, row, SETTLED, now)
    return True


def release_on(db: Database, conn: Connection, now: float, token: str) -> bool:
    """ports.Purse.release within this transaction."""
    row = find_reservation(conn, token, lock=True)
    if row is None or row.state != OPEN:
        return False
    _pay(db, conn, Bearer(row.day, row.episode_id, row.feed_id, row.run_id), row.gpu, int(row.micros), ())
    _close(conn, row, RELEASED, now)
    return True


def charge_on(db: Database, conn: Connection, now: float, token: str, bearer: Bearer, entries: Sequence[Entry]) -> bool:
    """ports.Purse.charge within this transaction."""
    return charge_all_on(db, conn, now, {token: (bearer, entries)})


def charge_all_on(
    db: Database, conn: Connection, now: float, charges: Mapping[str, tuple[Bearer, Sequence[Entry]]]
) -> bool:
    """Several of them in one transaction, by token. Returns False when one of the tokens has been used; then the
    transaction is to be rolled back."""
    for token, (bearer, _entries) in sorted(charges.items()):
        asked = Reservation(token, 0, "", 0, bearer.episode_id, bearer.feed_id, bearer.run_id, gpu=False)
        if not _note(db, conn, now, bearer.day, asked, SETTLED):
            return False
    if len(charges) > 1:
        lock_settlements(db, conn, (), {each for charge in charges.values() for each in _accounts(*charge)})
    for token, (bearer, entries) in sorted(charges.items()):
        _pay(db, conn, bearer, False, 0, entries)
        write_lines(conn, now, bearer, token, entries)
    return True


def read_budgets(conn: Connection, wanted: Sequence[Account], *, lock: bool = False) -> list[Budget]:
    """These budgets in the order of the scopes, all zero where there is none; lock: until the transaction ends."""
    found = _found(conn, wanted, lock=lock)
    return [found.get(each, Budget(*each)) for each in sorted(wanted, key=lambda each: (RANK[each[0]], each[1]))]


def make_budgets(db: Database, conn: Connection, wanted: Iterable[Account]) -> None:
    """Makes the rows that are missing, all zero."""
    rows = [{"scope": scope.value, "key": key} for scope, key in wanted]
    if rows:
        conn.execute(db.insert_new(budgets), rows)


def _found(conn: Connection, wanted: Sequence[Account], *, lock: bool = False) -> dict[Account, Budget]:
    values: dict[str, str] = {}
    for n, (scope, key) in enumerate(wanted):
        values |= {f"scope{n}": scope.value, f"key{n}": key}
    return {
        (Scope(scope), key): Budget(Scope(scope), key, int(reserved), int(spent), ceiling)
        for scope, key, reserved, spent, ceiling in conn.execute(_query(len(wanted), lock), values)
    }


@cache
def _query(count: int, lock: bool) -> Select[Any]:
    """The rows of so many budgets, by `scope0`, `key0` …; kept, because to build it takes longer than to run it."""
    these = [
        and_(budgets.c.scope == bindparam(f"scope{n}"), budgets.c.key == bindparam(f"key{n}")) for n in range(count)
    ]
    query = select(budgets).where(or_(false(), *these))
    return query.order_by(_ORDER, budgets.c.key).with_for_update() if lock else query


def _look(
    db: Database, conn: Connection, wanted: Sequence[Account], asked: Micros, ceilings: Ceilings, burn: Micros
) -> tuple[Refusal | None, dict[Account, Budget]]:
    """Whether so much fits in all of these budgets, and the budgets; if it does, they are there and locked."""
    found = _found(conn, wanted)
    # Who is refused by what he sees takes no lock: a stampede for the last dollar stays outside.
    refused = refusal([found.get(each, Budget(*each)) for each in wanted], asked, ceilings, burn)
    if refused is None:
        make_budgets(db, conn, [each for each in wanted if each not in found])
        if not db.is_sqlite:
            found = _found(conn, wanted, lock=True)
            refused = refusal(found.values(), asked, ceilings, burn)
    return refused, {each: found.get(each, Budget(*each)) for each in wanted}


def _hold(conn: Connection, found: dict[Account, Budget], asked: Micros, ceilings: Ceilings, burn: Micros) -> None:
    changes = [
        {
            "of_scope": each[0].value,
            "of_key": each[1],
            "asked": asked,
            "burn": burn if each[0] in BURNS else 0,
            "most": _NO_CEILING if (most := budget.lowest(ceilings)) is None else most,
        }
        for each, budget in found.items()
    ]
    if conn.execute(_RESERVE, changes).rowcount != len(found):
        raise Unavailable("a budget changed while something was reserved in it: nothing was reserved")


def _granted(conn: Connection, asked: Reservation) -> bool:
    """Whether just this is reserved under its token. Raises Permanent when the token stands for something else."""
    row = find_reservation(conn, asked.token)
    if row is None:
        return False
    same = (row.micros, row.episode_id, row.run_id, row.gpu) == (
        asked.micros,
        asked.episode_id,
        asked.run_id,
        asked.gpu,
    )
    if row.state != OPEN or not same:
        raise Permanent(f"the token {asked.token} has been used: {usd(int(row.micros))}, {row.state}")
    return True


def find_reservation(conn: Connection, token: str, *, lock: bool = False) -> Row[Any] | None:
    """The row of this token; lock: until the transaction ends."""
    return conn.execute(_OF_TOKEN_LOCKED if lock else _OF_TOKEN, {"of_token": token}).first()


def _note(db: Database, conn: Connection, now: float, day: str, asked: Reservation, state: str = OPEN) -> bool:
    """Stores the reservation; False when the token is there already."""
    values = {
        "token": asked.token,
        "unit_kind": asked.unit_kind,
        "unit_id": asked.unit_id,
        "episode_id": asked.episode_id,
        "feed_id": asked.feed_id,
        "run_id": asked.run_id,
        "micros": asked.micros,
        "day": day,
        "gpu": asked.gpu,
        "state": state,
        "at": now,
        "closed_at": None if state == OPEN else now,
    }
    made = db.insert_new(reservations).returning(reservations.c.id)
    return conn.execute(made, values).first() is not None


def _close(conn: Connection, row: Row[Any], state: str, now: float) -> None:
    conn.execute(update(reservations).where(reservations.c.id == row.id).values(state=state, closed_at=now))


def _accounts(bearer: Bearer, entries: Sequence[Entry], gpu: bool = False) -> tuple[Account, ...]:
    """The budgets in which these entries count."""
    gpu = gpu or any(each.gpu for each in entries)
    return accounts(bearer.day, episode_id=bearer.episode_id, run_id=bearer.run_id, gpu=gpu)


def _pay(db: Database, conn: Connection, bearer: Bearer, gpu: bool, freed: Micros, entries: Sequence[Entry]) -> None:
    """Frees what was reserved and adds what was spent, in every budget of the bearer."""
    paid, on_gpu = sum(each.micros for each in entries), sum(each.micros for each in entries if each.gpu)
    wanted = _accounts(bearer, entries, gpu)
    make_budgets(db, conn, wanted)
    if not db.is_sqlite:
        read_budgets(conn, wanted, lock=True)
    changes = [
        {
            "of_scope": scope.value,
            "of_key": key,
            "freed": freed if gpu or scope is not Scope.GPU_DAY else 0,
            "paid": on_gpu if scope is Scope.GPU_DAY else paid,
        }
        for scope, key in wanted
    ]
    conn.execute(_PAY, changes)


def write_lines(conn: Connection, now: float, bearer: Bearer, token: str, entries: Sequence[Entry]) -> None:
    """Lines of the ledger alone, for what costs nothing: who calls this knows that it was not written before."""
    rows = [
        {
            "token": token,
            "at": now,
            "day": bearer.day,
            "month": month_of_day(bearer.day),
            "episode_id": bearer.episode_id,
            "feed_id": bearer.feed_id,
            "run_id": bearer.run_id,
            "stage": each.stage,
            "service": each.service,
            "quantity": each.quantity,
            "unit": each.unit.value,
            "price_micros": each.price,
            "micros": each.micros,
            "device_kind": each.device_kind,
            "price_source": each.price_source,
            "estimated": each.estimated,
            "note": storable(each.note)[:2000],
        }
        for each in entries
    ]
    if rows:
        conn.execute(insert(ledger), rows)
