"""Connections and transactions: SQLite (WAL, BEGIN IMMEDIATE) and PostgreSQL behind two context managers."""

import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DataError, DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool, StaticPool

from podinsight.adapters.database.turns import WriteTurns
from podinsight.errors import ConfigError, Permanent, Unavailable

BUSY_SECONDS = 30.0
# A server that went away without a word is noticed within a minute, not after the kernel's two hours.
_POSTGRESQL = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


def storable(text: str) -> str:
    """Without what a database cannot hold: NUL characters and lone surrogates."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")


def make_engine(url: str) -> Engine:
    """An engine for `sqlite://` (in memory), `sqlite:///path` or `postgresql+psycopg://…`.

    PostgreSQL: 4 connections a process and 4 more under load, so a dozen processes stay under 100 (DESIGN.md, Data).

    Raises:
        ConfigError: the URL is none of these, its driver is not installed, or the folder above the file's is missing.
    """
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() != "sqlite":
            return create_engine(
                url,
                pool_size=4,
                max_overflow=4,
                pool_pre_ping=True,
                pool_timeout=BUSY_SECONDS,
                connect_args=_POSTGRESQL,
                hide_parameters=True,
            )
    except (ArgumentError, ImportError) as error:
        # The URL itself is not shown: there may be a password in it.
        raise ConfigError(f"the database's URL cannot be used: {_cause(error)}") from error
    memory = not parsed.database or parsed.database == ":memory:"
    if memory:
        engine = create_engine(
            "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}, hide_parameters=True
        )
    else:
        _make_folder(Path(str(parsed.database)).parent)
        engine = create_engine(
            url, connect_args={"timeout": BUSY_SECONDS}, pool_size=4, max_overflow=20, hide_parameters=True
        )

    @event.listens_for(engine, "connect")
    def _connect(raw: Any, _record: object) -> None:
        raw.isolation_level = None  # we say BEGIN ourselves
        cursor = raw.cursor()
        cursor.execute(f"PRAGMA busy_timeout={int(BUSY_SECONDS * 1000)}")
        _use_wal(cursor)
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        # A deferred BEGIN that writes later fails under contention (DESIGN.md, Data); readers need no write lock.
        connection.exec_driver_sql("BEGIN" if options.get("podinsight_read") else "BEGIN IMMEDIATE")

    return engine


def _make_folder(folder: Path) -> None:
    """One level alone: a path with a typo in it is an error, and not a new, empty archive."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise ConfigError(f"the database's folder {folder} cannot be made: {error.strerror}") from error


def _use_wal(cursor: sqlite3.Cursor) -> None:
    """The file keeps the mode; for the lock that the first switch takes SQLite does not wait, whatever the time-out."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.02)


class Database:
    """Transactions. Every `write` is one transaction that commits at the end of its block, or not at all."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = make_engine(url)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        # In memory there is one connection: its transactions must not interleave between threads.
        self._one_at_a_time = threading.RLock() if isinstance(self.engine.pool, StaticPool) else None
        on_disk = self.is_sqlite and not self._one_at_a_time
        file = str(self.engine.url.database)
        self._turns = WriteTurns(Path(f"{file}-turn")) if on_disk else None
        self._dispatch_turns = WriteTurns(Path(f"{file}-dispatch")) if on_disk else None

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A read-write transaction.

        Raises:
            Unavailable: the database does not answer or stays locked.
            Permanent: it does not take a value.
        """
        with self._turns.turn() if self._turns else nullcontext(), self._transaction(read=False) as connection:
            yield connection

    def dispatch_turn(self) -> AbstractContextManager[object]:
        """Keeps other dispatches to this SQLite database out for the block."""
        if self._dispatch_turns is not None:
            return self._dispatch_turns.turn()
        return self._one_at_a_time or nullcontext()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent read. Raises Unavailable like `write`."""
        with self._transaction(read=True) as connection:
            yield connection

    @contextmanager
    def _transaction(self, read: bool) -> Iterator[Connection]:
        if self._one_at_a_time:
            self._one_at_a_time.acquire()
        try:
            with self.engine.connect() as connection:
                if read and self.is_sqlite:
                    connection = connection.execution_options(podinsight_read=True)
                with connection.begin():
                    yield connection
        except (OperationalError, PoolTimeout) as error:
            raise Unavailable(f"the database does not answer: {_cause(error)}") from error
        except DBAPIError as error:
            if type(error) is DatabaseError:
                raise Unavailable(f"the database cannot be read: {_cause(error)}") from error
            if error.connection_invalidated:
                raise Unavailable(f"the database connection broke: {_cause(error)}") from error
            if isinstance(error, DataError | IntegrityError):
                raise Permanent(f"the database does not take this: {_cause(error)}") from error
            raise
        finally:
            if self._one_at_a_time:
                self._one_at_a_time.release()

    def lock(self, conn: Connection, name: str, *, shared: bool = False) -> None:
        """Waits for the lock `name` and holds it until the transaction ends. SQLite's write lock is one already."""
        if not self.is_sqlite:
            take = func.pg_advisory_xact_lock_shared if shared else func.pg_advisory_xact_lock
            conn.execute(select(take(_lock_key(name))))

    def try_lock(self, conn: Connection, name: str) -> bool:
        """Like `lock`, but False instead of waiting."""
        return self.is_sqlite or bool(
            conn.execute(select(func.pg_try_advisory_xact_lock(_lock_key(name)))).scalar_one()
        )

    def insert_new(self, table: Table) -> "sqlite.Insert | postgresql.Insert":
        """INSERT … ON CONFLICT DO NOTHING."""
        if self.is_sqlite:
            return sqlite.insert(table).on_conflict_do_nothing()
        return postgresql.insert(table).on_conflict_do_nothing()

    def upsert(self, table: Table, key: str, values: Mapping[str, object]) -> "sqlite.Insert | postgresql.Insert":
        """INSERT … ON CONFLICT (key) DO UPDATE with the same values."""
        return self.merge(table, [key], values, lambda _new: {n: v for n, v in values.items() if n != key})

    def merge(
        self,
        table: Table,
        keys: Sequence[str],
        values: Mapping[str, object],
        change: Callable[[Any], dict[str, object]],
    ) -> "sqlite.Insert | postgresql.Insert":
        """INSERT … ON CONFLICT (keys) DO UPDATE with what `change` makes of the row that was to be inserted."""
        if self.is_sqlite:
            lite = sqlite.insert(table).values(dict(values))
            return lite.on_conflict_do_update(index_elements=list(keys), set_=change(lite.excluded))
        post = postgresql.insert(table).values(dict(values))
        return post.on_conflict_do_update(index_elements=list(keys), set_=change(post.excluded))

    def add_up(
        self, table: Table, key: Mapping[str, object], counts: Mapping[str, float]
    ) -> "sqlite.Insert | postgresql.Insert":
        """Adds `counts` to the row of this key, which is made if need be."""
        return self.merge(
            table, list(key), {**key, **counts}, lambda new: {name: table.c[name] + new[name] for name in counts}
        )

    def close(self) -> None:
        """A SQLite file then holds everything by itself, as far as no other process is in the midst of something."""
        pool = self.engine.pool
        if self.is_sqlite and isinstance(pool, QueuePool) and pool.checkedin():
            with suppress(DBAPIError, PoolTimeout, sqlite3.Error):
                raw = self.engine.raw_connection()
                try:
                    cursor = raw.cursor()
                    cursor.execute("PRAGMA busy_timeout=200")
                    cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                finally:
                    raw.invalidate()
        self.engine.dispose()
        for turns in (self._turns, self._dispatch_turns):
            if turns is not None:
                turns.close()


def _lock_key(name: str) -> int:
    return zlib.crc32(f"podinsight {name}".encode())


def _cause(error: Exception) -> str:
    """The driver's own first line: no SQL, no parameters, no password."""
    original = getattr(error, "orig", None) or error
    return str(original).strip().splitlines()[0] if str(original).strip() else type(original).__name__
