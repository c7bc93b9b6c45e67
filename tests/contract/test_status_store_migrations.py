"""The schema: made by migrations alone, equal to the models, never older than what wrote it."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from podinsight.adapters import database
from podinsight.adapters.database import SqlStore, open_store
from podinsight.adapters.database.engine import Database
from podinsight.adapters.database.migrate import HEAD, migrate
from podinsight.adapters.database.models import metadata
from podinsight.domain.feed import Document, FeedItem, ParsedFeed
from podinsight.domain.prices import Price
from podinsight.domain.quote import Approval, ApprovalView, total
from podinsight.domain.quote_lines import Amounts
from podinsight.errors import ConfigError
from tests.conftest import LIMITS, STALE_SECONDS
from tests.support.clock import ManualClock


@pytest.fixture
def database_url(request: pytest.FixtureRequest, database_url: str) -> str:
    """Without a schema: here it is the migration that is tested."""
    return str(request.getfixturevalue("postgres_url")) if database_url.startswith("postgresql") else database_url


def test_a_fresh_database_is_at_head(store: SqlStore) -> None:
    with store.db.read() as conn:
        assert conn.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == [HEAD]
    scripts = ScriptDirectory(str(Path(str(database.__file__)).parent / "migrations"))
    assert scripts.get_heads() == [HEAD]


def test_models_and_migrations_agree(store: SqlStore) -> None:
    with store.db.read() as conn:
        context = MigrationContext.configure(conn, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_partial_indexes_agree_too(store: SqlStore) -> None:
    """Alembic does not compare what an index leaves out."""
    dialect = "sqlite" if store.db.is_sqlite else "postgresql"
    with store.db.read() as conn:
        found = {
            index["name"]: index.get("dialect_options", {}).get(f"{dialect}_where")
            for table in metadata.tables
            for index in inspect(conn).get_indexes(table)
            if not index.get("duplicates_constraint")
        }
    wanted = {
        index.name: index.dialect_options[dialect]["where"]
        for table in metadata.tables.values()
        for index in table.indexes
    }
    assert found.keys() == wanted.keys()
    assert {name for name, where in found.items() if where is None} == {
        name for name, where in wanted.items() if where is None
    }
    if store.db.is_sqlite:  # PostgreSQL spells conditions in its own way
        assert {n: str(w) for n, w in found.items()} == {n: str(w) for n, w in wanted.items()}


def test_what_an_older_podinsight_knew_is_known_by_its_enclosure(database_url: str, clock: ManualClock) -> None:
    """0002: the audio of before is not fetched again under a new GUID (F10)."""
    db = Database(database_url)
    with db.write() as conn:
        upgrade(conn, "0001")
        conn.execute(text("INSERT INTO feeds (id, url, slug, created_at) VALUES ('f', 'https://f.test/', 'f', 0)"))
        columns = "id, feed_id, guid, guid_key, folder, title, url, host, transcripts, created_at"
        for n, url in enumerate(("https://a.test/1.mp3?token=4f3Kd92QxLm7Zt4Rb8Wc", "https://bad.test:port/")):
            row = f"'e{n}', 'f', 'g{n}', 'g{n}', 'g{n}', 't', '{url}', 'a.test', '[]', 0"
            conn.exec_driver_sql(f"INSERT INTO episodes ({columns}) VALUES ({row})")
    migrate(db)
    store = SqlStore(db, clock, LIMITS, STALE_SECONDS)
    item = FeedItem("anew", "t", "http://a.test/1.mp3")
    assert store.catalogue.record_poll("f", Document("https://f.test/", None), ParsedFeed("F", items=(item,)), 0) == 0
    one, _two = store.catalogue.first_episodes(None)
    assert (one.id, one.url, one.persons, one.publisher) == ("e0", item.url, (), ())
    store.close()


def test_what_was_approved_in_dollars_is_so_in_micro_dollars(database_url: str, clock: ManualClock) -> None:
    """0011: rows keep their amounts, to the micro-dollar, and their numbers (T2)."""
    db = Database(database_url)
    with db.write() as conn:
        upgrade(conn, "0010")
        columns = '"by", rule, why, at, episodes, audio_seconds, usd_low, usd_likely, usd_high'
        for amounts in ("0.1512, 0.302401, 1234567.890123", "0, 0, 0", "0.0000004, 0.0000006, 0.3"):
            row = f"'ada', '', 'a trial', 0.5, 3, 60, {amounts}"
            conn.exec_driver_sql(f"INSERT INTO approvals ({columns}) VALUES ({row})")
    migrate(db)
    store = SqlStore(db, clock, LIMITS, STALE_SECONDS)
    assert store.speech.approvals(9) == [
        ApprovalView(0.5, "ada", "", "a trial", 3, 60.0, cost)
        for cost in (Amounts(0, 1, 300_000), Amounts(), Amounts(151_200, 302_401, 1_234_567_890_123))
    ]
    assert store.speech.approved("1970-01-01") == 1_234_567_890_123 + 300_000
    store.speech.approve(Approval("grace", "", "", total([], "cuda", Price(1, "test"))))
    assert [each.by for each in store.speech.approvals(9)] == ["grace", "ada", "ada", "ada"], "their numbers go on"
    store.close()


def upgrade(conn: Connection, revision: str) -> None:
    """Up to an older schema than the newest."""
    config = Config()
    config.set_main_option("script_location", str(Path(str(database.__file__)).parent / "migrations"))
    config.attributes["connection"] = conn
    command.upgrade(config, revision)


def test_opening_again_changes_nothing(store: SqlStore, database_url: str, clock: ManualClock) -> None:
    if database_url == "sqlite://":
        migrate(store.db)
        return
    store.control.tick("before")
    again = open_store(database_url, clock, LIMITS, STALE_SECONDS)
    assert "before" in again.control.ticks()
    again.close()


def test_a_newer_schema_is_refused(store: SqlStore) -> None:
    with store.db.write() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigError, match="9999"):
        migrate(store.db)
    with store.db.read() as conn:
        assert conn.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "9999"


def test_a_new_file_that_somebody_writes_is_waited_for(tmp_path: Path, clock: ManualClock) -> None:
    """SQLite itself does not wait with the switch to WAL, which only a new file needs."""
    path = tmp_path / "new.db"
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(1) as threads:
        opening = threads.submit(open_store, f"sqlite:///{path}", clock, LIMITS, STALE_SECONDS)
        with pytest.raises(TimeoutError):
            opening.result(timeout=0.2)
        writer.execute("COMMIT")
        opening.result(timeout=30).close()
    writer.close()


def test_a_folder_may_have_any_name(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "50 %").mkdir()
    store = open_store(f"sqlite:///{tmp_path}/50 %/a b/new.db", clock, LIMITS, STALE_SECONDS)
    store.ping()
    store.close()


def test_a_folder_with_a_typo_is_no_new_archive(tmp_path: Path, clock: ManualClock) -> None:
    with pytest.raises(ConfigError, match="archvie/db"):
        open_store(f"sqlite:///{tmp_path}/archvie/db/podinsight.db", clock, LIMITS, STALE_SECONDS)
    assert list(tmp_path.iterdir()) == []


def test_a_closed_file_holds_everything(tmp_path: Path, clock: ManualClock) -> None:
    """Even while another process has it open, so that SQLite itself would leave the log as it is."""
    path = tmp_path / "podinsight.db"
    store = open_store(f"sqlite:///{path}", clock, LIMITS, STALE_SECONDS)
    other = sqlite3.connect(path)
    other.execute("SELECT * FROM ticks").fetchall()
    store.control.tick("last")
    log = Path(f"{path}-wal")
    assert log.stat().st_size > 0
    store.close()
    assert log.stat().st_size == 0
    assert other.execute("SELECT name FROM ticks").fetchall() == [("last",)]
    other.close()
