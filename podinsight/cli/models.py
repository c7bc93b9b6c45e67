"""podrun models: which Whisper models are here, and fetching one."""

import click

from podinsight.cli.console import Output, complain
from podinsight.cli.exits import CommandError
from podinsight.cli.session import Session, json_option, pass_session
from podinsight.errors import Permanent


@click.group()
def models() -> None:
    """List and fetch Whisper models."""


@models.command("list")
@json_option
@pass_session
def list_models(session: Session, as_json: bool) -> None:
    """List the models that can be used without a download."""
    from podinsight import bootstrap

    out = Output(as_json)
    found = bootstrap.list_models(session.settings)
    chosen = session.settings.model
    out.data(
        {
            "default": chosen,
            "models": [{"name": each.name, "source": each.source, "where": str(each.where)} for each in found],
        }
    )
    rows = [(each.name, "yes" if each.name == chosen else "", each.source, each.where) for each in found]
    out.table(("model", "default", "from", "where"), rows)
    if chosen not in {each.name for each in found}:
        out.line(f"the default model {chosen} is not here yet: `podrun models fetch {chosen}`")


@models.command()
@click.argument("name")
@json_option
@pass_session
def fetch(session: Session, name: str, as_json: bool) -> None:
    """Make sure that a model is on this machine, complete: before going offline, say."""
    from podinsight import bootstrap

    out = Output(as_json)
    where = bootstrap.fetch_model(session.settings, name)
    out.data({"name": name, "where": str(where)})
    out.line(f"{name} is in {where}")


def need_model(session: Session, name: str) -> None:
    """Downloads a model that is not here. Raises CommandError (wrong use), naming the three ways to get it."""
    from podinsight import bootstrap

    try:
        bootstrap.find_model(session.settings, name)
    except Permanent:
        click.echo(f"podrun: the model {name} is not here yet: trying to download it", err=True)
        try:
            bootstrap.fetch_model(session.settings, name)
        except Permanent as error:
            raise CommandError(str(error)) from error


def mention_missing(session: Session, name: str) -> None:
    """Says it when a model is not here, and goes on."""
    from podinsight import bootstrap

    try:
        bootstrap.find_model(session.settings, name)
    except Permanent as error:
        complain(str(error))
