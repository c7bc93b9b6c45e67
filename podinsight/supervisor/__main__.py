"""`python -m podinsight.supervisor run | keep`: settings from the environment; exit codes 0, 2 (settings), 3 (port)."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from podinsight.errors import ConfigError
from podinsight.settings import load
from podinsight.state_dir import make_state_dir
from podinsight.supervisor.commands import StackCommands
from podinsight.supervisor.keeper import keep
from podinsight.supervisor.registry import Registry


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand and returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m podinsight.supervisor")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="the supervisor, in the foreground")
    keeper = commands.add_parser("keep", help="the keeper: starts the supervisor and starts it again")
    keeper.add_argument("--adopt", type=int, metavar="PID", help="a supervisor that runs already")
    arguments = parser.parse_args(argv)
    try:
        settings = load()
        make_state_dir(settings.state_dir)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(message)s")
    if arguments.command == "keep":
        return keep(Registry(settings.state_dir), StackCommands(settings), os.environ, arguments.adopt)
    # The adapters come with these: a keeper does without them.
    from podinsight.bootstrap import build_store
    from podinsight.supervisor.run import Supervisor

    return Supervisor(settings, lambda: build_store(settings)).run()


if __name__ == "__main__":
    sys.exit(main())
