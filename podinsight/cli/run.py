"""podrun fetch, transcribe and retry."""

import re
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import click

from podinsight.cli.choosing import Standing, first, preview, standing
from podinsight.cli.console import Output, complain, count, plain
from podinsight.cli.estimate import tell_dry_run
from podinsight.cli.exits import CommandError
from podinsight.cli.goals import Meter
from podinsight.cli.manifest import choose
from podinsight.cli.models import mention_missing, need_model
from podinsight.cli.pursue import pursue, send, summarise
from podinsight.cli.session import COUNT, Session, json_option, pass_session
from podinsight.domain.episode import Episode
from podinsight.domain.identity import bare_host
from podinsight.domain.work import State
from podinsight.ports import WorkView
from podinsight.services.fetch import find_or_add
from podinsight.services.manifest import Chosen, make_known
from podinsight.topology import PRIORITIES, STAGES

Command = Callable[..., Any]
SHOWN: Final = 20
LISTED: Final = 1000


@dataclass(frozen=True)
class Wish:
    """What was asked for on the command line. chosen: ids and URLs; empty: the first `limit` episodes (of `feed`, or of
    `manifest`)."""

    chosen: tuple[str, ...] = ()
    limit: int | None = None
    feed: str | None = None
    manifest: str | None = None
    priority: str = "medium"
    transcribe: bool = False
    model: str | None = None
    language: str | None = None

    def __post_init__(self) -> None:
        if self.chosen and (self.limit, self.feed, self.manifest) != (None, None, None):
            raise CommandError("give episodes, or --limit and --feed or --manifest, not both")
        if self.feed is not None and self.manifest is not None:
            raise CommandError("give --feed or --manifest, not both")
        if not self.transcribe and (self.model is not None or self.language is not None):
            raise CommandError("--model and --language say how to transcribe: add --transcribe")

    def params(self, session: Session, dry_run: bool) -> dict[str, object]:
        """What a transcribe row keeps. Raises CommandError when the model is nowhere to be had."""
        model = self.model or session.settings.model
        (mention_missing if dry_run else need_model)(session, model)
        return {"model": model, "language": self.language or session.settings.language}


def _language(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    if not re.fullmatch(r"[a-z]{2,3}", value.lower()):
        raise click.BadParameter(f"{value!r} is no language code such as en or de")
    return value.lower()


def _options(command: Command) -> Command:
    """What fetch and transcribe have in common."""
    for option in (
        click.argument("chosen", nargs=-1, metavar="[EPISODE_OR_URL]..."),
        json_option,
        click.option("--no-wait", is_flag=True, help="Queue the work and return; needs no worker now."),
        click.option("--dry-run", is_flag=True, help="Change nothing; say what would be done."),
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


@click.command()
@click.option("--transcribe", is_flag=True, help="Transcribe each as soon as it is there.")
@_options
@pass_session
def fetch(session: Session, /, dry_run: bool, no_wait: bool, as_json: bool, **words: Any) -> int | None:
    """Download episodes.

    The first N in the order of discovery, or of a manifest, or exactly the episodes and URLs given (`podrun episodes`
    lists ids). N counts what is there already, so 50, then 200, then 1000 fetches 50, 150 and 800.
    """
    out = Output(as_json)
    wish = Wish(**words)
    params = wish.params(session, dry_run) if wish.transcribe else None
    stages = ("fetch", "transcribe") if wish.transcribe else ("fetch",)
    chosen = _episodes(session, wish)
    before = {stage: standing(session.store, stage, chosen.episodes) for stage in stages}
    if dry_run:
        model = str(params["model"]) if params else ""
        tell_dry_run(out, session.settings, before["fetch"], before.get("transcribe"), model)
        return None
    if not no_wait and any(each.to_do for each in before.values()):
        session.need_workers(*(STAGES[stage].queue for stage in stages))
    for text in wish.chosen:
        if "://" in text:
            find_or_add(session.store, text)
    if chosen.new:
        chosen = make_known(session.store, chosen)
        before = {stage: standing(session.store, stage, chosen.episodes) for stage in stages}
    ids = [episode.id for episode in chosen.episodes]
    session.store.work.enqueue_fetch(ids, PRIORITIES[wish.priority], params)
    if wish.transcribe:
        before["transcribe"] = _within_reach(before["transcribe"], before["fetch"])
    return _go_on(session, out, before, no_wait)


@click.command()
@_options
@pass_session
def transcribe(session: Session, /, dry_run: bool, no_wait: bool, as_json: bool, **words: Any) -> int | None:
    """Transcribe what is downloaded.

    The first N downloaded episodes in the order of discovery, those of the first N rows of a manifest, or exactly
    those given (`podrun episodes` lists ids). N counts what is transcribed already.
    """
    out = Output(as_json)
    wish = Wish(**words, transcribe=True)
    params = wish.params(session, dry_run)
    episodes = _downloaded(session, wish)
    before = {"transcribe": standing(session.store, "transcribe", episodes)}
    if dry_run:
        tell_dry_run(out, session.settings, None, before["transcribe"], str(params["model"]))
        return None
    if not no_wait and before["transcribe"].to_do:
        session.need_workers(STAGES["transcribe"].queue)
    ids = [episode.id for episode in episodes]
    session.store.work.enqueue_transcribe(ids, PRIORITIES[wish.priority], params)
    return _go_on(session, out, before, no_wait)


def _episodes(session: Session, wish: Wish) -> Chosen:
    """What the wish is about; episodes of new URLs and new rows are made up, and nothing is stored yet."""
    if wish.manifest is not None:
        found = choose(session, wish.manifest, wish.limit)
        if not found.episodes:
            complain(f"{wish.manifest} names no episode")
        return found
    if not wish.chosen:
        known = first(session.store, wish.limit, wish.feed)
        if not known:
            complain("no episode is known yet: `podrun feeds add URL`")
        return Chosen(tuple(known))
    return Chosen(tuple({each.id: each for each in (preview(session.store, text) for text in wish.chosen)}.values()))


def _downloaded(session: Session, wish: Wish) -> list[Episode]:
    if wish.manifest is not None:
        named = _episodes(session, wish).episodes
        there = [each for each in named if each.audio_key]
        if len(there) < len(named):
            shown = shlex.quote(wish.manifest)
            complain(f"{len(named) - len(there):,} are not downloaded and left out: `podrun fetch --manifest {shown}`")
        return there
    if not wish.chosen:
        there = [each for each in first(session.store, None, wish.feed) if each.audio_key]
        return there[: wish.limit]
    for text in wish.chosen:
        if not preview(session.store, text).audio_key:
            raise CommandError(f"{text} is not downloaded: `podrun fetch --transcribe {shlex.quote(text)}`")
    return list(_episodes(session, wish).episodes)


def _within_reach(transcribe: Standing, fetch: Standing) -> Standing:
    """Without the episodes whose fetch failed before: their transcriptions wait until that is started over."""
    lost = {episode.id for episode, _state, _reason in fetch.failed}
    still_open = tuple(episode for episode in transcribe.open if episode.id not in lost)
    return replace(transcribe, open=still_open, new=tuple(each for each in transcribe.new if each.id not in lost))


def _go_on(session: Session, out: Output, before: dict[str, Standing], no_wait: bool) -> int | None:
    began = time.monotonic()
    if not no_wait:
        meter = Meter(session.store)
        return summarise(session, out, pursue(session, out, before), began, meter)
    send(session)
    queued = {stage: len(each.to_do) for stage, each in before.items()}
    out.data({"event": "queued", **queued})
    for stage, number in queued.items():
        out.line(f"{stage}: {count(number, 'episode')} queued; `podrun status` shows how far it is")
    return None


@click.command()
@click.option("--failed", is_flag=True, help="What has failed or was refused; there is nothing else to retry.")
@click.option("--stage", type=click.Choice(list(STAGES)), help="Of this stage alone.")
@click.option("--host", metavar="HOST", help="Of this host alone.")
@json_option
@pass_session
def retry(session: Session, failed: bool, stage: str | None, host: str | None, as_json: bool) -> None:
    """Start failed work over with fresh attempts."""
    if not failed:
        raise CommandError("say what to retry: `podrun retry --failed`")
    failed_ones = _failed(session, stage, host)
    number = session.store.work.retry_failed(stage, host)
    still = {(each.stage, each.episode_id) for each in _failed(session, stage, host)} if number else set()
    started = [each for each in failed_ones if (each.stage, each.episode_id) not in still] if number else []
    if number:
        send(session)
    out = Output(as_json)
    out.data({"retried": number, "rows": [_retried(each) for each in started]})
    if number:
        out.line(f"{count(number, 'row')} {'starts' if number == 1 else 'start'} over")
        for each in started[:SHOWN]:
            out.line(f"  {each.stage} {each.episode_id} {plain(f'{each.feed_slug}: {each.title}')} ({each.host})")
        if number > len(started[:SHOWN]):
            out.line(f"  and {number - len(started[:SHOWN]):,} more")
    else:
        where = (f" in {stage}" if stage else "") + (f" at host {host}" if host else "")
        out.line(f"nothing failed{where}" if where else "nothing has failed")


def _failed(session: Session, stage: str | None, host: str | None) -> list[WorkView]:
    """What `retry` is about, as `WorkRows.retry_failed` picks it; as many as are worth being shown."""
    views = [
        view
        for state in (State.FAILED, State.REFUSED)
        for view in session.store.work.views(state, LISTED)
        if stage in (None, view.stage)
    ]
    if host is None:
        return views
    key = session.store.hosts.limits().key(host)
    return [view for view in views if view.host in (key, bare_host(host)) or view.host.endswith(f".{key}")]


def _retried(view: WorkView) -> dict[str, object]:
    names = ("stage", "episode_id", "feed_slug", "title", "host", "reason")
    return {name: getattr(view, name) for name in names}


COMMANDS: Sequence[click.Command] = (fetch, transcribe, retry)
