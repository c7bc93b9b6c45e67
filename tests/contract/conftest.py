"""Fixtures of the status store's contract."""

import pytest

from podinsight.adapters.database import SqlStore
from tests.support.clock import ManualClock
from tests.support.rows import Rows


@pytest.fixture
def rows(store: SqlStore, clock: ManualClock) -> Rows:
    return Rows(store, clock)
