"""The table of all segments, in a catalogue that query engines read (T10)."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from podinsight.domain.table import Partition


class SegmentTable(Protocol):
    """Where the segments of episodes are registered as partitions."""

    @property
    def name(self) -> str:
        """`database.table`; empty when there is none, and nothing is to be registered."""
        ...

    def register(self, partitions: Sequence[Partition]) -> Mapping[Partition, str]:
        """Makes partitions of the table; those that are there already stay as they are, so that the same may be said
        again, also after a call that was cut off in the midst.

        Returns those that the catalogue refused one by one, with its reasons; all others are registered.

        Raises:
            ConfigError: there is no table, or one that the DDL did not make, or nobody says who asks and where.
            Unavailable: the catalogue does not answer, or has too much to do; some may be registered nonetheless.
            Permanent: it denies it.
        """
        ...
