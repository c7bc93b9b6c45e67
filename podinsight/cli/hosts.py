"""podrun hosts: what hosts allow, and how they take it (F5)."""

import time

import click

from podinsight.cli.console import Output, complain, moment
from podinsight.cli.exits import CommandError
from podinsight.cli.session import COUNT, Session, json_option, pass_session
from podinsight.domain.hosts import GateState, HostLimits, HostRule
from podinsight.domain.identity import InvalidUrl, bare_host, host_of
from podinsight.errors import Unavailable
from podinsight.ports import HostRow
from podinsight.services.gates import utc_day

_RULES_KEPT_SECONDS = 5.0  # how long processes go by what they have read of the rules
_MARGIN = 1.25  # the gate keeps a lease a quarter longer than its holder counts on


@click.group(invoke_without_command=True)
@json_option
@pass_session
@click.pass_context
def hosts(ctx: click.Context, session: Session, as_json: bool) -> None:
    """Show what each host allows, what is in flight there, and how today went (UTC)."""
    if ctx.invoked_subcommand is not None:
        return
    out = Output(as_json)
    limits = session.store.hosts.limits()
    rows = session.store.hosts.rows(utc_day(time.time()))
    states = _states(session, limits, rows)
    found = [_document(row, limits, states.get(row.host)) for row in rows]
    out.data({"gate_answers": len(states) == len(rows), "hosts": found})
    if not found:
        out.line("no host was asked for anything today, and none has a rule")
        return
    names = ("host", "limit", "rate", "in flight", "cooling until", "requests", "429/503", "failed")
    out.table(names, [_cells(each) for each in found], right=(1, 2, 3, 5, 6, 7))


def _states(session: Session, limits: HostLimits, rows: list[HostRow]) -> dict[str, GateState]:
    """What the gate says of each host; nothing when it is away, which is told."""
    found: dict[str, GateState] = {}
    try:
        for row in rows:
            rule = HostRule(limits.limit(row.host), limits.rate(row.host), row.cooling_until)
            found[row.host] = session.container.gate.state(row.host, rule)
    except Unavailable as error:
        complain(f"what is in flight is not known: {error}")
        return {}
    return found


def _document(row: HostRow, limits: HostLimits, state: GateState | None) -> dict[str, object]:
    full = limits.limit(row.host)
    cooling = max((state.cooling_until if state else None) or 0.0, row.cooling_until or 0.0)
    return {
        "host": row.host,
        "limit": state.limit if state else min(row.limit_now or full, full),
        "full_limit": full,
        "limit_set": row.limit_set,
        "rate": limits.rate(row.host),
        "rate_set": row.rate_set,
        "in_flight": state.in_flight if state else None,
        "cooling_until": cooling if cooling > time.time() else None,
        "requests": row.requests,
        "throttled": row.throttled,
        "failed": row.failed,
        "received": row.received,
    }


def _cells(each: dict[str, object]) -> tuple[object, ...]:
    limit, full, cooling, flight = (each[name] for name in ("limit", "full_limit", "cooling_until", "in_flight"))
    return (
        each["host"],
        limit if limit == full else f"{limit} of {full}",
        f"{each['rate']:g}/s",
        "-" if flight is None else flight,
        moment(float(str(cooling))) if cooling else "-",
        f"{each['requests']:,}",
        f"{each['throttled']:,}",
        f"{each['failed']:,}",
    )


@hosts.command("set")
@click.argument("host")
@click.option("--limit", type=COUNT, metavar="N", help="Requests at a time.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True, max=1e6), metavar="R", help="Requests a second.")
@click.option("--reset", is_flag=True, help="Take the rule back: the settings hold again.")
@json_option
@pass_session
def set_rule(session: Session, host: str, limit: int | None, rate: float | None, reset: bool, as_json: bool) -> None:
    """Lay down what a host, and every host below it, allows. It holds for all workers at once.

    What is not said stays as it is. A rule that is new (or taken back) counts hosts together that were counted on
    their own: then nothing is requested there for some seconds, until most requests of before have ended.
    """
    if reset == (limit is not None or rate is not None):
        raise CommandError("give --limit, --rate or both; or --reset")
    if rate is not None and not rate > 0:
        raise CommandError("--rate is a number above 0")
    name = _host(host)
    table = session.store.hosts
    before, known = table.row(name, utc_day(time.time())), _ruled(table.limits(), name)
    drain = _MARGIN * session.settings.gate_lease_seconds + _RULES_KEPT_SECONDS
    if reset:
        table.set_rule(name, None, None, drain=drain)
    else:
        table.set_rule(name, limit or before.limit_set, rate or before.rate_set, drain=drain)
    limits = table.limits()
    pause = drain if _ruled(limits, name) != known else 0.0
    out = Output(as_json)
    out.data(
        {
            "host": name,
            "limit": limits.limit(name),
            "rate": limits.rate(name),
            "reset": reset,
            "pause_seconds": pause,
        }
    )
    out.line(f"{name}: {limits.limit(name)} at a time, {limits.rate(name):g} a second")
    if pause:
        out.line(f"nothing is requested there for {pause:.0f} s, so that requests of before can end")


def _ruled(limits: HostLimits, name: str) -> bool:
    return name in limits.limits or name in limits.rates


def _host(text: str) -> str:
    """Raises CommandError for a URL, a port, a path, or what is no host name."""
    name = text.strip().rstrip(".").lower()
    bracketed = f"[{name}]" if ":" in name and not name.startswith("[") else name
    try:
        found = host_of(f"http://{bracketed}/")
    except InvalidUrl:
        found = ""
    if not found or any(sign in name for sign in "/@?#%*\\ ") or bare_host(name) != found:
        raise CommandError(f"{text!r} is no host name: write it without scheme, port and path, such as megaphone.fm")
    if ":" in name and ":" not in found:
        raise CommandError(f"{text!r} names a port: a rule is for all ports of {found}")
    return found
