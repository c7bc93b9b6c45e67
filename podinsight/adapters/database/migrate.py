"""Bringing the schema up to date (Alembic), quickly when it already is."""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from podinsight.adapters.database.engine import Database
from podinsight.errors import ConfigError

HEAD = "0013"


def _version(conn: Connection) -> str | None:
    if not inspect(conn).has_table("alembic_version"):
        return None
    return conn.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def migrate(db: Database) -> None:
    """Upgrades to `HEAD` in one transaction that no other process can share.

    Raises:
        ConfigError: the database was made by a newer podinsight.
    """
    with db.read() as conn:
        if _version(conn) == HEAD:
            return
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    with db.write() as conn:
        db.lock(conn, "migrate")
        config.attributes["connection"] = conn
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise ConfigError(
                f"the database's schema ({_version(conn)}) is not known to this podinsight ({HEAD}): install the "
                f"podinsight that wrote it, or a newer one ({error})"
            ) from error
