"""What was asked for on the command line of fetch and transcribe."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import click

from podinsight.cli.approval import asking_options
from podinsight.cli.ceiling import Ceiling, max_usd_option
from podinsight.cli.exits import CommandError
from podinsight.cli.models import mention_missing, need_model
from podinsight.cli.session import COUNT, Session, json_option
from podinsight.domain.episode import Episode
from podinsight.domain.languages import objection
from podinsight.domain.money import Micros
from podinsight.settings import Settings
from podinsight.topology import PRIORITIES

Command = Callable[..., Any]
Params = dict[str, object]


@dataclass(frozen=True)
class Wish:
    """chosen: ids and URLs; empty: the first `limit` episodes (of `feed`, or of `manifest`).

    fetches: whether what is to be transcribed is downloaded first.
    again: what has ended is made anew; replace: and takes the place of a better transcript, too.
    yes, by, why: whether and by whom the cost is approved, and what for.
    run: under which name the new rows are paid; max_usd: micro-dollars that they may cost at most.
    """

    chosen: tuple[str, ...] = ()
    limit: int | None = None
    feed: str | None = None
    manifest: str | None = None
    priority: str = "medium"
    transcribe: bool = False
    fetches: bool = True
    model: str | None = None
    language: str | None = None
    prompt: str | None = None
    hotwords: str | None = None
    words: bool = False
    again: bool = False
    replace: bool = False
    yes: bool = False
    by: str | None = None
    why: str = ""
    max_usd: Micros | None = None
    run: str = ""

    def __post_init__(self) -> None:
        if self.chosen and (self.limit, self.feed, self.manifest) != (None, None, None):
            raise CommandError("give episodes, or --limit and --feed or --manifest, not both")
        if self.feed is not None and self.manifest is not None:
            raise CommandError("give --feed or --manifest, not both")
        if not self.transcribe and (self.model is not None or self.language is not None):
            raise CommandError("--model and --language say how to transcribe: add --transcribe")
        if not self.transcribe and (self.prompt, self.hotwords, self.words) != (None, None, False):
            raise CommandError("--prompt, --hotwords and --words say how to transcribe: add --transcribe")
        if not self.transcribe and (self.yes, self.by, self.why) != (False, None, ""):
            raise CommandError("--yes, --by and --why approve what transcribing costs: add --transcribe")
        if not self.transcribe and self.max_usd is not None:
            raise CommandError("--max-usd limits what transcribing costs: add --transcribe")
        if self.replace and not self.again:
            raise CommandError("--replace says what becomes of a better transcript that is there: add --again")
        if self.again and not self.chosen and (self.limit, self.feed, self.manifest) == (None, None, None):
            raise CommandError("--again needs to know of which: name episodes, or give --limit, --feed or --manifest")

    @property
    def ceiling(self) -> Ceiling:
        return Ceiling(self.run, self.max_usd)

    def need_model(self, session: Session, dry_run: bool) -> None:
        """Raises CommandError when the model is nowhere to be had (a dry run says it and goes on), or when it does not
        know the language that the command asks for."""
        wrong = objection(self.language, self.model or session.settings.model) if self.language else ""
        if wrong:
            raise CommandError(f"--language: {wrong}")
        (mention_missing if dry_run else need_model)(session, self.model or session.settings.model)

    def params(self, settings: Settings, feed_slug: str) -> Params:
        """What a transcribe row of an episode of this feed keeps. What the command line says goes over the settings."""
        params: Params = {"model": self.model or settings.model, "language": self.language or settings.language}
        prompt = settings.prompts.get(feed_slug, "") if self.prompt is None else self.prompt
        hotwords = settings.hotwords.get(feed_slug, "") if self.hotwords is None else self.hotwords
        said = {"prompt": prompt, "hotwords": hotwords, "words": self.words, "replace": self.replace}
        said["run"] = self.run
        return params | {name: value for name, value in said.items() if value}

    def by_params(self, settings: Settings, episodes: Iterable[Episode]) -> list[tuple[Params, list[str]]]:
        """The ids of the episodes, in their order, with the params that they have in common."""
        groups: dict[str, tuple[Params, list[str]]] = {}
        for episode in episodes:
            params = self.params(settings, episode.feed_slug)
            groups.setdefault(repr(params), (params, []))[1].append(episode.id)
        return list(groups.values())


def _language(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    if not re.fullmatch(r"[a-z]{2,3}", value.lower()):
        raise click.BadParameter(f"{value!r} is no language code such as en or de")
    return value.lower()


def again_options(command: Command) -> Command:
    """--again and --replace."""
    for option in (
        click.option("--replace", is_flag=True, help="With --again: also where the one that is there is better."),
        click.option("--again", is_flag=True, help="Transcribe once more what is transcribed or has failed."),
    ):
        command = option(command)
    return command


def wish_options(command: Command) -> Command:
    """What fetch and transcribe have in common."""
    for option in (
        click.argument("chosen", nargs=-1, metavar="[EPISODE_OR_URL]..."),
        json_option,
        max_usd_option,
        asking_options,
        click.option("--no-wait", is_flag=True, help="Queue the work and return; needs no worker now."),
        click.option("--dry-run", is_flag=True, help="Change nothing; say what would be done, and what it would cost."),
        click.option("--words", is_flag=True, help="Times of each word, not only of each segment."),
        click.option("--hotwords", metavar="TEXT", help="Names and spellings to expect, instead of the settings'."),
        click.option("--prompt", metavar="TEXT", help="What Whisper is told first, instead of the settings' prompt."),
        click.option("--language", metavar="LANGUAGE", callback=_language, help="Language of the speech, such as en."),
        click.option("--model", metavar="MODEL", help="Whisper model; see `podrun models list`."),
        click.option("--priority", type=click.Choice(list(PRIORITIES)), default="medium", show_default=True),
        click.option("--feed", metavar="SLUG", help="Episodes of this feed alone."),
        click.option(
            "--manifest",
            "--manifest-s3",
            "manifest",
            metavar="FILE|URL",
            help="The episodes of this manifest, in its order (docs/manifest.md).",
        ),
        click.option("--limit", type=COUNT, metavar="N", help="The first N, those done included."),
    ):
        command = option(command)
    return command
