"""podrun gate: has a phase done what it should (F3)."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Final, cast

import click

from podinsight.cli import exits
from podinsight.cli.choosing import find_feed
from podinsight.cli.console import Output, complain, plain
from podinsight.cli.exits import CommandError
from podinsight.cli.manifest import choose
from podinsight.cli.session import COUNT, Session, json_option, pass_session
from podinsight.domain.episode import Episode
from podinsight.errors import Transient, Unavailable
from podinsight.services.gates import Criterion, Stage, check
from podinsight.services.manifest import PAGE, pages

UNPROVEN: Final = exits.WRONG_USE


@click.command()
@click.argument("stage", type=click.Choice(["fetch", "transcribe"]))
@click.option("--manifest", "--manifest-s3", "manifest", metavar="FILE|URL", help="The episodes of this manifest.")
@click.option("--feed", metavar="SLUG", help="Episodes of this feed alone.")
@click.option("--limit", type=COUNT, metavar="N", help="The first N alone.")
@json_option
@pass_session
def gate(session: Session, stage: str, manifest: str | None, feed: str | None, limit: int | None, as_json: bool) -> int:
    """Say whether a phase may be followed by the next.

    Compares objects, rows, metrics and meta.json with the success criteria. Without a manifest: the known episodes
    (fetch), or those that are downloaded (transcribe).

    \b
    Exit codes: 0 all green, 1 something is red, 2 it cannot be proven.
    """
    if manifest is not None and feed is not None:
        raise CommandError("give --feed or --manifest, not both")
    out = Output(as_json)
    try:
        chosen = _pages(session, cast(Stage, stage), manifest, feed, limit)
        found = check(session.store, session.container.objects, cast(Stage, stage), chosen)
    except (Unavailable, Transient) as error:
        raise CommandError(f"nothing is proven: {error}", UNPROVEN) from error
    if not found:
        raise CommandError("nothing is proven: there is no such episode", UNPROVEN)
    return _tell(out, stage, found)


def _pages(
    session: Session, stage: Stage, manifest: str | None, feed: str | None, limit: int | None
) -> Iterator[Sequence[Episode]]:
    if manifest is not None:
        episodes = choose(session, manifest, limit).episodes
        return (episodes[start : start + PAGE] for start in range(0, len(episodes), PAGE))
    feed_id = find_feed(session.store, feed) if feed else None
    if stage == "fetch":
        return iter(pages(session.store, limit, feed_id))
    return _downloaded(session, limit, feed_id)


def _downloaded(session: Session, limit: int | None, feed_id: str | None) -> Iterator[Sequence[Episode]]:
    """The first `limit` of those that are downloaded, as `podrun transcribe` counts them."""
    left = limit
    for page in pages(session.store, None, feed_id):
        there = [episode for episode in page if episode.audio_key][:left]
        yield there
        left = None if left is None else left - len(there)
        if left == 0:
            return


def _tell(out: Output, stage: str, found: Sequence[Criterion]) -> int:
    green = all(each.green for each in found)
    out.data({"gate": stage, "green": green, "criteria": [asdict(each) for each in found]})
    rows = [(each.name, each.value, each.goal, "green" if each.green else "red") for each in found]
    out.table(("criterion", "value", "goal", ""), rows)
    for each in found:
        for text in () if each.green else each.examples:
            complain(plain(text))
    out.line(f"the gate {stage} is {'green' if green else 'red'}")
    return exits.OK if green else exits.FAILED
