"""The click group behind podrun: every error becomes one line on stderr and an exit code."""

import sys
from typing import Any

import click
from click.exceptions import NoArgsIsHelpError

from podinsight.cli import exits
from podinsight.cli.console import complain, silence_stdout
from podinsight.errors import ConfigError, PodinsightError


class PodrunGroup(click.Group):
    """Commands return their exit code, or None for 0; they are listed in the order in which one needs them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> int:
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()
        except KeyboardInterrupt:
            complain("interrupted")
            return exits.INTERRUPTED
        except BrokenPipeError:
            silence_stdout()
            return exits.OK
        except PodinsightError as error:
            _complain(error)
            return exits.exit_code(error)
        except OSError as error:
            complain(str(error))
            return exits.FAILED
        return code if isinstance(code, int) else exits.OK

    def main(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["standalone_mode"] = False
        try:
            code = super().main(*args, **kwargs)
            sys.stdout.flush()
        except click.Abort:
            complain("interrupted")
            code = exits.INTERRUPTED
        except NoArgsIsHelpError as error:
            error.show()
            code = exits.WRONG_USE
        except click.ClickException as error:
            complain(_usage(error))
            code = exits.WRONG_USE
        except BrokenPipeError:
            silence_stdout()
            code = exits.OK
        sys.exit(code)


def _complain(error: PodinsightError) -> None:
    if isinstance(error, ConfigError):  # one line for each fault
        for line in str(error).splitlines():
            complain(line)
    else:
        complain(str(error))


def _usage(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    where = f" (see `{context.command_path} --help`)" if isinstance(context, click.Context) else ""
    return " ".join(error.format_message().split()).rstrip(".") + where
