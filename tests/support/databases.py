"""Databases of one test each, without what would take most of its time: SQLite's have the schema already (to copy one
takes a fiftieth of migrating it), and a statement that one engine has compiled is not compiled by the next."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

from podinsight.adapters.database import SqlStore, open_store
from podinsight.adapters.database.engine import Database
from podinsight.adapters.database.migrate import migrate
from podinsight.domain.hosts import HostLimits
from podinsight.ports import Clock
from tests.support.clock import ManualClock

_COMPILED: dict[str, tuple[Any, Any]] = {}


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
    store = _open(url, clock, limits, stale_seconds)
    _share_statements(store.db)
    return store


def _open(url: str, clock: Clock, limits: HostLimits, stale_seconds: float) -> SqlStore:
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


def _share_statements(db: Database) -> None:
    """SQLAlchemy compiles for a dialect and keeps it with the engine, and each test has an engine of its own: that took
    a third of the contract room's time. The first engine of a kind has connected, so its dialect knows its server."""
    engine: Any = db.engine
    engine.dialect, engine._compiled_cache = _COMPILED.setdefault(
        engine.dialect.name, (engine.dialect, engine._compiled_cache)
    )
