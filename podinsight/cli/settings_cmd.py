"""podrun settings."""

import click

from podinsight.cli.console import Output
from podinsight.cli.session import Session, json_option, pass_session
from podinsight.settings import effective


@click.command()
@json_option
@pass_session
def settings(session: Session, as_json: bool) -> None:
    """Show the settings in force, secrets masked."""
    out = Output(as_json)
    rows = effective(session.settings)
    out.data({"settings": [row._asdict() for row in rows]})
    out.table(("setting", "value", "from", "meaning"), rows)
