"""podrun settings."""

import click

from podinsight.cli.console import Output, complain
from podinsight.cli.session import Session, json_option, pass_session
from podinsight.settings import effective


@click.command()
@json_option
@pass_session
def settings(session: Session, as_json: bool) -> None:
    """Show the settings in force, secrets masked.

    Exit code 2 when a file or an address that they name cannot be used.
    """
    from podinsight.bootstrap.money import check, doubts  # imports every adapter

    out = Output(as_json)
    rows = effective(session.settings)
    out.data({"settings": [row._asdict() for row in rows]})
    out.table(("setting", "value", "from", "meaning"), rows)
    check(session.settings)
    for line in doubts(session.settings):
        complain(line)
