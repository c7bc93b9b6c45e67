"""podrun table: the segments of all episodes as one table for Athena (T10)."""

import click

from podinsight import schemas
from podinsight.cli.choosing import find_feed
from podinsight.cli.console import Output, complain, count
from podinsight.cli.exits import FAILED, CommandError
from podinsight.cli.session import Session, json_option, pass_session
from podinsight.domain.table import EMPTY_FOLDER, TABLE, add_partitions, create_table, identifier
from podinsight.services import register as registering

_SHOWN = 20
_table_option = click.option("--table", "name", default=TABLE, show_default=True, help="Name of the table.")
_database_option = click.option("--database", metavar="NAME", help="Put before the table's name.")


@click.group()
def table() -> None:
    """Read all segments as one table with Athena.

    \b
    podrun table ddl         the statement that makes the table, once
    podrun table partitions  the statements that make it see the transcripts
    podrun table register    tells Glue of the transcripts now, without statements
    """


@table.command()
@_table_option
@_database_option
@json_option
@pass_session
def ddl(session: Session, name: str, database: str | None, as_json: bool) -> None:
    """Print the statement that makes the table."""
    out = Output(as_json)
    location = _empty(session)
    try:
        statement = create_table(schemas.text("athena.sql"), location, name, database)
    except ValueError as error:
        raise CommandError(_advice(error, location)) from None
    out.data({"statements": [statement]})
    out.line(f"{statement};")


@table.command()
@click.option("--feed", metavar="SLUG", help="Transcripts of this feed alone.")
@_table_option
@_database_option
@json_option
@pass_session
def partitions(session: Session, feed: str | None, name: str, database: str | None, as_json: bool) -> None:
    """Print the statements that register every transcript that is there.

    What is registered already stays as it is, so all of it may be run again whenever transcripts have landed.
    """
    out = Output(as_json)
    kept: list[str] = []
    number = 0
    try:
        identifier(name, database)
        episodes = registering.landed(session.store, find_feed(session.store, feed) if feed else None)
        landed = registering.partitions(session.container.objects, episodes)
        for statement in add_partitions(landed, name, database):
            number += 1
            out.line(f"{statement};\n")
            if as_json:
                kept.append(statement)
    except ValueError as error:
        raise CommandError(_advice(error, _empty(session))) from None
    out.data({"statements": kept})
    if not number:
        complain("no transcript is there yet: nothing to register")


@table.command()
@click.option("--feed", metavar="SLUG", help="Transcripts of this feed alone.")
@json_option
@pass_session
def register(session: Session, feed: str | None, as_json: bool) -> None:
    """Register every transcript that is there in Glue (PODINSIGHT_GLUE_TABLE).

    Workers do so by themselves with what lands; this is for a table that was made anew, or for many at once. What is
    registered already stays as it is.
    """
    out = Output(as_json)
    world = session.container
    if not world.table.name:
        raise CommandError("no table is set to register in: PODINSIGHT_GLUE_TABLE=database.table (docs/outputs.md)")
    feed_id = find_feed(world.store, feed) if feed else None
    with out.waiting(f"registering in {world.table.name}"):
        report = registering.register_all(world.store, world.objects, world.table, feed_id)
    out.data({"table": world.table.name, "registered": report.registered, "faults": report.faults})
    if report.faults:
        refused = [f"{count(len(report.faults), 'partition')} refused", *report.faults[:_SHOWN]]
        raise CommandError("\n".join(refused), FAILED)
    if report.registered:
        out.line(f"{count(report.registered, 'transcript')} registered in {world.table.name}")
    else:
        complain("no transcript is there yet: nothing to register")


def _empty(session: Session) -> str:
    return session.container.objects.where(f"stage/{EMPTY_FOLDER}")


def _advice(error: ValueError, location: str) -> str:
    if location.startswith("s3://"):
        return str(error)
    return f"{error}: Athena reads S3 alone. DuckDB reads a folder as it is: docs/outputs.md"
