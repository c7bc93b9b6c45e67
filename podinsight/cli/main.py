"""podrun: the command line of podinsight."""

import io
import sys

import click

from podinsight import __version__
from podinsight.cli import (
    adopt,
    approve,
    control,
    costs,
    demo,
    episodes,
    exits,
    feeds,
    fleet,
    gate,
    hosts,
    manifest,
    models,
    notify,
    retry,
    run,
    settings_cmd,
    show,
    stack,
    status,
    table,
)
from podinsight.cli.group import PodrunGroup
from podinsight.cli.session import Session


@click.group(cls=PodrunGroup, epilog=exits.HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="podrun")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Podcast feeds in, transcripts out.

    \b
    podrun up                            start broker, workers, beat and Flower
    podrun feeds add URL                 follow a feed
    podrun fetch --limit 5 --transcribe  download and transcribe its first episodes
    podrun status                        see what runs and what failed
    """
    if not isinstance(ctx.obj, Session):
        ctx.obj = Session()
    ctx.call_on_close(ctx.obj.close)


for command in (
    demo.demo,
    *stack.COMMANDS,
    feeds.feeds,
    episodes.episodes,
    manifest.manifest,
    adopt.adopt,
    *run.COMMANDS,
    retry.retry,
    approve.approve,
    approve.approvals,
    gate.gate,
    hosts.hosts,
    status.status,
    show.show,
    table.table,
    *control.COMMANDS,
    costs.costs,
    notify.notify,
    *fleet.COMMANDS,
    models.models,
    settings_cmd.settings,
):
    cli.add_command(command)


def main() -> None:
    """The entry point `podrun`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a title may hold what the terminal's encoding does not
    cli(prog_name="podrun")


if __name__ == "__main__":
    main()
