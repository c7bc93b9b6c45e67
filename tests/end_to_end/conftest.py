"""What the tests of this room share."""

from collections.abc import Iterator

import pytest

from tests.support.webserver import WebServer


@pytest.fixture(scope="module")
def web() -> Iterator[WebServer]:
    """Publishers and their files."""
    with WebServer() as server:
        yield server
