"""SQLite databases that have the schema already: to copy one takes a fiftieth of the time that migrating it takes."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path

from sqlalchemy.engine import make_url

from podinsight.adapters.database import SqlStore, open_store
from podinsight.adapters.database.engine import Database
from podinsight.adapters.database.migrate import migrate
from podinsight.domain.hosts import HostLimits
from podinsight.ports import Clock
from tests.support.clock import ManualClock


@cache
def _migrated() -> SqlStore:
    """A store in memory as the migrations leave it; nobody writes to it."""
    return open_store("sqlite://", ManualClock(), HostLimits({}, 10), 30.0)


def _copy(target: sqlite3.Connection) -> None:
    with _raw(_migrated().db) as source:
        source.backup(target)


@contextmanager
def _raw(db: Database) -> Iterator[sqlite3.Connection]:
    with closing(db.engine.raw_connection()) as connection:
        raw = connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        yield raw


def prepare(path: Path) -> None:
    """Makes a database file with the schema where there is none."""
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        with closing(sqlite3.connect(path)) as target:
            target.execute("PRAGMA synchronous=OFF")  # it outlives nothing
            _copy(target)


def open_migrated(url: str, clock: Clock, limits: HostLimits, stale_seconds: float) -> SqlStore:
    """As adapters.database.open_store, whose migrations find nothing to do where the database is SQLite's."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return open_store(url, clock, limits, stale_seconds)
    if parsed.database:
        prepare(Path(parsed.database))
        return open_store(url, clock, limits, stale_seconds)
    db = Database(url)
    with _raw(db) as target:
        _copy(target)
    migrate(db)
    return SqlStore(db, clock, limits, stale_seconds)
