"""podrun episodes: every episode that is known, with the ids that other commands take."""

import time

import click

from podinsight.cli.choosing import first
from podinsight.cli.console import Output
from podinsight.cli.session import COUNT, Session, json_option, pass_session
from podinsight.topology import STAGES


@click.command()
@click.option("--feed", metavar="SLUG", help="Episodes of this feed alone.")
@click.option("--limit", type=COUNT, metavar="N", help="The first N alone.")
@json_option
@pass_session
def episodes(session: Session, feed: str | None, limit: int | None, as_json: bool) -> None:
    """List episodes and how far each is.

    In the order of discovery, in which --limit counts everywhere. fetch, transcribe and show take an id, or the name
    (feed_slug/folder).
    """
    out = Output(as_json)
    store = session.store
    found = first(store, limit, feed)
    ids = [episode.id for episode in found]
    states = {stage: store.work.states(stage, ids) for stage in STAGES}
    rows = [
        {
            "id": episode.id,
            "name": f"{episode.feed_slug}/{episode.folder}",
            "title": episode.title,
            "published": episode.published,
            **{stage: known[episode.id][0].value if episode.id in known else None for stage, known in states.items()},
        }
        for episode in found
    ]
    out.data({"episodes": rows})
    if not rows:
        out.line("no episode is known yet: `podrun feeds add URL`")
        return
    out.table(
        ("id", "name", "title", "published", *STAGES),
        [
            (row["id"], row["name"], row["title"], _day(episode.published), *(row[stage] or "-" for stage in STAGES))
            for row, episode in zip(rows, found, strict=True)
        ],
    )


def _day(published: float | None) -> str:
    return "-" if published is None else time.strftime("%Y-%m-%d", time.gmtime(published))
