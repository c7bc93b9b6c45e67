"""A lease that is kept in the background."""

from typing import cast

import pytest

from podinsight.domain.work import Lease
from podinsight.errors import LeaseLost
from podinsight.ports import WorkRows
from podinsight.services.lease import Heart, LeaseTimes


def test_who_was_frozen_for_longer_than_the_lease_goes_on_with_nothing() -> None:
    """Its thread was frozen as well: nobody has said yet that the lease is lost."""
    lease = Lease("work", 1, "fetch", "e", "w", "t", 0, 0)
    heart = Heart(cast(WorkRows, None), lease, LeaseTimes(-1.0, 20.0, 600.0), lambda: False)
    with pytest.raises(LeaseLost, match="in time"):
        heart.beat()


def test_who_is_in_time_goes_on() -> None:
    lease = Lease("work", 1, "fetch", "e", "w", "t", 0, 0)
    Heart(cast(WorkRows, None), lease, LeaseTimes(90.0, 20.0, 600.0), lambda: False).beat()
