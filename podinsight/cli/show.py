"""podrun show: one episode."""

import json
import textwrap
from dataclasses import asdict

import click

from podinsight.cli.choosing import named
from podinsight.cli.console import Output, clock, plain, size
from podinsight.cli.session import Session, json_option, pass_session
from podinsight.domain.episode import Episode
from podinsight.domain.identity import redact_url
from podinsight.domain.publisher import accepted
from podinsight.domain.transcript import PUBLISHER
from podinsight.errors import PodinsightError
from podinsight.ports import ObjectStore
from podinsight.topology import STAGES

TRANSCRIPT_FILES = (
    "transcripts/transcript.txt",
    "transcripts/transcript.vtt",
    "transcripts/transcript.srt",
    "transcripts/transcript.json",
    "segments/segments.json",
    "kpis/kpis.json",
)


def file_keys(episode: Episode) -> list[str]:
    """The fixed names under which the objects of an episode lie, those that are not made yet left out."""
    keys = [episode.audio_key, episode.meta_key] if episode.audio_key else []
    return keys + ([f"{episode.stage}/{name}" for name in TRANSCRIPT_FILES] if episode.transcript_key else [])


def first_lines(objects: ObjectStore, episode: Episode, lines: int, width: int = 100) -> list[str]:
    """The beginning of the transcript, without its title; empty when there is none or nothing was said.

    Raises:
        PodinsightError: the transcript cannot be read.
    """
    if not episode.transcript_key:
        return []
    text = objects.get(f"{episode.stage}/transcripts/transcript.txt").decode("utf-8", "replace")
    body = plain(text.partition("\n\n")[2])
    return textwrap.wrap(body, width, max_lines=lines, placeholder=" …")


def words_of(episode: Episode) -> str:
    """Whose words the transcript has; empty when there is none."""
    if not episode.transcript_key:
        return ""
    if episode.model != PUBLISHER:
        return f"decoded by Whisper, model {plain(episode.model or 'unknown')}"
    found = accepted(episode.publisher)
    return "taken from the publisher" + (f": {plain(found.type)}, {plain(found.url)}" if found else "")


def heard(objects: ObjectStore, episode: Episode) -> str:
    """What kpis.json says of how well the episode was heard; empty when it has no transcript, or says nothing of it.

    Raises:
        PodinsightError: it cannot be read.
    """
    if not episode.transcript_key:
        return ""
    try:
        known = json.loads(objects.get(f"{episode.stage}/kpis/kpis.json"))
        words, covered, doubtful = (known.get(name) for name in ("words", "coverage", "doubtful_share"))
        if words == 0:
            return "no words: nobody speaks, or nothing could be understood"
        shares = (f"{covered:.0%} of the speech has words", f"{doubtful:.0%} is in doubt")
        return ", ".join([f"{words:,} words", *(shares if covered is not None and doubtful is not None else ())])
    except (ValueError, TypeError, AttributeError):
        return ""


@click.command()
@click.argument("chosen", metavar="EPISODE")
@click.option(
    "--lines", type=click.IntRange(min=0, max=10_000), default=5, show_default=True, help="Lines of the transcript."
)
@json_option
@pass_session
def show(session: Session, chosen: str, lines: int, as_json: bool) -> None:
    """Show one episode: how far it is, where its files lie, how its transcript begins.

    EPISODE is an id or feed_slug/folder; `podrun episodes` lists them.
    """
    out = Output(as_json)
    world = session.container
    episode = named(world.store, chosen)
    states = {stage: world.store.work.states(stage, [episode.id]).get(episode.id) for stage in STAGES}
    files = {key: world.objects.where(key) for key in file_keys(episode)}
    try:
        text = first_lines(world.objects, episode, lines) if lines else []
        quality = heard(world.objects, episode)
    except PodinsightError as error:
        text, quality = [f"(the transcript cannot be read: {error})"], ""
    out.data(
        _document(episode)
        | {
            "stages": {name: {"state": found[0].value, "reason": found[1]} for name, found in states.items() if found},
            "files": files,
            "heard": quality or None,
            "text": text,
        }
    )
    out.title(plain(episode.title))
    out.line(f"id      {episode.id} (number {episode.seq} in the order of discovery)")
    out.line(f"feed    {episode.feed_slug}")
    out.line(f"url     {redact_url(episode.url)}")
    if episode.audio_key:
        out.line(f"audio   {clock(episode.audio_seconds or 0)}, {size(episode.audio_bytes or 0)}, {episode.audio_mime}")
    for name, found in states.items():
        said = "not asked for" if found is None else found[0].value + (f": {plain(found[1])}" if found[1] else "")
        out.line(f"{name:<12}{said}")
    if episode.transcript_key:
        out.line(f"words   {words_of(episode)}")
    if quality:
        out.line(f"heard   {quality}")
    for each in episode.publisher:
        if not each.accepted:
            out.line(f"        {plain(each.url)} of the publisher was kept aside: {plain(each.reason)}")
    for path in files.values():
        out.line(f"  {path}")
    for line in ["", *text] if text else []:
        out.line(line)


def _document(episode: Episode) -> dict[str, object]:
    names = ("id", "seq", "feed_slug", "guid", "title", "published", "language", "model")
    audio = ("audio_key", "audio_bytes", "audio_sha256", "audio_mime", "audio_seconds", "transcript_key")
    return {name: getattr(episode, name) for name in (*names, *audio)} | {
        "url": redact_url(episode.url),
        "publisher": [asdict(each) for each in episode.publisher],
    }
