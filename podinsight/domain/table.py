"""All segments as one table for Athena (T10): its DDL, and its partitions, registered as transcripts land. Pure.

The table itself points at a folder in which nothing lies, and every partition at the `segments` folder of one episode,
which holds segments.json alone. A table that points at the whole stage area instead reads transcripts, captions,
kpis.json and the files of unfinished work as rows. Projecting partitions instead of registering them would not do:
GUIDs cannot be listed beforehand, and columns of projection type `injected` can only be asked for by value, so that no
query could go over all episodes.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from string import Template
from typing import Final

TABLE: Final = "pod_insight_transcripts"
EMPTY_FOLDER: Final = (
    f".tables/{TABLE}"  # below stage: no feed's folder begins with a dot, and Hive reads none that does
)
PARTITION_KEYS: Final = ("feed_slug", "guid")  # in the order of their values, as in athena.sql
MOST_PARTITIONS: Final = 100  # a statement: what Glue takes in one request (BatchCreatePartition)

_NAME: Final = re.compile(r"[a-z0-9_]{1,255}")  # what Athena takes as the name of a table or a database


@dataclass(frozen=True)
class Partition:
    """The segments of one episode: `location` is the `s3://` URL of the folder that holds segments.json."""

    feed_slug: str
    guid: str
    location: str

    @property
    def folder(self) -> str:
        """The location as catalogues want a folder: with a slash at its end. Raises ValueError when not on S3."""
        return _folder(self.location)


def create_table(template: str, location: str, table: str = TABLE, database: str | None = None) -> str:
    """The DDL of the table.

    Args:
        template: podinsight/schemas/athena.sql.
        location: the `s3://` URL of a folder in which nothing lies.

    Raises:
        ValueError: a name that Athena does not take, or a location that is not on S3.
    """
    return Template(template).substitute(table=identifier(table, database), location=literal(_folder(location))).strip()


def add_partitions(partitions: Iterable[Partition], table: str = TABLE, database: str | None = None) -> Iterator[str]:
    """Statements that register partitions; those that are registered already stay as they are.

    Raises:
        ValueError: as `create_table`.
    """
    name, rest = identifier(table, database), iter(partitions)
    while batch := list(islice(rest, MOST_PARTITIONS)):
        lines = [
            f"  PARTITION (`feed_slug` = {literal(each.feed_slug)}, `guid` = {literal(each.guid)})\n"
            f"  LOCATION {literal(each.folder)}"
            for each in batch
        ]
        yield "\n".join([f"ALTER TABLE {name} ADD IF NOT EXISTS", *lines])


def identifier(table: str, database: str | None = None) -> str:
    """In backticks, as Athena's DDL wants names. Raises ValueError for what it does not take."""
    names = [table] if database is None else [database, table]
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name for Athena: lower-case letters, digits and underscores")
    return ".".join(f"`{name}`" for name in names)


def literal(text: str) -> str:
    """In single quotes, with backslashes before what would end them (Hive's rule, which Athena's DDL follows).

    Raises:
        ValueError: it holds a control character.
    """
    if any(not character.isprintable() for character in text):
        raise ValueError(f"a control character in {text!r}")
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _folder(url: str) -> str:
    if not url.startswith("s3://"):
        raise ValueError(f"{url} is not on S3")
    return url.rstrip("/") + "/"
