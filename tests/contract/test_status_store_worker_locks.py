"""Whoever locks many workers' rows does so in one order, so that none deadlocks (adapters/database/units.py)."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from podinsight.adapters.database import SqlStore
from podinsight.domain.prices import Price

NAMES = ["g10", "G2", "g-1", "g1", "é1"]
LIVE = Price(7, "live")


@contextmanager
def sorted_otherwise(store: SqlStore) -> Iterator[list[str]]:
    """A database that sorts workers in an order of its own, as by another collation. Gives whose rows are written, or
    locked, one after the other."""
    locked: list[str] = []

    def turn(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_more: Any) -> tuple[str, Any]:
        if re.search(r"FROM workers\s+WHERE workers\.pool", statement):
            statement = re.sub(r"\sORDER BY workers\.id", "", statement)
            head, locks, tail = statement.partition(" FOR UPDATE")
            return f"{head} ORDER BY workers.id DESC{locks}{tail}", parameters
        if statement.startswith("UPDATE workers"):
            said = parameters.values() if isinstance(parameters, dict) else parameters
            locked.append("+".join(each for each in said if each in NAMES))
        return statement, parameters

    event.listen(store.db.engine, "before_cursor_execute", turn, retval=True)
    try:
        yield locked
    finally:
        event.remove(store.db.engine, "before_cursor_execute", turn)


@pytest.mark.parametrize(
    "write",
    [
        lambda store: store.workers.reprice("gpu", dict.fromkeys(NAMES, LIVE)),
        lambda store: store.workers.shut("gpu", 4, "a drill"),
    ],
    ids=["reprice", "shut"],
)
def test_workers_are_locked_in_the_order_in_which_leases_lock_them(
    store: SqlStore, write: Callable[[SqlStore], object]
) -> None:
    """G1: leases that end lock them as Python sorts their names, whatever the database makes of `ORDER BY`."""
    for name in NAMES:
        store.workers.register(name, "here", "gpu", 1, 1)
    with sorted_otherwise(store) as locked:
        write(store)
    assert locked == sorted(NAMES)
