"""What has landed waits to be registered in the table of all segments until it is (T10)."""

from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text

from podinsight.adapters import database
from podinsight.adapters.database import SqlStore
from podinsight.adapters.database.catalogue_tables import episodes
from podinsight.adapters.database.engine import Database
from podinsight.adapters.database.migrate import migrate
from podinsight.domain.feed import FeedItem
from podinsight.ports import Holding
from tests.conftest import LIMITS, STALE_SECONDS
from tests.support.clock import ManualClock
from tests.support.rows import FILES, LEASE_SECONDS, TOOK, Rows


def waiting(rows: Rows, limit: int = 99) -> list[str]:
    return [episode.id for episode in rows.store.catalogue.unregistered(limit)]


def landed(rows: Rows, count: int) -> list[str]:
    """Episodes with transcripts, a second between each two."""
    ids = rows.transcribes(count)
    for episode_id in ids:
        rows.transcribe(episode_id)
        rows.clock.advance(1)
    return ids


def test_it_waits_from_the_moment_its_transcript_has_its_names(rows: Rows) -> None:
    one, other = rows.transcribes(2)
    lease = rows.claim(one, "transcribe", "g1")
    join = rows.work.commit_chunk(lease, "part-0", TOOK, LEASE_SECONDS)
    assert join is not None
    rows.work.commit_transcript(join, FILES)
    assert waiting(rows) == []
    rows.project("transcribe", one)
    assert waiting(rows) == [one]
    (episode,) = rows.store.catalogue.unregistered(9)
    assert episode.transcript_key == FILES.transcript_key
    rows.store.catalogue.registered([one, other, "nobody"])
    assert waiting(rows) == []


def test_those_that_wait_longest_come_first_and_those_put_off_last(rows: Rows) -> None:
    ids = landed(rows, 4)
    assert waiting(rows, 2) == ids[:2]
    rows.store.catalogue.register_later([ids[0], ids[2]])
    assert waiting(rows)[:2] == [ids[1], ids[3]]
    assert set(waiting(rows)[2:]) == {ids[0], ids[2]}
    rows.store.catalogue.registered([ids[1]])
    rows.store.catalogue.register_later([ids[1]])  # by another pass, which was slower
    assert ids[1] not in waiting(rows)
    rows.store.catalogue.registered([])
    rows.store.catalogue.register_later([])
    assert len(waiting(rows)) == 3


def test_what_is_taken_over_waits_too(rows: Rows) -> None:
    feed = rows.store.intake.archive_feed("old", None)
    episode, made = rows.store.intake.adopt(
        feed.id, Holding(FeedItem("g", "t", "https://a.test/g.mp3"), "g", None, FILES)
    )
    assert (made, waiting(rows)) == (("transcribe",), [])
    rows.project("transcribe", episode.id)
    assert waiting(rows) == [episode.id]


def test_an_index_of_those_alone_gives_them(rows: Rows) -> None:
    """Flat however many rows there are."""
    landed(rows, 2)
    assert isinstance(rows.store, SqlStore)
    query = "SELECT id FROM episodes WHERE unregistered IS NOT NULL ORDER BY unregistered LIMIT 300"
    with rows.store.db.read() as conn:
        if not rows.store.db.is_sqlite:
            for way in ("seqscan", "bitmapscan"):  # two rows are read in any way, and sorted
                conn.execute(text(f"SET LOCAL enable_{way} = off"))
        words = "EXPLAIN QUERY PLAN" if rows.store.db.is_sqlite else "EXPLAIN"
        plan = " ".join(str(row) for row in conn.execute(text(f"{words} {query}")))
    assert "ix_episodes_unregistered" in plan
    assert "TEMP B-TREE" not in plan
    assert "Sort" not in plan


@pytest.fixture
def bare_url(request: pytest.FixtureRequest, database_url: str) -> str:
    """Of a database without a schema."""
    return str(request.getfixturevalue("postgres_url")) if database_url.startswith("postgresql") else database_url


def test_transcripts_of_an_older_podinsight_wait_too(bare_url: str, clock: ManualClock) -> None:
    """0005."""
    db = Database(bare_url)
    config = Config()
    config.set_main_option("script_location", str(Path(str(database.__file__)).parent / "migrations"))
    with db.write() as conn:
        config.attributes["connection"] = conn
        command.upgrade(config, "0004")
        conn.execute(text("INSERT INTO feeds (id, url, slug, created_at) VALUES ('f', 'https://f.test/', 'f', 0)"))
        columns = "id, feed_id, guid, guid_key, folder, title, url, host, transcripts, created_at, transcript_key"
        for n, key in enumerate(("NULL", "'stage/f/g1/transcripts/transcript.json'")):
            row = f"'e{n}', 'f', 'g{n}', 'g{n}', 'g{n}', 't', 'https://a.test/', 'a.test', '[]', {n + 7}, {key}"
            conn.exec_driver_sql(f"INSERT INTO episodes ({columns}) VALUES ({row})")
    migrate(db)
    store = SqlStore(db, clock, LIMITS, STALE_SECONDS)
    assert [episode.id for episode in store.catalogue.unregistered(9)] == ["e1"]
    with db.read() as conn:
        assert conn.execute(episodes.select().with_only_columns(episodes.c.unregistered)).scalars().all() == [None, 8.0]
    store.close()
