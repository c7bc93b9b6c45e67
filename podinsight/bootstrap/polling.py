"""Reading feeds."""

from typing import TYPE_CHECKING

from podinsight.bootstrap.money import price_book
from podinsight.services.poll import PollPorts
from podinsight.settings import Settings

if TYPE_CHECKING:
    from podinsight.bootstrap import Container


def poll_ports(settings: Settings, world: "Container") -> PollPorts:
    """What polling works with."""
    return PollPorts(world.store, world.fetcher, world.parser, world.clock, price_book(settings))
