"""What the tests of this room share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stand_in_stack import StandInStack, make_stack


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[StandInStack]:
    stack = make_stack(tmp_path / "state")
    yield stack
    stack.down()
    assert stack.processes() == []
