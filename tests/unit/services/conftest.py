"""What services are tested with: SQLite and objects in memory."""

from collections.abc import Iterator

import pytest

from podinsight.adapters.obstore_objects import S3Options, open_objects
from podinsight.domain.hosts import HostLimits
from podinsight.ports import ObjectStore
from podinsight.topology import AREAS
from tests.support.clock import ManualClock
from tests.support.databases import open_migrated
from tests.support.guarding import Guard
from tests.support.rows import Rows
from tests.support.scaling import Guarded


@pytest.fixture
def rows(clock: ManualClock) -> Iterator[Rows]:
    store = open_migrated("sqlite://", clock, HostLimits({}, 10), 30.0)
    yield Rows(store, clock)
    store.close()


@pytest.fixture
def objects() -> ObjectStore:
    return open_objects(dict.fromkeys(AREAS, "memory:///"), S3Options())


@pytest.fixture
def guard(rows: Rows, objects: ObjectStore) -> Guard:
    return Guard(rows, objects)


@pytest.fixture
def guarded(rows: Rows, objects: ObjectStore) -> Guarded:
    return Guarded(rows, objects)
