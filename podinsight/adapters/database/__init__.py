"""The StatusStore port on SQL: SQLite embedded, PostgreSQL in production (SQLAlchemy, Alembic)."""

from podinsight.adapters.database.catalogue import SqlCatalogue
from podinsight.adapters.database.commits import Commits
from podinsight.adapters.database.dispatching import Dispatching
from podinsight.adapters.database.economy import Economy
from podinsight.adapters.database.engine import Database
from podinsight.adapters.database.guard import SqlAlerts, SqlFindings, SqlMemory
from podinsight.adapters.database.hosts import SqlHosts
from podinsight.adapters.database.intake import SqlIntake
from podinsight.adapters.database.metrics import SqlMetrics
from podinsight.adapters.database.migrate import migrate
from podinsight.adapters.database.purse import SqlPurse
from podinsight.adapters.database.registry import SqlControl, SqlWorkers
from podinsight.adapters.database.speech_days import SqlSpeech
from podinsight.adapters.database.views import Views
from podinsight.domain.hosts import HostLimits
from podinsight.domain.prices import Terms
from podinsight.ports import Clock


class SqlWork(Dispatching, Commits, Economy, Views):
    """ports.WorkRows."""


class SqlStore:
    """ports.StatusStore."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        limits: HostLimits,
        stale_seconds: float,
        terms: Terms | None = None,
    ) -> None:
        terms = terms or Terms()
        self.db = db
        self.catalogue = SqlCatalogue(db, clock, limits)
        self.intake = SqlIntake(db, clock, limits, terms)
        self.work = SqlWork(db, clock, limits, terms)
        self.workers = SqlWorkers(db, clock, stale_seconds)
        self.control = SqlControl(db, clock)
        self.hosts = SqlHosts(db, clock, limits)
        self.metrics = SqlMetrics(db)
        self.speech = SqlSpeech(db, clock)
        self.purse = SqlPurse(db, clock)
        self.findings = SqlFindings(db, clock)
        self.alerts = SqlAlerts(db, clock)
        self.memory = SqlMemory(db, clock)

    def ping(self) -> None:
        with self.db.read() as conn:
            conn.exec_driver_sql("SELECT 1")

    def close(self) -> None:
        self.db.close()


def open_store(
    url: str, clock: Clock, host_limits: HostLimits, stale_seconds: float, terms: Terms | None = None
) -> SqlStore:
    """Opens the database and brings its schema up to date. terms: by what work is reserved and settled.

    Raises:
        Unavailable: it does not answer.
        ConfigError: its schema is newer than this podinsight.
    """
    db = Database(url)
    migrate(db)
    return SqlStore(db, clock, host_limits, stale_seconds, terms)
