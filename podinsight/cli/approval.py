"""The phase gate (T2): the quote of a transcription, and who says that it may be spent."""

import getpass
import shlex
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import click

from podinsight.cli.console import Output, complain, count, hours, plain
from podinsight.cli.exits import DECLINED, CommandError
from podinsight.cli.session import Session
from podinsight.domain.budget import accounts
from podinsight.domain.control import RESUME
from podinsight.domain.episode import Episode
from podinsight.domain.money import DOLLAR, Micros, micros, usd
from podinsight.domain.quote import Quote, Range, SpendingRule
from podinsight.domain.room import Shortfall, shortfalls
from podinsight.services.approve import Prices, approve, device_of_work, quote_episodes, quoted_seconds, rule_for
from podinsight.services.gates import utc_day
from podinsight.settings import Settings


def asking_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--yes, --by and --why."""
    for option in (
        click.option("--why", default="", metavar="TEXT", help="Why it is worth the money; kept with the approval."),
        click.option("--by", metavar="NAME", help="Who approves it; not given: who you are logged in as."),
        click.option("--yes", is_flag=True, help="Approve what it costs, without being asked."),
    ):
        command = option(command)
    return command


def prices(settings: Settings) -> Prices:
    """What the settings say about money. Raises ConfigError for a bad prices_file."""
    from podinsight.bootstrap.money import guard_rules, price_book  # every adapter: `podrun --help` does without

    rule = SpendingRule(micros(settings.approve_usd_per_run), micros(settings.approve_usd_per_day))
    fleet = guard_rules(settings).fleet if settings.fleet_scales else None
    return Prices(price_book(settings), settings.gpu_speed, rule, max(1, settings.gpu_workers), fleet)


@dataclass(frozen=True)
class Gate:
    """A quote, and what would let it through. rule: the standing rule that does; empty when a person is needed.

    approved_today: how much, by the high figures, before this. models: of the episodes that are quoted, by id.
    seconds: of audio for which the quote of each is good; empty where nothing is paid. short: stop levels
    under which it does not fit. stopped: why nothing is transcribed now; empty when nothing is stopped.
    """

    session: Session
    asked: Quote
    rule: str
    approved_today: Micros
    yes: bool
    by: str | None
    why: str
    models: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    short: Sequence[Shortfall] = ()
    stopped: str = ""

    @property
    def free(self) -> bool:
        return self.asked.free

    @property
    def can_pass(self) -> bool:
        """Whether a rule, --yes or somebody at the terminal may let it through."""
        return bool(self.rule) or self.yes or self.session.at_terminal or not self.asked.episodes

    def document(self) -> dict[str, object]:
        """The quote as --json shows it. Money in micro-dollars; what ends in `usd` is the same in dollars."""
        asked = self.asked
        return {
            "episodes": asked.episodes,
            "audio_seconds": asdict(asked.audio_seconds),
            "device_seconds": asdict(asked.device_seconds),
            "usd": asdict(asked.usd),
            "micros": asdict(asked.cost),
            "lines": [asdict(each) for each in asked.lines],
            "device": asked.device,
            "price_hour_usd": asked.price.micros / DOLLAR,
            "price": asdict(asked.price),
            "basis": asked.basis,
            "episodes_without_length": asked.unknown,
            "workers": asked.crew.workers,
            "done_in_seconds": asdict(asked.lasts),
            "downloads": asked.downloads,
            "approved_today_usd": self.approved_today / DOLLAR,
            "approved_today_micros": self.approved_today,
            "approved_by_rule": self.rule or None,
            "over_stop_levels": [
                {
                    "scope": each.budget.scope.value,
                    "key": each.budget.key,
                    "stop_micros": each.ceiling,
                    "left_micros": each.left,
                    "likely_micros": each.likely,
                    "kept_free_micros": each.beside,
                    "setting": each.setting,
                }
                for each in self.short
            ],
            "stopped": self.stopped or None,
        }

    def tell(self, out: Output) -> None:
        """The quote for a person; nothing when there is nothing to approve."""
        if self.asked.episodes:
            for line in quote_lines(self.asked, self.approved_today):
                out.line(line)
            self.tell_stopped(out, "  ")
            self.tell_short(out)

    def tell_short(self, out: Output) -> None:
        """Which stop levels will be reached before it is done, a line each."""
        for each in self.short:
            out.line(f"  {each}")

    def tell_stopped(self, out: Output, indent: str = "") -> None:
        """That no finish time counts before somebody goes on."""
        if self.stopped:
            out.line(f"{indent}work is stopped: {plain(self.stopped)}; times count from when `{RESUME}` lifts it")

    def enter(self) -> str:
        """Asks whom it must and records the answer. Returns what the work rows keep: empty when it waits.

        Raises:
            CommandError: somebody said no (DECLINED); nothing was changed.
        """
        if not self.asked.episodes:
            return self.rule if self.free else ""
        rule = self.rule
        if not rule and not self.yes:
            if not self.session.at_terminal:
                return ""
            self._ask()
        stamp = self._record(rule)
        if not stamp and (self.yes or self.session.at_terminal):  # the rule's day is used up since it was looked at
            if not self.yes:
                self._ask()
            stamp = self._record("")
        return stamp

    def _ask(self) -> None:
        cost = dollars(self.asked.usd)
        if not click.confirm(f"Approve {count(self.asked.episodes, 'transcription')} for {cost}?", err=True):
            raise CommandError("not approved: nothing was changed", DECLINED)

    def _record(self, rule: str) -> str:
        by = person(self.by)
        return approve(self.session.store, self.asked, rule, by, self.why.strip(), prices(self.session.settings))


def person(named: str | None) -> str:
    """Who approves. Raises CommandError when nobody is named and the system does not know who this is."""
    if named is not None:
        if not named.strip():
            raise CommandError("--by names nobody")
        return named.strip()
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:  # a container's user may have no name
        raise CommandError("say who approves it: --by NAME") from error


def open_gate(session: Session, episodes: Mapping[str, Sequence[Episode]], yes: bool, by: str | None, why: str) -> Gate:
    """The gate before these episodes (by model). Nothing is asked and nothing is recorded yet."""
    now, settings, says = time.time(), session.settings, prices(session.settings)
    here = session.container.transcriber.device if settings.gpu_workers else None
    device = device_of_work(session.store.workers, socket.gethostname(), here, says.book)
    asked = quote_episodes(session.store, episodes, device, says, now)
    rule = rule_for(session.store, asked, says, now)
    models = {each.id: model for model, chosen in episodes.items() for each in chosen}
    priced = [chosen for chosen in episodes.values() if not asked.free]
    seconds = {each: good for chosen in priced for each, good in quoted_seconds(chosen).items()}
    approved_today = session.store.speech.approved(utc_day(now))
    budgets = session.store.purse.budgets(accounts(utc_day(now), gpu=True))
    short = shortfalls(asked, budgets, settings.limits().ceilings(), _claim_seconds(settings))
    stopped = session.store.control.read().forbids("transcribe") or ""
    return Gate(session, asked, rule, approved_today, yes, by, why, models, seconds, short, stopped)


def _claim_seconds(settings: Settings) -> float:
    """Of a worker that a claim must find free under a stop level: its lease, and what it burns until it is stopped."""
    from podinsight.bootstrap.money import guard_rules  # every adapter

    rules = guard_rules(settings).fleet
    return rules.lease + rules.sweep + rules.stop


def quote_lines(asked: Quote, approved_today: Micros) -> list[str]:
    """Audio, device time and dollars, a line each; `podrun costs quote` has them item by item."""
    seconds = asked.audio_seconds
    doubt = f" ({count(asked.unknown, 'length')} not known, so {hours(seconds.low)} to {hours(seconds.high)})"
    known = f"{hours(seconds.likely)} of audio{doubt if asked.unknown else ''}"
    idle = asked.cost.likely - asked.cost_of_work.likely
    lines = [
        f"  quote: {count(asked.episodes, 'episode')}, {known}",
        f"  takes {spans(asked.device_seconds)} of {asked.device} ({plain(asked.basis)})",
    ]
    if asked.lasts != asked.device_seconds:
        workers = asked.crew.workers
        done = f"{count(workers, 'worker')} {'is' if workers == 1 else 'are'} done"
        started = ", start included" if idle else ""
        lines.append(f"  {done} in {spans(asked.lasts).rstrip(',')}{started}")
    if words := downloads(asked):
        lines.append(f"  {words}")
    if asked.free:
        return [*lines, f"  costs nothing: {asked.device} is not paid for"]
    unsure = ", which is estimated high" if asked.price.estimated else ""
    price = f"{dollars(asked.usd)} at {usd(asked.price.micros)} an hour{unsure}"
    if idle:
        price += f", {usd(idle)} of it while workers start and wait"
    return [*lines, f"  costs {price}; approved today so far: up to {usd(approved_today)}"]


def downloads(asked: Quote) -> str:
    """What the finish time leaves out; empty when everything is there."""
    left = count(asked.downloads, "download")
    return f"how long {left} will take is not in it: nobody has measured that" if asked.downloads else ""


def spans(seconds: Range) -> str:
    """`12:00 min to 1.5 h, likely 30:00 min`."""
    return f"{hours(seconds.low)} to {hours(seconds.high)}, likely {hours(seconds.likely)},"


def dollars(cost: Range) -> str:
    """`$0.10 to $0.40, likely $0.20`; small sums to four places."""
    places = 2 if cost.high >= 1 else 4
    return f"${cost.low:.{places}f} to ${cost.high:.{places}f} (likely ${cost.likely:.{places}f})"


def tell_waiting(session: Session, ids: Sequence[str]) -> None:
    """That these episodes wait for approval, and how to give it, on stderr: by a command that works here. They are
    named when they are few."""
    command = f"podrun approve {shlex.join(ids) if len(ids) <= 3 else '--all'}"
    if not session.at_terminal:  # nobody can be asked
        command += " --yes --by NAME --why REASON"
    verb = "waits" if len(ids) == 1 else "wait"
    complain(f"{count(len(ids), 'transcription')} {verb} for approval: `{command}` (or a standing rule)")
