"""podrun notify: who is told, and whether it works."""

import time
from typing import Any

import click

from podinsight.cli.console import Output, complain
from podinsight.cli.exits import FAILED, CommandError
from podinsight.cli.session import Session, json_option, pass_session
from podinsight.domain.alerts import Alert, Severity
from podinsight.errors import Unavailable


@click.group()
def notify() -> None:
    """See that people are told (docs/costs.md)."""


@notify.command()
@click.option(
    "--severity", type=click.Choice([each.value for each in Severity]), help="Of this alone; not given: of each."
)
@json_option
@pass_session
def test(session: Session, severity: str | None, as_json: bool) -> int:
    """Send a test message to everybody who is to be told.

    Exit code 1 when one of them could not be told.
    """
    from podinsight.bootstrap.money import build_notifier, notified_services  # imports every adapter

    services = notified_services(session.settings)
    wanted = [each for each in Severity if severity in (None, each.value)]
    if not any(services[each] for each in wanted):
        names = ", ".join(f"PODINSIGHT_NOTIFY_{each.name}" for each in wanted)
        raise CommandError(f"nobody is to be told: set {names} (docs/costs.md)")
    out, results, notifier = Output(as_json), dict[str, Any](), build_notifier(session.settings)
    for each in (each for each in wanted if services[each]):
        title = f"a test of {each.value} messages"
        alert = Alert(f"test:{each.value}:{time.time_ns()}", each, title, "Nothing has happened: `podrun notify test`.")
        try:
            with out.waiting(f"telling {', '.join(services[each])}"):
                notifier.send(alert)
        except Unavailable as error:
            complain(f"{each.value}: {error}")
            results[each.value] = {"told": False, "services": services[each], "why": str(error)}
        else:
            out.line(f"{each.value}: told {', '.join(services[each])}")
            results[each.value] = {"told": True, "services": services[each], "why": ""}
    out.data(results)
    return 0 if all(each["told"] for each in results.values()) else FAILED
